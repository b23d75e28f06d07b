"""What may belong to nobody any more: ports and floating addresses (spec drivers 2, launcher 3.4 and 4.4).

Pure. Each look tells what might be removed; only what was there at both ends of its ``age`` may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG, Leftover

SIGHTING_AGE = 60.0
"""Seconds between two sightings of an unused floating address."""
PORTS = "ports"
FLOATING = "floatingips"
"""Kinds, as the metric ``nodepool.provider.P.leaked.KIND`` names them."""


def down_ports(ports: Iterable[Mapping[str, Any]], age: float, is_alive: Callable[[str], bool]) -> Iterator[Leftover]:
    """Ports of servers or of nobody that are DOWN.

    So are those of a server that takes its time to boot, or was shut down: what belongs to a living one stays.
    """
    for port in ports:
        owner = port.get("device_owner") or ""
        ownerless = not owner or (owner.startswith("compute:") and not is_alive(port.get("device_id") or ""))
        if port.get("status") == "DOWN" and ownerless:
            yield Leftover(PORTS, port["id"], age)


def unused_floating_addresses(
    addresses: Iterable[Mapping[str, Any]], provider: str, everybodys: bool, is_alive: Callable[[str], bool]
) -> Iterator[Leftover]:
    """Floating addresses that lead nowhere: those of this provider, or ``everybodys`` in the project.

    One of this provider leads nowhere, too, if its port is that of a server which is gone.
    """
    for address in addresses:
        ours = is_ours(address.get("description") or "", provider)
        if address.get("port_id"):
            unused = ours and not _leads_to_a_living_one(address.get("port_details") or {}, is_alive)
        else:
            unused = ours or everybodys
        if unused:
            yield Leftover(FLOATING, address["id"], SIGHTING_AGE)


def _leads_to_a_living_one(port: Mapping[str, Any], is_alive: Callable[[str], bool]) -> bool:
    """Whether a port is none of a server that is gone; clouds without the extension fip-port-details tell nothing."""
    device_id = port.get("device_id") or ""
    return not (port.get("device_owner") or "").startswith("compute:") or is_alive(device_id)


def describe(provider: str, node_id: str) -> str:
    """The description of a floating address of a node."""
    return f"{PROVIDER_TAG}={provider} {NODE_TAG}={node_id}"


def is_ours(description: str, provider: str) -> bool:
    """Whether a description is of an address of a node of this provider."""
    return description.startswith(f"{PROVIDER_TAG}={provider} {NODE_TAG}=")
