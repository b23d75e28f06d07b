"""What the benchmarks of clouds run against: a simulated OpenStack, and a launcher that uses it.

The cloud, ZooKeeper, the launcher and the requestors are a process each, on the same processors.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.bench.crowd import Crowd
from tools.bench.site import LABEL, Site, client, cpu_seconds, launcher, wait_for
from tools.cloud.process import CloudProcess

LATENCY = 0.02
BOOT = 1.0
SHARED_CALLS = ("compute.server.list", "compute.limits.show", "network.quota.show", "identity.")
"""Kinds of calls, or how they begin, that serve all nodes together."""


@dataclass(frozen=True, slots=True)
class CloudSetup:
    """What is different from one measurement to the next."""

    providers: int = 1
    """Each with a region of its own."""
    quota: int = 1000
    """Servers of each region."""
    min_ready: int = 0
    floating: bool = False
    """Whether each node gets a floating address."""
    faults: Mapping[str, Any] = field(default_factory=dict)
    """Of each region."""
    provider: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of each provider."""


class CloudSite:
    """A launcher on a simulated cloud. Made by :func:`cloud_site`."""

    def __init__(self, place: Site, cloud: CloudProcess, configuration: Path, setup: CloudSetup) -> None:
        self.place = place
        self.cloud = cloud
        self.setup = setup
        self.pid = 0
        self._configuration = configuration

    @contextlib.contextmanager
    def launcher(self) -> Iterator[None]:
        """A launcher process that has registered its pools."""
        before = os.environ.get("OS_CLIENT_CONFIG_FILE")
        os.environ["OS_CLIENT_CONFIG_FILE"] = str(self.cloud.clouds_yaml)
        try:
            with launcher(self.place, self._configuration) as process:
                self.pid = process.pid
                yield
        finally:
            os.environ.pop("OS_CLIENT_CONFIG_FILE")
            if before is not None:
                os.environ["OS_CLIENT_CONFIG_FILE"] = before

    def warm_up(self) -> None:
        """Wait until one node per provider has lived and gone: everything is connected and known."""
        with self.crowd() as crowd:
            crowd.ask(self.setup.providers)
            crowd.wait_ended(60)
        self.wait_empty()
        self.cloud.control.reset()

    @contextlib.contextmanager
    def crowd(self, hold: float | None = 0.0) -> Iterator[Crowd]:
        """Requestors."""
        crowd = Crowd(self.place.zookeeper.hosts, hold)
        try:
            yield crowd
        finally:
            crowd.close()

    def wait_empty(self, seconds: float = 60.0) -> None:
        """Wait until no server and no record of a node is left."""
        wait_for(lambda: self.alive() == 0, "all servers to go", seconds)
        wait_for(lambda: self.znodes("nodes") == 0, "all nodes to go", seconds)

    def alive(self) -> int:
        """Servers in all regions."""
        return sum(region["servers"]["alive"]["instances"] for region in self._regions())

    def znodes(self, kind: str) -> int:
        """How many nodes or requests there are."""
        with client(self.place) as zookeeper:
            return len(zookeeper.get_children(f"/nodepool/{kind}"))

    def usage(self) -> Usage:
        """What was used until now."""
        cpu = {"launcher": self.pid, "cloud": self.cloud.pid, "ZooKeeper": self.place.zookeeper.pid}
        return Usage(
            time.monotonic(),
            {**{name: cpu_seconds(pid) for name, pid in cpu.items()}, "requestors": time.process_time()},
            self.place.requests(),
        )

    def memory(self) -> float:
        """Resident memory of the launcher, MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def calls(self) -> dict[str, int]:
        """API calls by kind since the warm-up, all regions together."""
        table: dict[str, int] = {}
        accounting = self.cloud.control.accounting()
        for calls in [accounting["identity"]["calls"], *(region["calls"] for region in accounting["regions"].values())]:
            for kind, entry in calls.items():
                table[kind] = table.get(kind, 0) + entry["count"]
        return table

    def calls_per_life(self) -> float:
        """API calls per server made, those left out that serve all nodes together."""
        own = sum(count for kind, count in self.calls().items() if not kind.startswith(SHARED_CALLS))
        created: int = sum(region["servers"]["created"] for region in self._regions())
        return own / max(1, created)

    def verdict(self) -> str:
        """What went wrong in the cloud: leaks, doubles and servers beyond the quota; or that nothing did."""
        faults = []
        for name, region in self.cloud.control.accounting()["regions"].items():
            servers = region["servers"]
            wrong = {
                "beyond quota": servers["over_quota"]["instances"],
                "refused for quota": servers["refused"],
                "doubles": len(servers["doubles"]),
                **{kind: count for kind, count in region["leftovers"].items() if count},
            }
            faults += [f"{name}: {count} {kind}" for kind, count in wrong.items() if count]
        return ", ".join(faults) or "no leaks, no doubles, never beyond quota"

    def _regions(self) -> list[dict[str, Any]]:
        return list(self.cloud.control.accounting()["regions"].values())


@dataclass(frozen=True, slots=True)
class Usage:
    """Clock, processor seconds by process, and requests to ZooKeeper."""

    at: float
    cpu: Mapping[str, float]
    zookeeper: int

    def since(self, before: Usage, lives: int) -> str:
        """For people: processor time per node."""
        parts = (f"{name} {(self.cpu[name] - before.cpu[name]) / lives * 1000:.2f}" for name in self.cpu)
        requests = (self.zookeeper - before.zookeeper) / lives
        return f"ms of CPU a node: {', '.join(parts)}; {requests:.1f} requests to ZooKeeper a node"


@contextlib.contextmanager
def cloud_site(place: Site, setup: CloudSetup) -> Iterator[CloudSite]:
    """A simulated cloud beside a ZooKeeper. The launcher has to be started."""
    regions = [f"region{number}" for number in range(setup.providers)]
    with CloudProcess(place.directory / "cloud", _cloud_settings(regions, setup)) as cloud:
        yield CloudSite(place, cloud, _write_configuration(place, regions, setup), setup)


def _cloud_settings(regions: list[str], setup: CloudSetup) -> dict[str, Any]:
    region = {
        "latency": {"*": LATENCY},
        "boot": BOOT,
        "quota": {"instances": setup.quota, "cores": -1, "ram": -1, "ports": -1, "floating_ips": -1},
        "networks": [
            {"name": "inside", "cidr": "10.0.0.0/16"},
            {"name": "shared", "cidr": "203.0.0.0/16", "external": True, "shared": True},
            {"name": "public", "cidr": "198.18.0.0/16", "external": True},
        ],
        "deleted_kept": 120.0,
        "faults": dict(setup.faults),
    }
    return {"region": region, "regions": {name: {} for name in regions}, "identity_latency": LATENCY}


def _write_configuration(place: Site, regions: list[str], setup: CloudSetup) -> Path:
    path = place.directory / "nodepool.yaml"
    pool = {
        "name": "main",
        "networks": ["inside" if setup.floating else "shared"],
        "auto-floating-ip": setup.floating,
        "labels": [{"name": LABEL, "cloud-image": "base", "min-ram": 1024, "host-key-checking": False}],
    }
    providers = [
        {
            "name": f"cloud-{region}",
            "driver": "openstack",
            "cloud": "simulated",
            "region-name": region,
            "rate": 0,
            "cloud-images": [{"name": "base", "username": "zuul"}],
            "pools": [pool],
            **setup.provider,
        }
        for region in regions
    ]
    document = {
        "zookeeper-servers": [{"host": "127.0.0.1", "port": place.port}],
        "labels": [{"name": LABEL, "min-ready": setup.min_ready}],
        "providers": providers,
    }
    path.write_text(json.dumps(document))
    return path
