"""Floating addresses: given to servers that have no public one, and taken back when they go (spec drivers 2).

Each bears the provider and the node in its description, so that one that outlives its server is known as ours.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from nodepool.driver.adapter import NODE_TAG, POOL_TAG, Server
from nodepool.driver.errors import CloudError, NotFound, UnknownOutcome
from nodepool.driver.openstack.connection import CloudConnection
from nodepool.driver.openstack.errors import Conflict
from nodepool.driver.openstack.leftovers import describe, is_ours
from nodepool.driver.openstack.networks import Networks
from nodepool.driver.openstack.survey import nat_destinations


class FloatingAddresses:
    """The floating addresses of one provider. Methods are to be called within a deadline, from any thread."""

    def __init__(self, provider: str, cloud: CloudConnection) -> None:
        self._provider = provider
        self._cloud = cloud
        self._lock = threading.Lock()
        self._ids: dict[str, tuple[str, ...]] = {}
        """Server to the ids of its addresses, as far as this process gave or found them: saves looking for them."""
        self._shown: dict[str, tuple[str, ...]] = {}
        """Server to the floating addresses that Nova shows."""
        self.pools: set[str] = set()
        """Pools whose nodes need floating addresses: one was given to a node of each."""

    def give(self, server: Server, networks: Networks) -> str | None:
        """Give a server a floating address and return it; None if no port of it could use one.

        Raises the errors of drivers, QuotaExceeded and NoCapacity among them. May be called again after an error.
        """
        ports = self._cloud.entries("network", "/ports", "ports", {"device_id": server.external_id})
        if len(ports) > 1:
            suitable = nat_destinations(self._cloud, networks)
            ports = [port for port in ports if port["network_id"] in suitable]
        place = choose_port(ports)
        if place is None or networks.nat_source is None:
            return None
        port_id, fixed_address = place
        order = {
            "floating_network_id": networks.nat_source,
            "port_id": port_id,
            "fixed_ip_address": fixed_address,
            "description": describe(self._provider, server.tags.get(NODE_TAG, "")),
        }
        given = self._create(order)
        self._know(server.external_id, (given["id"],))
        self.pools.add(server.tags.get(POOL_TAG, ""))
        address: str = given["floating_ip_address"]
        return address

    def count_others(self) -> int:
        """How many floating addresses of the project are not ours."""
        addresses = self._cloud.entries("network", "/floatingips", "floatingips")
        return sum(not is_ours(address.get("description") or "", self._provider) for address in addresses)

    def listed(self, shown: Mapping[str, tuple[str, ...]], everything: bool) -> None:
        """Take over what a list shows: server to floating addresses, which are none for servers without or gone."""
        with self._lock:
            if everything:
                self._shown = {}
                self._ids = {server_id: found for server_id, found in self._ids.items() if server_id in shown}
            for server_id, addresses in shown.items():
                if addresses:
                    self._shown[server_id] = addresses
                else:
                    self._shown.pop(server_id, None)

    def take_back(self, server_id: str) -> None:
        """Delete the floating addresses of a server, as far as we know of them; :meth:`listed` tells of others.

        What a list showed may be old: another server may have the address by now, and it stays there.
        """
        with self._lock:
            known, shown = self._ids.get(server_id), self._shown.get(server_id, ())
        if known is None:
            known = self._find(shown, server_id)
        if not known:
            return
        self._know(server_id, known)
        for floating_id in known:
            self.delete(floating_id)
        self._know(server_id, ())

    def delete(self, floating_id: str) -> None:
        """Delete one; it may be gone already."""
        try:
            self._cloud.call("network", "DELETE", f"/floatingips/{floating_id}")
        except NotFound:
            return

    def _create(self, order: Mapping[str, str]) -> Mapping[str, Any]:
        """Create and attach in one call; if its outcome is unknown, or there is one already, take what is there."""
        try:
            answer = self._cloud.call("network", "POST", "/floatingips", {"floatingip": dict(order)})
        except (UnknownOutcome, Conflict) as error:
            return self._attached(order["port_id"], error)
        created: Mapping[str, Any] = answer.body["floatingip"]
        return created

    def _attached(self, port_id: str, error: CloudError) -> Mapping[str, Any]:
        found = self._cloud.entries("network", "/floatingips", "floatingips", {"port_id": port_id})
        if not found:
            raise error
        first: Mapping[str, Any] = found[0]
        return first

    def _know(self, server_id: str, floating_ids: tuple[str, ...]) -> None:
        with self._lock:
            self._ids[server_id] = floating_ids

    def _find(self, addresses: Sequence[str], server_id: str) -> tuple[str, ...]:
        """Ids of those floating addresses that lead to the server."""
        if not addresses:
            return ()
        ports = self._cloud.entries("network", "/ports", "ports", {"device_id": server_id})
        ours = {port["id"] for port in ports}
        found = []
        for address in addresses:
            found += self._cloud.entries("network", "/floatingips", "floatingips", {"floating_ip_address": address})
        return tuple(entry["id"] for entry in found if entry["port_id"] in ours)


def choose_port(ports: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """The port, and its IPv4 address, that a floating address is to lead to: the newest port, as the SDK does it."""
    for port in sorted(ports, key=lambda port: port.get("created_at") or "", reverse=True):
        for fixed in port.get("fixed_ips") or ():
            address = fixed.get("ip_address") or ""
            if "." in address:
                return port["id"], address
    return None
