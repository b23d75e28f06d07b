"""Uploads, lists and deletes images of one provider; for the builder (spec builder 4).

The upload itself is openstacksdk's, which knows how each kind of cloud wants to get an image.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nodepool.driver.adapter import PROVIDER_TAG
from nodepool.driver.errors import CloudError, NotFound, UnknownOutcome
from nodepool.driver.image_adapter import ImageAdapter, ImageOrder, Progress, UploadedImage
from nodepool.driver.openstack.connection import CloudConnection
from nodepool.driver.openstack.images import ACTIVE, read_image

CLEANUP_DEADLINE = 60.0
"""Seconds for removing what is left of an upload that failed."""


class ImageStore(ImageAdapter):
    """The images of one provider. May be used from any thread."""

    def __init__(self, provider: str, cloud: CloudConnection) -> None:
        self._provider = provider
        self._cloud = cloud

    def disk_format(self, image: str) -> str:  # noqa: ARG002 - one for all
        """The format that the cloud takes, as clouds.yaml says it; asks no service."""
        return self._cloud.image_format()

    def upload(self, order: ImageOrder, deadline: float, progress: Progress | None = None) -> str:
        """Upload a private image and wait until it can be used; returns its id.

        ``deadline`` is in seconds from now. What is left of an upload that failed is removed before the error is
        raised; if the cloud does not allow it now, the error is UnknownOutcome.
        """
        properties = {**order.properties, **order.tags(self._provider)}
        what = f"upload of image '{order.name}'"
        try:
            watched = self._cloud.watched(_bytes_of(order), progress)
            with self._cloud.within(deadline), watched, self._cloud.sdk(what) as connection:
                image = connection.create_image(
                    order.name,
                    filename=order.path,
                    md5=order.md5,
                    sha256=order.sha256,
                    disk_format=order.disk_format,
                    wait=True,
                    timeout=deadline,
                    allow_duplicates=True,
                    visibility="private",
                    **properties,
                )
            if image is None or image.status != ACTIVE:
                raise CloudError(f"{what}: the image is {image.status if image else 'not there'} afterwards")
            if _is_damaged(image, order):
                raise CloudError(
                    f"{what}: other data arrived: its MD5 is {image.checksum}, that of the file {order.md5}"
                )
            image_id: str = image.id
            return image_id
        except CloudError as error:
            try:
                self._remove_remains(order)
            except CloudError as trouble:
                raise UnknownOutcome(f"{error}; and what is left of it cannot be removed: {trouble}") from error
            raise

    def stop(self) -> None:
        """Close the connections. For the builder; a launcher stops the adapter of servers."""
        self._cloud.stop()

    def delete(self, image_id: str, deadline: float) -> None:
        """Delete an image. Raises NotFound if there is none."""
        with self._cloud.within(deadline):
            self._cloud.call("image", "DELETE", f"/images/{image_id}")

    def find(self, deadline: float) -> Sequence[UploadedImage]:
        """All images that bear this provider's name, in whatever state."""
        with self._cloud.within(deadline):
            entries = self._cloud.entries("image", "/images", "images", {PROVIDER_TAG: self._provider})
        images = (read_image(entry) for entry in entries)
        return tuple(image for image in images if image.tags.get(PROVIDER_TAG) == self._provider)

    def _remove_remains(self, order: ImageOrder) -> None:
        tags = order.tags(self._provider)
        for image in self.find(CLEANUP_DEADLINE):
            if image.name == order.name and tags.items() <= image.tags.items():
                with contextlib.suppress(NotFound):
                    self.delete(image.external_id, CLEANUP_DEADLINE)


def _is_damaged(image: Any, order: ImageOrder) -> bool:
    """Whether the cloud has something else. A cloud that converts what it gets has another size or format to show."""
    known = (image.checksum, order.md5, image.size)
    same_kind = image.disk_format == order.disk_format and image.size == _bytes_of(order)
    return all(known) and same_kind and image.checksum != order.md5


def _bytes_of(order: ImageOrder) -> int:
    try:
        return Path(order.path).stat().st_size
    except OSError as error:
        raise CloudError(f"the image '{order.name}' cannot be read: {error}") from error
