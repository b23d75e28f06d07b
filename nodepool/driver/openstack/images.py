"""Images as Glance lists them: which one a name means, and which are uploads of ours (spec drivers 2, builder 4).

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nodepool.driver.adapter import PROVIDER_TAG
from nodepool.model.record import NOTHING

BUILD_TAG = "nodepool_build_id"
UPLOAD_TAG = "nodepool_upload_id"
"""Properties of an uploaded image, beside the name of the provider (spec builder 4.3)."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the cloud."""

    external_id: str
    name: str
    state: str
    """As Glance calls it: ``queued``, ``saving``, ``active``, …"""
    tags: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    """Its properties that begin with ``nodepool_``."""


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """An image to be uploaded."""

    name: str
    path: str
    """File to read."""
    disk_format: str
    """``qcow2``, ``raw``, …"""
    build_id: str
    upload_id: str
    properties: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """Of the operator; passed to Glance as they are."""
    md5: str | None = None
    sha256: str | None = None

    def tags(self, provider: str) -> dict[str, str]:
        """The properties that say whose image it is; they win over ``properties``."""
        return {BUILD_TAG: self.build_id, UPLOAD_TAG: self.upload_id, PROVIDER_TAG: provider}


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image of the cloud that a label names, or why there is none."""

    id: str | None = None
    min_ram: int = 0
    """MiB that a server of it must have."""
    min_disk: int = 0
    """GiB that a server's disk must have."""
    states: tuple[str, ...] = ()
    """States of images that have the name and cannot be used."""


def choose_image(images: Iterable[Mapping[str, Any]]) -> FoundImage:
    """The newest image that can be used; a name may belong to several, as when one is replaced."""
    images = tuple(images)
    usable = [image for image in images if image.get("status") == "active"]
    if not usable:
        return FoundImage(states=tuple(sorted({str(image.get("status")) for image in images})))
    newest = max(usable, key=lambda image: (image.get("created_at") or "", image["id"]))
    return FoundImage(newest["id"], newest.get("min_ram") or 0, newest.get("min_disk") or 0)


def read_image(image: Mapping[str, Any]) -> Image:
    """An entry of ``GET /images``."""
    tags = {name: str(value) for name, value in image.items() if name.startswith("nodepool_")}
    return Image(image["id"], image.get("name") or "", image.get("status") or "", tags)
