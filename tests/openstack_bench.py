"""An OpenStack adapter on a simulated cloud, for tests."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nodepool.driver.adapter import (
    ATTEMPT_TAG,
    NODE_TAG,
    POOL_TAG,
    PROVIDER_TAG,
    Leftover,
    Server,
    ServerOrder,
    ServerState,
)
from nodepool.driver.errors import NotFound
from nodepool.driver.image_adapter import ImageOrder
from nodepool.driver.openstack.adapter import OpenStackAdapter
from nodepool.driver.openstack.driver import OpenStackDriver
from nodepool.driver.openstack.volumes import SIGHTING_AGE, VOLUMES
from tests.zookeeper import PATIENCE, eventually
from tools.cloud.client import CloudControl
from tools.cloud.process import CloudProcess

DEADLINE = 20.0
SETTINGS: dict[str, Any] = {
    "region": {
        "boot": 0.2,
        "delete": 0.1,
        "networks": [
            {"name": "private", "cidr": "10.20.0.0/16"},
            {"name": "second", "cidr": "10.21.0.0/16"},
            {"name": "shared", "cidr": "203.0.113.0/24", "external": True, "shared": True},
            {"name": "public", "cidr": "198.51.100.0/24", "external": True},
        ],
        "images": [{"name": "base"}, {"name": "other"}],
        "security_groups": ["ssh"],
    }
}
ENTRY: dict[str, Any] = {
    "name": "prov",
    "cloud": "simulated",
    "rate": 0,
    "diskimages": [{"name": "deb"}],
    "cloud-images": [{"name": "base"}],
    "pools": [
        {
            "name": "main",
            "networks": ["shared"],
            "labels": [
                {"name": "small", "cloud-image": "base", "min-ram": 1024},
                {"name": "disk", "diskimage": "deb", "flavor-name": "m1.large"},
                {"name": "volume", "cloud-image": "base", "min-ram": 1, "boot-from-volume": True, "volume-size": 7},
            ],
        },
        {
            "name": "inside",
            "networks": ["private"],
            "labels": [{"name": "small", "cloud-image": "base", "min-ram": 1024}],
        },
    ],
}


@dataclass
class AdapterBench:
    """An adapter on some cloud. How long it waits, and how often it looks meanwhile, is in seconds."""

    adapter: OpenStackAdapter
    patience: float = field(default=PATIENCE, kw_only=True)
    pause: float = field(default=0.002, kw_only=True)

    def create(self, node_id: str = "0000000001", **order: Any) -> str:
        """Make a server."""
        return self.adapter.create_server(an_order(node_id, **order), DEADLINE)

    def server(self, external_id: str) -> Server | None:
        """A server as the adapter lists it."""
        found = [one for one in self.adapter.list_servers(DEADLINE) if one.external_id == external_id]
        assert len(found) <= 1
        return found[0] if found else None

    def active(self, external_id: str) -> Server:
        """A server when it is ACTIVE."""
        return self.reaches(external_id, ServerState.ACTIVE)

    def reaches(self, external_id: str, state: ServerState) -> Server:
        """A server when it is in this state."""
        seen: list[Server | None] = []

        def is_there() -> bool:
            seen.append(self.server(external_id))
            return seen[-1] is not None and seen[-1].state is state

        eventually(is_there, self.patience, self.pause)
        assert seen[-1] is not None
        return seen[-1]

    def gone(self, external_id: str) -> None:
        """Wait until the adapter lists it no more."""
        eventually(lambda: self.server(external_id) is None, self.patience, self.pause)


@dataclass
class Bench(AdapterBench):
    """An adapter on a simulated cloud."""

    process: CloudProcess

    @property
    def control(self) -> CloudControl:
        """The cloud's other side."""
        return self.process.control

    def calls(self) -> dict[str, int]:
        """Calls by kind since the last reset."""
        return {kind: calls["count"] for kind, calls in self.control.region()["calls"].items()}


def an_order(node_id: str, pool: str = "main", label: str = "small", **more: Any) -> ServerOrder:
    tags = {NODE_TAG: node_id, POOL_TAG: pool, PROVIDER_TAG: "prov", ATTEMPT_TAG: "1"}
    return ServerOrder(node_id, f"np{node_id}", pool, label, tags, **more)


def make(process: CloudProcess, **changes: Any) -> Bench:
    return Bench(make_adapter(process.clouds_yaml, ENTRY | changes), process)


def make_adapter(clouds_yaml: Path, entry: dict[str, Any]) -> OpenStackAdapter:
    """The adapter of a provider in nodepool.yaml; this process reads ``clouds_yaml`` from now on."""
    entry = copy.deepcopy(entry)
    config = OpenStackDriver().getProviderConfig(entry)
    config.getSchema()(copy.deepcopy(entry))
    config.load(SimpleNamespace(labels={}, diskimages={}, providers={}))
    os.environ["OS_CLIENT_CONFIG_FILE"] = str(clouds_yaml)
    return OpenStackDriver().getProvider(config).adapter


def upload(bench: Bench, name: str) -> str:
    """Upload an image."""
    path = bench.process.directory / "image.raw"
    path.write_bytes(os.urandom(1 << 16))
    return bench.adapter.images.upload(ImageOrder(name, str(path), "raw", "build1", "0000000001"), DEADLINE)


def run_cloud(directory: Path) -> Iterator[CloudProcess]:
    """A cloud with :data:`SETTINGS`, whose clouds.yaml this process uses meanwhile."""
    before = os.environ.get("OS_CLIENT_CONFIG_FILE")
    with CloudProcess(directory, SETTINGS) as running:
        yield running
    os.environ.pop("OS_CLIENT_CONFIG_FILE", None)
    if before is not None:
        os.environ["OS_CLIENT_CONFIG_FILE"] = before


def run_bench(process: CloudProcess) -> Iterator[Bench]:
    """A bench that leaves the cloud as it was."""
    made = make(process)
    made.adapter.prepare(DEADLINE)
    process.control.reset()
    yield made
    process.control.clear_faults()
    process.control.change(quota={"instances": 1000})
    for server in made.control.resources()["servers"]:
        with contextlib.suppress(NotFound):
            made.adapter.delete_server(server["id"], DEADLINE)
    eventually(lambda: not made.control.resources()["servers"])
    for volume in made.control.resources()["volumes"]:
        made.adapter.remove_leftover(Leftover(VOLUMES, volume["id"], SIGHTING_AGE), DEADLINE)
    made.adapter.stop()
