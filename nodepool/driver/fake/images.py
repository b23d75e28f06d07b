"""The fake cloud's images: a directory for each, so that builders and launchers of several processes see the same.

``PLACE/PROVIDER/ID/content`` is what was uploaded, byte for byte, and ``image.json`` beside it says the rest. As in a
real cloud, an image is there, with its tags, before its content is, and stays so if the upload breaks off.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nodepool.driver.errors import CloudError, NotFound, UnknownOutcome
from nodepool.driver.fake.faults import FaultRates
from nodepool.driver.image_adapter import ImageAdapter, ImageOrder, Progress, UploadedImage

CHUNK = 1 << 20
CONTENT = "content"
ABOUT = "image.json"
GONE = ".gone-"
"""Begins the names of directories that are no images any more."""
SAVING = "saving"
ACTIVE = "active"
REFUSE = "SHOULD_FAIL"
"""Property that makes an upload fail if it is ``true`` (spec drivers 12)."""


class FakeImages(ImageAdapter):
    """The images of one provider. May be used from any thread.

    :param place: directory of all fake images; made when needed
    :param upload_time: least duration of an upload, in seconds
    """

    def __init__(
        self,
        provider: str,
        place: Path,
        disk_format: str = "qcow2",
        upload_time: float = 0.0,
        faults: FaultRates | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self._provider = provider
        self._place = place / provider
        self._format = disk_format
        self._upload_time = upload_time
        self._faults = faults or FaultRates()
        self._chance = chance or random.Random(0)
        self._stopped = threading.Event()

    def disk_format(self, image: str) -> str:  # noqa: ARG002 - one for all
        """The format of the configuration."""
        return self._format

    def upload(self, order: ImageOrder, deadline: float, progress: Progress | None = None) -> str:
        """Copy an image."""
        if self._hits("upload_refused") or str(order.properties.get(REFUSE, "")).lower() == "true":
            raise CloudError(f"the upload of '{order.name}' was refused")
        if self._hits("upload_unknown_undone"):
            raise UnknownOutcome("the connection broke")
        external_id = f"fake-{uuid.uuid4().hex}"
        about = {
            "name": order.name,
            "state": SAVING,
            "disk_format": order.disk_format,
            "properties": {**order.properties, **order.tags(self._provider)},
            "md5": order.md5,
            "sha256": order.sha256,
        }
        self._write(external_id, about)
        try:
            self._copy(order, external_id, progress)
        except OSError as error:
            self._remove(external_id)
            raise CloudError(f"the upload of '{order.name}' failed: {error}") from error
        if self._stopped.wait(min(self._upload_time, deadline)):
            raise UnknownOutcome("the provider was stopped")
        if self._upload_time > deadline:
            raise UnknownOutcome(f"the upload of '{order.name}' did not end within {deadline:g} s")
        self._write(external_id, {**about, "state": ACTIVE})
        if self._hits("upload_unknown_done"):
            raise UnknownOutcome("the connection broke")
        return external_id

    def delete(self, external_id: str, deadline: float) -> None:  # noqa: ARG002 - takes no time
        """Delete an image."""
        if self._hits("image_delete_refused"):
            raise CloudError(f"the image {external_id} is in use")
        self._purge()
        if not self.content(external_id).parent.is_dir():
            raise NotFound(f"there is no image {external_id}")
        self._remove(external_id)
        if self._hits("image_delete_unknown"):
            raise UnknownOutcome("the connection broke")

    def find(self, deadline: float) -> Sequence[UploadedImage]:  # noqa: ARG002 - takes no time
        """All images."""
        self._purge()
        return tuple(self._images())

    def content(self, external_id: str) -> Path:
        """Where the content of an image is."""
        return self._place / external_id / CONTENT

    def stop(self) -> None:
        """End all uploads."""
        self._stopped.set()

    # Inside

    def _copy(self, order: ImageOrder, external_id: str, progress: Progress | None) -> None:
        total = Path(order.path).stat().st_size
        done = 0
        with open(order.path, "rb") as source, self.content(external_id).open("wb") as target:
            while chunk := source.read(CHUNK):
                if self._stopped.is_set():
                    raise UnknownOutcome("the provider was stopped")
                target.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)

    def _images(self) -> Iterator[UploadedImage]:
        for path in sorted(self._place.glob(f"*/{ABOUT}")):
            if path.parent.name.startswith(GONE):
                continue
            try:
                about = json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:
                continue
            tags = {name: str(value) for name, value in about["properties"].items() if name.startswith("nodepool_")}
            yield UploadedImage(path.parent.name, about["name"], about["state"], about["state"] == ACTIVE, tags)

    def _write(self, external_id: str, about: dict[str, Any]) -> None:
        path = self._place / external_id / ABOUT
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(about, default=str), encoding="utf-8")
        temporary.replace(path)

    def _remove(self, external_id: str) -> None:
        """Gone at once; what of its files is left if we are killed now goes with the next look or removal."""
        with contextlib.suppress(FileNotFoundError):
            (self._place / external_id).rename(self._place / f"{GONE}{external_id}")
        self._purge()

    def _purge(self) -> None:
        for rest in self._place.glob(f"{GONE}*"):
            shutil.rmtree(rest, ignore_errors=True)

    def _hits(self, fault: str) -> bool:
        rate = getattr(self._faults, fault)
        return bool(rate) and self._chance.random() < rate
