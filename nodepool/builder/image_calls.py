"""Uploads and removes the images of one provider, in a few threads of its own: a slow provider delays no other.

How many uploads are made at once, the decision core says. A call has the deadline that the configuration gives it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from nodepool.builder.crew import Crew
from nodepool.builder.events import RemovalEnded, UploadEnded
from nodepool.builder.files import ImageFiles
from nodepool.builder.hook import run_hook
from nodepool.builder.instructions import RemoveImage, StartUpload
from nodepool.builder.work import UploadResult
from nodepool.driver.errors import CloudError, NotFound, UnknownOutcome
from nodepool.driver.image_adapter import ImageAdapter, ImageOrder

REMOVAL_THREADS = 2
REMOVAL_DEADLINE = 120.0
"""Seconds that the cloud has for listing or deleting images."""
PROGRESS_EVERY = 60.0
"""Seconds between two lines about the progress of an upload."""

Publish = Callable[[UploadEnded | RemovalEnded], None]


class ImageCalls:
    """The calls of one provider. Methods return at once; what comes of them is published from other threads."""

    def __init__(
        self, name: str, adapter: ImageAdapter, files: ImageFiles, upload_threads: int, publish: Publish
    ) -> None:
        self._name = name
        self._adapter = adapter
        self._files = files
        self._publish = publish
        self._uploads = Crew(f"upload-{name}", max(upload_threads, 1))
        self._removals = Crew(f"image-removal-{name}", REMOVAL_THREADS)
        self._log = logging.getLogger(f"nodepool.builder.{name}")

    def upload(self, order: StartUpload) -> bool:
        """Upload; ends as :class:`~nodepool.builder.events.UploadEnded`. False, and nothing is done, after the end."""
        return self._uploads.submit(lambda: self._publish(UploadEnded(order.key, self._upload(order))))

    def remove(self, order: RemoveImage) -> bool:
        """Remove an image; ends as :class:`~nodepool.builder.events.RemovalEnded`. False as for an upload."""
        return self._removals.submit(lambda: self._publish(RemovalEnded(order.key, self._remove(order))))

    def end(self, ended: Callable[[], None]) -> None:
        """Take nothing new, and call ``ended`` when all calls have ended."""
        self._uploads.end(lambda: self._removals.end(ended))

    # In the threads

    def _upload(self, order: StartUpload) -> UploadResult:
        external_id, error = None, ""
        began = time.monotonic()
        try:
            external_id = self._adapter.upload(self._order(order), order.timeout, self._progress(order))
            error = self._hook(order, external_id)
        except (CloudError, OSError) as raised:
            error = str(raised) or type(raised).__name__
        except Exception as raised:  # noqa: BLE001 - a driver's own code: its provider alone suffers
            self._log.exception("The driver of provider %s failed", self._name)
            error = f"{type(raised).__name__}: {raised}"
        seconds = time.monotonic() - began
        if error and external_id is not None and self._delete(external_id):
            external_id = None
        return UploadResult(external_id, error, time.time(), seconds)

    def _order(self, order: StartUpload) -> ImageOrder:
        image, build_id, _, upload_id = order.key
        md5, sha256 = self._files.checksums(image, build_id, order.image_format)
        return ImageOrder(
            image=image,
            name=order.external_name,
            path=str(self._files.path(image, build_id, order.image_format)),
            disk_format=order.image_format,
            build_id=build_id,
            upload_id=upload_id,
            properties=order.properties,
            md5=md5,
            sha256=sha256,
        )

    def _hook(self, order: StartUpload, external_id: str) -> str:
        """What the hook has against an image (spec builder 4.5)."""
        if order.hook is None:
            return ""
        image, build_id = order.key[:2]
        path = str(self._files.path(image, build_id, order.image_format))
        result = run_hook(order.hook, self._name, external_id, path, order.hook_timeout)
        if result.output:
            self._log.info("%s says of image %s: %s", order.hook, order.external_name, result.output)
        return "" if result.ok else result.reason

    def _delete(self, external_id: str) -> bool:
        """Whether an image that the hook refused is gone."""
        try:
            self._adapter.delete(external_id, REMOVAL_DEADLINE)
        except NotFound:
            return True
        except CloudError as error:
            self._log.warning("Image %s was refused by the hook and cannot be removed yet: %s", external_id, error)
            return False
        return True

    def _progress(self, order: StartUpload) -> Callable[[int, int], None]:
        told = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal told
            now = time.monotonic()
            if now >= told + PROGRESS_EVERY:
                told = now
                mebibytes, all_mebibytes = done >> 20, total >> 20
                self._log.info("Image %s: %d of %d MiB uploaded", order.external_name, mebibytes, all_mebibytes)

        return tell

    def _remove(self, order: RemoveImage) -> CloudError | None:
        try:
            if order.external_id is not None:
                self._adapter.delete(order.external_id, REMOVAL_DEADLINE)
            else:
                self._remove_tagged(order)
        except CloudError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a driver's own code: its provider alone suffers
            self._log.exception("The driver of provider %s failed", self._name)
            return UnknownOutcome(f"{type(error).__name__}: {error}")
        return None

    def _remove_tagged(self, order: RemoveImage) -> None:
        """Remove what an upload has left whose end nobody knows."""
        _, build_id, _, upload_id = order.key
        for image in self._adapter.find(REMOVAL_DEADLINE):
            if image.is_upload(build_id, upload_id):
                with contextlib.suppress(NotFound):
                    self._adapter.delete(image.external_id, REMOVAL_DEADLINE)
