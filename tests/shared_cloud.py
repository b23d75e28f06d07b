"""A cloud that outlives its users: each server is a file in a directory. With a driver of its own, as others bring one.

Launchers of several processes can share it, and what one leaves behind when it is killed stays, as in a real cloud. It
takes the configuration of the fake driver, and ``directory`` says where the servers are; of the faults it knows only
``create-refused``, which is always or never.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import voluptuous as v

from nodepool.driver.adapter import NODE_TAG, Server, ServerState
from nodepool.driver.contract import Driver, NodeRequestHandler, Provider, ProviderConfig
from nodepool.driver.errors import CloudError, NotFound, QuotaExceeded
from nodepool.driver.fake.adapter import FakeAdapter
from nodepool.driver.fake.cloud import FakeCloudSettings
from nodepool.driver.fake.config import FakeProviderConfig
from nodepool.model.resources import Resources

_ROOT = Path(__file__).parent.parent


class SharedCloud:
    """The servers in ``directory``. Any process may use it at any time."""

    def __init__(self, directory: Path, settings: FakeCloudSettings | None = None) -> None:
        self.directory = directory
        self.settings = settings or FakeCloudSettings()

    def create(self, tags: Mapping[str, str], resources: Resources, az: str | None = None) -> str:
        """Make a server; returns its id."""
        if self.settings.faults.create_refused:
            raise CloudError("the cloud makes nothing")
        used = Resources.total(server.resources or Resources() for server in self.list())
        if (used + resources).shortage(self.settings.quota):
            raise QuotaExceeded("quota exceeded")
        external_id = uuid.uuid4().hex
        boot_end = time.time() + self.settings.boot_time
        server = {"tags": dict(tags), "resources": resources.to_json(), "az": az, "boot_end": boot_end}
        written = self.directory / f".{external_id}"
        written.write_text(json.dumps(server), encoding="ascii")
        written.rename(self.directory / external_id)
        return external_id

    def nodes(self) -> list[str]:
        """Ids of the nodes that the servers belong to, sorted; one with two servers comes twice."""
        return sorted(server.tags[NODE_TAG] for server in self.list())

    def list(self) -> tuple[Server, ...]:
        """All servers."""
        found = []
        for entry in sorted(os.scandir(self.directory), key=lambda entry: entry.name):
            try:
                text = Path(entry.path).read_text(encoding="ascii")
            except FileNotFoundError:
                continue
            if not entry.name.startswith("."):
                found.append(_server(entry.name, json.loads(text)))
        return tuple(found)

    def delete(self, external_id: str) -> None:
        """Delete a server at once."""
        try:
            (self.directory / external_id).unlink()
        except FileNotFoundError:
            raise NotFound(f"there is no server {external_id}") from None

    def limits(self) -> Resources:
        """The quota."""
        return self.settings.quota

    def console(self, external_id: str) -> str | None:
        """Nothing was printed."""
        return None if external_id else ""


class SharedCloudDriver(Driver):
    """The driver ``shared-cloud``."""

    def getProviderConfig(self, provider: dict[str, Any]) -> SharedCloudConfig:
        """The configuration object for one provider."""
        return SharedCloudConfig(self, provider)

    def getProvider(self, provider_config: ProviderConfig) -> SharedCloudProvider:
        """The provider of a loaded configuration."""
        assert isinstance(provider_config, SharedCloudConfig)
        return SharedCloudProvider(provider_config)


class SharedCloudConfig(FakeProviderConfig):
    """The fake driver's configuration and ``directory``."""

    def getSchema(self) -> v.Schema:
        """Schema of the provider's mapping."""
        schema: v.Schema = super().getSchema().extend({v.Required("directory"): str})
        return schema


class SharedCloudProvider(Provider):
    """One launcher's view of the cloud."""

    adapter: FakeAdapter

    def __init__(self, config: SharedCloudConfig) -> None:
        cloud: Any = SharedCloud(Path(config.provider["directory"]), config.fake.cloud)
        self.adapter = FakeAdapter(cloud, config.pools, config.fake.latency, config.fake.poll_interval)

    def listNodes(self) -> Sequence[Any]:
        """All servers."""
        servers = self.adapter.list_servers(10.0)
        return [SimpleNamespace(id=server.external_id, metadata=dict(server.tags)) for server in servers]

    def cleanupNode(self, node_id: Any) -> None:
        """Delete a server."""
        self.adapter.delete_server(node_id, 10.0)

    def getRequestHandler(self, poolworker: Any, request: Any) -> NodeRequestHandler:
        """Not used: the launcher drives the adapter."""
        raise NotImplementedError("the shared cloud is driven through its adapter")


def installed(directory: Path) -> dict[str, str]:
    """Environment in which the driver is installed: a package of its own in ``directory``, which names this module."""
    package = directory / "shared_cloud-1.dist-info"
    package.mkdir(parents=True, exist_ok=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: shared-cloud\nVersion: 1\n", encoding="ascii")
    entry_point = "[nodepool.drivers]\nshared-cloud = tests.shared_cloud:SharedCloudDriver\n"
    (package / "entry_points.txt").write_text(entry_point, encoding="ascii")
    return {"PYTHONPATH": f"{directory}:{_ROOT}"}


def _server(external_id: str, values: Mapping[str, Any]) -> Server:
    active = time.time() >= values["boot_end"]
    return Server(
        external_id=external_id,
        state=ServerState.ACTIVE if active else ServerState.BUILDING,
        tags=values["tags"],
        interface_ip="fake" if active else None,
        public_ipv4="fake" if active else None,
        resources=Resources(values["resources"]),
        az=values["az"],
    )
