"""A launcher's installation on the real OpenStack: judged by ZooKeeper's journal, and by what the cloud shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG
from tests.installation import Installation
from tests.real_openstack import CLOUDS_YAML, PATIENCE, RealCloud, eventually, pool, provider
from tests.requestor import Zuul
from tools.zookeeper import LocalZooKeeper

PROVIDER = "prov"
LAUNCHER_ENVIRONMENT = "OS_CLIENT_CONFIG_FILE"
LABELS: tuple[dict[str, Any], ...] = (
    {"name": "small"},
    {"name": "slow", "instance-properties": {"fake-delay": "5"}},
    {"name": "lingers", "instance-properties": {"fake-delete-delay": "5"}},
    {"name": "aborts", "instance-properties": {"fake-fault": "abort"}},
    {"name": "wanders", "instance-properties": {"fake-fault": "reschedule"}},
)
"""Labels of the pool ``main``, by how the fake hypervisor treats their servers."""
NAMES = [*(label["name"] for label in LABELS), "floating", "disk"]


class RealSite(Installation):
    """A tree of its own in ZooKeeper, and the cloud."""

    def __init__(self, server: LocalZooKeeper, directory: Path, openstack: RealCloud) -> None:
        super().__init__(server, directory)
        self.openstack = openstack

    def by_node(self) -> dict[str, Any]:
        """Servers of our provider by the node that they are for; fails if a node has two."""
        servers = [one for one in self.openstack.servers().values() if one.metadata.get(PROVIDER_TAG) == PROVIDER]
        doubles = [node for node, count in Counter(one.metadata[NODE_TAG] for one in servers).items() if count > 1]
        assert doubles == []
        return {server.metadata[NODE_TAG]: server for server in servers}

    def wait_empty(self) -> None:
        """Wait until nothing is left: no record, no lock, and nothing in the cloud but images."""
        self.wait(lambda audit: audit.left() == [], PATIENCE)
        eventually(lambda: not [one for one in self.openstack.remains() if not one.startswith("image ")])


def real_provider(**changes: Any) -> dict[str, Any]:
    """A provider with :data:`LABELS`, a pool that gives floating addresses, and a disk image."""
    disk = {"name": "disk", "diskimage": "deb", "flavor-name": "m1.tiny", "host-key-checking": False}
    main = pool(*LABELS)
    main["labels"].append(disk)
    outside = pool({"name": "floating"}, name="outside", auto_floating_ip=True)
    entry = provider(PROVIDER, pools=[main, outside], diskimages=[{"name": "deb"}])
    return entry | {"launch-retries": 2, "port-cleanup-interval": 5} | changes


def settings() -> dict[str, Any]:
    """Further keys of the configuration that :func:`real_provider` needs."""
    return {"diskimages": [{"name": "deb", "username": "debian"}]}


def use_up(client: Zuul, requests: Iterable[str], seconds: float = PATIENCE) -> list[str]:
    """Accept all these requests, use their nodes, and give them back; returns the nodes."""
    nodes = [node for request in requests for node in client.accept(request, seconds)]
    for node in nodes:
        client.use(node)
        client.give_back(node)
    return nodes


def credentials() -> dict[str, str]:
    """Environment of a launcher."""
    return {LAUNCHER_ENVIRONMENT: str(CLOUDS_YAML)}
