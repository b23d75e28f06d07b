"""What the builder needs of a cloud: to upload, delete and find images (spec builder 4).

An adapter is called from the bounded call threads of its provider and may block, but not for longer than the deadline
that it is given. It keeps no state: which images there are is what :meth:`ImageAdapter.find` says. It raises only the
errors of :mod:`nodepool.driver.errors`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nodepool.driver.adapter import PROVIDER_TAG, Leftover
from nodepool.model.record import NOTHING

BUILD_TAG = "nodepool_build_id"
UPLOAD_TAG = "nodepool_upload_id"
"""Properties of an uploaded image, beside the name of the provider (spec builder 4.3)."""
IMAGES = "images"
"""Kind of left-over images, as the metric ``nodepool.provider.P.leaked.KIND`` names it."""
SIGHTING_AGE = 60.0
"""Seconds between two sightings of an image without a record (spec drivers 1)."""
DEFAULT_NAME_FORMAT = "{image_name}-{timestamp}"
DEFAULT_UPLOAD_TIMEOUT = 3600.0
"""Seconds."""
DEFAULT_HOOK_TIMEOUT = 3600.0
"""Seconds."""

Progress = Callable[[int, int], None]
"""Told from the calling thread how many bytes of how many the cloud has got; must not block."""


@dataclass(frozen=True, slots=True)
class ProviderImage:
    """What a provider's entry of ``diskimages`` says of uploads."""

    name: str
    """Name of the disk image."""
    pause: bool = False
    """Whether nothing is uploaded."""
    properties: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """Of the operator (``meta``, ``tags``); they win over the disk image's ``metadata``."""


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """What the builder has to know of a provider, whatever the driver. Times are in seconds."""

    images: Mapping[str, ProviderImage] = field(default_factory=lambda: NOTHING)
    """By the name of the disk image, in the order of the file."""
    name_format: str = DEFAULT_NAME_FORMAT
    """Of the image's name in the cloud; see :meth:`external_name`."""
    upload_timeout: float = DEFAULT_UPLOAD_TIMEOUT
    post_upload_hook: str | None = None
    """Program that judges an upload before it is used (spec builder 4.5)."""
    hook_timeout: float = DEFAULT_HOOK_TIMEOUT

    def external_name(self, image: str, upload_id: str, now: float) -> str:
        """Name for an upload that begins at ``now`` (epoch; spec builder 4.2)."""
        return self.name_format.format(image_name=image, upload_id=upload_id, timestamp=str(int(now)))


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """An image to be uploaded."""

    name: str
    """The name that it gets in the cloud."""
    path: str
    """File to read."""
    disk_format: str
    """``qcow2``, ``raw``, …"""
    build_id: str
    upload_id: str
    properties: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """Of the operator; passed to the cloud as they are."""
    md5: str | None = None
    sha256: str | None = None
    image: str = ""
    """Name of the disk image, by which a driver finds its own settings."""

    def tags(self, provider: str) -> dict[str, str]:
        """The properties that say whose image it is; they win over ``properties``."""
        return {BUILD_TAG: self.build_id, UPLOAD_TAG: self.upload_id, PROVIDER_TAG: provider}


@dataclass(frozen=True, slots=True)
class UploadedImage:
    """An image as a cloud lists it."""

    external_id: str
    name: str
    state: str
    """As the cloud calls it: ``queued``, ``saving``, ``active``, …"""
    ready: bool
    """Whether servers can be made of it."""
    tags: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    """Its properties that begin with ``nodepool_``."""

    def is_upload(self, build_id: str, upload_id: str) -> bool:
        """Whether it is what became of this upload."""
        return self.tags.get(BUILD_TAG) == build_id and self.tags.get(UPLOAD_TAG) == upload_id


def uploaded_images(images: Iterable[UploadedImage]) -> Iterator[Leftover]:
    """Images that bear the ids of a build and an upload: leftovers unless there is a record of that upload."""
    for image in images:
        upload = (image.tags.get(BUILD_TAG, ""), image.tags.get(UPLOAD_TAG, ""))
        if all(upload):
            yield Leftover(IMAGES, image.external_id, SIGHTING_AGE, upload)


class ImageAdapter(ABC):
    """The images of one provider."""

    @abstractmethod
    def disk_format(self, image: str) -> str:
        """The format in which the cloud wants a disk image. No network; reads files at most. Raises Misconfigured."""

    @abstractmethod
    def upload(self, order: ImageOrder, deadline: float, progress: Progress | None = None) -> str:
        """Upload an image and wait until it can be used; returns its external id.

        The image bears :meth:`ImageOrder.tags` from the first moment on. After UnknownOutcome it may be there, or
        come later: :meth:`find` tells. ``deadline`` is in seconds from now.
        """

    @abstractmethod
    def delete(self, external_id: str, deadline: float) -> None:
        """Delete an image. Raises NotFound if there is none."""

    @abstractmethod
    def find(self, deadline: float) -> Sequence[UploadedImage]:
        """All images that bear this provider's name, in whatever state."""

    def stop(self) -> None:  # noqa: B027
        """Free what is held; called once, when no call is under way."""
