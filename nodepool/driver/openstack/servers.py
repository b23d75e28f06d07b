"""Servers as Nova lists them, made into what the launcher knows (``GET /servers/detail``, Compute API reference).

Works on the plain JSON: objects of openstacksdk cost many times as much. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nodepool.driver.adapter import POOL_TAG, Server, ServerState
from nodepool.driver.openstack.addresses import choose_addresses
from nodepool.driver.openstack.errors import error_of_fault
from nodepool.driver.openstack.flavors import embedded_resources
from nodepool.driver.openstack.networks import NetworkRules, Networks
from nodepool.model.resources import Resources

GONE = frozenset({"DELETED", "SOFT_DELETED"})
"""States of servers that are listed only because something changed since a given time."""
GROUPS_TAG = "groups"
"""``PROVIDER,IMAGE,LABEL`` (spec launcher 3.4)."""
_STATES = {"ACTIVE": ServerState.ACTIVE, "ERROR": ServerState.ERROR}


@dataclass(frozen=True, slots=True)
class ServerReader:
    """Reads servers of one cloud; everything that has to be known for it beside the server's own record."""

    cloud: str
    region: str | None
    networks: Networks
    rules: NetworkRules
    flavor: Callable[[str], Resources | None] = field(default=lambda _: None)
    """Id of a flavor to what a server of it uses; asked for clouds before Nova 2.47 only."""
    volume_size: Callable[[str, str], int | None] = field(default=lambda *_: None)
    """Pool and label to the GB of the volume that servers of it boot from."""
    volume_sizes: Mapping[str, int] = field(default_factory=dict)
    """Id of a volume to its GB, as far as known."""

    def read(self, entry: Mapping[str, Any]) -> Server:
        """A server. Of one in a cell that does not answer, hardly more than its id is known (Nova 2.69)."""
        state = state_of(entry)
        fault, fault_text = error_of_fault(entry.get("fault")) if state is ServerState.ERROR else (None, "")
        addresses = choose_addresses(entry, self.networks, self.rules)
        if state is ServerState.ACTIVE and not addresses.interface_ip:
            # Nova may learn of the addresses later; a machine that nobody can reach is not up.
            state = ServerState.BUILDING
        return Server(
            external_id=entry["id"],
            state=state,
            tags=entry.get("metadata") or {},
            fault=fault,
            fault_text=fault_text,
            interface_ip=addresses.interface_ip,
            public_ipv4=addresses.public_ipv4,
            private_ipv4=addresses.private_ipv4,
            public_ipv6=addresses.public_ipv6,
            private_ipv6=addresses.private_ipv6,
            host_id=entry.get("hostId") or None,
            cloud=self.cloud,
            region=self.region,
            az=entry.get("OS-EXT-AZ:availability_zone") or None,
            resources=self._resources(entry),
            name=entry.get("name") or "",
        )

    def _resources(self, entry: Mapping[str, Any]) -> Resources:
        flavor = entry.get("flavor") or {}
        size = embedded_resources(flavor) or self.flavor(flavor.get("id", "")) or Resources(instances=1)
        volumes = entry.get("os-extended-volumes:volumes_attached") or ()
        return size + self._volumes(entry, volumes) if volumes else size

    def _volumes(self, entry: Mapping[str, Any], volumes: Any) -> Resources:
        metadata = entry.get("metadata") or {}
        label = metadata.get(GROUPS_TAG, "").rpartition(",")[2]
        assumed = self.volume_size(metadata.get(POOL_TAG, ""), label) or 0
        sizes = [self.volume_sizes.get(volume["id"], assumed) for volume in volumes]
        return Resources({"volumes": len(sizes), "volume-gb": sum(sizes)})


def state_of(entry: Mapping[str, Any]) -> ServerState:
    """How far a server is. One that is being deleted keeps its old status for a while."""
    if entry.get("OS-EXT-STS:task_state") == "deleting":
        return ServerState.DELETING
    return _STATES.get(entry.get("status", ""), ServerState.BUILDING)
