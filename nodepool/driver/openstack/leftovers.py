"""What may belong to nobody any more: ports, floating addresses, images (spec drivers 2, launcher 3.4 and 4.4).

Pure. Each look tells what might be removed; only what was there at both ends of its ``age`` may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG, Leftover
from nodepool.driver.openstack.images import BUILD_TAG, UPLOAD_TAG, Image

SIGHTING_AGE = 60.0
"""Seconds between two sightings of an unused floating address."""
PORTS = "ports"
FLOATING = "floatingips"
IMAGES = "images"
"""Kinds, as the metric ``nodepool.provider.P.leaked.KIND`` names them."""


def down_ports(ports: Iterable[Mapping[str, Any]], age: float) -> Iterator[Leftover]:
    """Ports of servers or of nobody that are DOWN."""
    for port in ports:
        owner = port.get("device_owner") or ""
        if port.get("status") == "DOWN" and (not owner or owner.startswith("compute:")):
            yield Leftover(PORTS, port["id"], age)


def unused_floating_addresses(
    addresses: Iterable[Mapping[str, Any]], provider: str, everybodys: bool
) -> Iterator[Leftover]:
    """Floating addresses that lead nowhere: those of this provider, or ``everybodys`` in the project."""
    for address in addresses:
        ours = everybodys or is_ours(address.get("description") or "", provider)
        if ours and not address.get("port_id"):
            yield Leftover(FLOATING, address["id"], SIGHTING_AGE)


def uploaded_images(images: Iterable[Image]) -> Iterator[Leftover]:
    """Images that bear the ids of a build and an upload: leftovers unless there is a record of that upload."""
    for image in images:
        upload = (image.tags.get(BUILD_TAG, ""), image.tags.get(UPLOAD_TAG, ""))
        if all(upload):
            yield Leftover(IMAGES, image.external_id, SIGHTING_AGE, upload)


def describe(provider: str, node_id: str) -> str:
    """The description of a floating address of a node."""
    return f"{PROVIDER_TAG}={provider} {NODE_TAG}={node_id}"


def is_ours(description: str, provider: str) -> bool:
    """Whether a description is of an address of a node of this provider."""
    return description.startswith(f"{PROVIDER_TAG}={provider} {NODE_TAG}=")
