"""Images as Glance lists them: which one a name means, and which are uploads of ours (spec drivers 2, builder 4).

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nodepool.driver.image_adapter import UploadedImage

ACTIVE = "active"
"""State of an image that can be used."""


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
    usable = [image for image in images if image.get("status") == ACTIVE]
    if not usable:
        return FoundImage(states=tuple(sorted({str(image.get("status")) for image in images})))
    newest = max(usable, key=lambda image: (image.get("created_at") or "", image["id"]))
    return FoundImage(newest["id"], newest.get("min_ram") or 0, newest.get("min_disk") or 0)


def read_image(image: Mapping[str, Any]) -> UploadedImage:
    """An entry of ``GET /images``."""
    tags = {name: str(value) for name, value in image.items() if name.startswith("nodepool_")}
    state = image.get("status") or ""
    return UploadedImage(image["id"], image.get("name") or "", state, state == ACTIVE, tags)
