"""Floating addresses: given to servers that have no public one, and taken back when they go (spec drivers 2).

Each bears the provider and the node in its description, so that one that outlives its server is known as ours.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from nodepool.driver.adapter import NODE_TAG, Server
from nodepool.driver.errors import CloudError, NotFound, UnknownOutcome
from nodepool.driver.openstack.connection import CloudConnection
from nodepool.driver.openstack.errors import Conflict
from nodepool.driver.openstack.leftovers import describe
from nodepool.driver.openstack.networks import Networks
from nodepool.driver.openstack.survey import nat_destinations


class FloatingAddresses:
    """The floating addresses of one provider. Methods are to be called within a deadline, from any thread."""

    def __init__(self, provider: str, cloud: CloudConnection) -> None:
        self._provider = provider
        self._cloud = cloud
        self._lock = threading.Lock()
        self._ids: dict[str, str] = {}
        """Server to the id of the address that this process gave it: saves looking for it when the server goes."""
        self._shown: dict[str, tuple[str, ...]] = {}
        """Server to the floating addresses that Nova shows."""

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
        with self._lock:
            self._ids[server.external_id] = given["id"]
        address: str = given["floating_ip_address"]
        return address

    def listed(self, shown: Mapping[str, tuple[str, ...]], everything: bool) -> None:
        """Take over what a list shows: server to floating addresses, which are none for servers without or gone."""
        with self._lock:
            if everything:
                self._shown = {}
            for server_id, addresses in shown.items():
                if addresses:
                    self._shown[server_id] = addresses
                else:
                    self._shown.pop(server_id, None)

    def take_back(self, server_id: str) -> None:
        """Delete the floating addresses of a server, as far as we know of them; :meth:`listed` tells of others."""
        with self._lock:
            known, shown = self._ids.get(server_id), self._shown.get(server_id, ())
        for floating_id in [known] if known else [found for address in shown for found in self._find(address)]:
            self.delete(floating_id)
        with self._lock:
            self._ids.pop(server_id, None)

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

    def _find(self, address: str) -> list[str]:
        found = self._cloud.entries("network", "/floatingips", "floatingips", {"floating_ip_address": address})
        return [entry["id"] for entry in found]


def choose_port(ports: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """The port, and its IPv4 address, that a floating address is to lead to: the newest port, as the SDK does it."""
    for port in sorted(ports, key=lambda port: port.get("created_at") or "", reverse=True):
        for fixed in port.get("fixed_ips") or ():
            address = fixed.get("ip_address") or ""
            if "." in address:
                return port["id"], address
    return None
