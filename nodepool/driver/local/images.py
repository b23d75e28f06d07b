"""The images of a local provider: copies of what the builder made, in the state directory.

``STATE/images/ID/image.json`` says what it is, and ``content.FORMAT`` beside it is what was uploaded, byte for byte.
The image is there, with its tags, before its content is, and ready when its kind has made of it what all machines need.
One that machines still use is only marked when it is deleted; it goes with the last of them. Builder and launcher may
be different users: what root uploads is given to the owner of the state directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nodepool.driver.adapter import PROVIDER_TAG
from nodepool.driver.errors import CloudError, NotFound, QuotaExceeded, UnknownOutcome
from nodepool.driver.image_adapter import ImageAdapter, ImageOrder, Progress, UploadedImage
from nodepool.driver.local import disk
from nodepool.driver.local.machine import Image, MachineKind, Patience
from nodepool.driver.local.state_directory import GONE, UNFINISHED, StateDirectory

CHUNK = 1 << 20
SPARE_BYTES = 256 << 20
"""Room that an upload leaves on the disk."""
SAVING = "saving"
ACTIVE = "active"
_ABOUT = "image.json"
_DELETED = "deleted"
_FILES = ("kernel", "initrd")
_ARGUMENTS = "kernel-arguments"


class LocalImages(ImageAdapter):
    """The images of one provider. May be used from any thread."""

    def __init__(self, provider: str, state: StateDirectory, kind: MachineKind) -> None:
        self._provider = provider
        self._state = state
        self._kind = kind
        self._stopped = threading.Event()

    def disk_format(self, image: str) -> str:  # noqa: ARG002 - one for all
        """What the kind of machines needs."""
        return self._kind.disk_format

    def upload(self, order: ImageOrder, deadline: float, progress: Progress | None = None) -> str:
        """Copy an image, and what belongs to it."""
        end = time.monotonic() + deadline
        self._state.make()
        source = Path(order.path)
        with disk.cloud_errors(f"read the image '{order.name}'"):
            size = source.stat().st_size
        self._kind.check_content(source, order.disk_format)
        free = disk.free_bytes(self._state.images)
        wanted = size * self._kind.copies
        if free < wanted + SPARE_BYTES:
            raise QuotaExceeded(
                f"no room for the image '{order.name}' in {self._state.images}: {wanted >> 20} MiB wanted, "
                f"{free >> 20} MiB free; delete images or give the state-dir a larger disk"
            )
        image_id = f"image-{uuid.uuid4().hex[:12]}"
        about = {
            "name": order.name,
            "state": SAVING,
            "disk_format": order.disk_format,
            "properties": {**order.properties, **order.tags(self._provider)},
            "uploaded": time.time(),
        }
        try:
            with disk.cloud_errors(f"store the image '{order.name}'"):
                self._begin(image_id, about)
                patience = self._patience(source, end)
                self._copy(source, self._directory(image_id) / _content(order.disk_format), size, patience, progress)
                self._kind.take_along(source, self._directory(image_id))
                owner = self._state.path.stat().st_uid
                self._kind.unpack(self._image(image_id, about), owner, patience)
                self._give_to_owner(image_id)
                disk.write_json(self._directory(image_id) / _ABOUT, {**about, "state": ACTIVE})
        except CloudError:
            self._remove(image_id)
            raise
        return image_id

    def delete(self, external_id: str, deadline: float) -> None:  # noqa: ARG002 - takes no time
        """Delete an image, at once or as soon as no machine uses it any more. It is found no more in any case."""
        known = external_id in self._present()
        if known:
            with disk.cloud_errors(f"delete the image {external_id}"):
                (self._directory(external_id) / _DELETED).touch()
        # Also if it is marked already: whoever did that may have been killed before the rest.
        self.purge()
        if not known:
            raise NotFound(f"there is no image {external_id}")

    def find(self, deadline: float) -> Sequence[UploadedImage]:  # noqa: ARG002 - takes no time
        """All images of this provider."""
        return tuple(image for image in self._all() if image.tags.get(PROVIDER_TAG) == self._provider)

    def stop(self) -> None:
        """End all uploads."""
        self._stopped.set()

    # For the launcher

    def get(self, image_id: str) -> Image:
        """An image of which a machine is to be made. Raises NotFound."""
        about = disk.read_json(self._directory(image_id) / _ABOUT) if image_id in self._present() else None
        if about is None or about.get("state") != ACTIVE:
            raise NotFound(f"there is no image {image_id} in {self._state.images}")
        return self._image(image_id, about)

    def purge(self) -> None:
        """Remove this provider's images that are marked as deleted and that no machine uses any more.

        What another user's rights keep from being removed waits for somebody who may.
        """
        self._state.sweep()
        used = {note.image for note in self._state.notes()}
        for path in self._state.images.glob(f"[!.]*/{_DELETED}"):
            about = disk.read_json(path.with_name(_ABOUT)) or {}
            ours = about.get("properties", {}).get(PROVIDER_TAG) == self._provider
            if ours and path.parent.name not in used:
                self._remove(path.parent.name)

    def sweep_workshops(self, wanted: Collection[str]) -> None:
        """Remove what was made of images that there are no more; ``wanted`` are those that were not uploaded."""
        used = {note.image for note in self._state.notes()}.union(wanted)
        for workshop in self._state.workshop.glob("*"):
            if workshop.name not in used and not self._directory(workshop.name).exists():
                self._remove(workshop.name)

    # Inside

    def _image(self, image_id: str, about: Mapping[str, Any]) -> Image:
        directory = self._directory(image_id)
        files = {name: directory / name for name in _FILES if (directory / name).exists()}
        arguments = directory / _ARGUMENTS
        return Image(
            image_id,
            directory / _content(about["disk_format"]),
            about["disk_format"],
            self._state.workshop / image_id,
            kernel_arguments=arguments.read_text(encoding="utf-8").strip() if arguments.exists() else None,
            **files,
        )

    def _patience(self, source: Path, end: float) -> Patience:
        """Until the provider is stopped, or the upload has taken too long."""

        def pause(seconds: float) -> None:
            if self._stopped.wait(seconds) or time.monotonic() > end:
                why = "the provider was stopped" if self._stopped.is_set() else "it took too long"
                raise UnknownOutcome(f"the upload of {source} was broken off: {why}")

        return Patience(pause, lambda: end - time.monotonic())

    def _all(self) -> Iterator[UploadedImage]:
        for image_id in self._present():
            about = disk.read_json(self._directory(image_id) / _ABOUT)
            if about is not None:
                tags = {name: str(text) for name, text in about["properties"].items() if name.startswith("nodepool_")}
                yield UploadedImage(image_id, about["name"], about["state"], about["state"] == ACTIVE, tags)

    def _present(self) -> list[str]:
        paths: Iterable[Path] = sorted(self._state.images.glob(f"[!.]*/{_ABOUT}"))
        return [path.parent.name for path in paths if not (path.parent / _DELETED).exists()]

    def _copy(self, source: Path, target: Path, size: int, patience: Patience, progress: Progress | None) -> None:
        done = 0
        with source.open("rb") as reader, target.open("wb") as writer:
            while chunk := reader.read(CHUNK):
                patience.pause(0.0)
                writer.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, size)

    def _begin(self, image_id: str, about: Mapping[str, Any]) -> None:
        """Make the directory of an image, which appears with its tags, at once."""
        temporary = self._state.images / f"{UNFINISHED}{image_id}"
        temporary.mkdir(mode=0o755)
        hold = disk.hold(temporary)
        try:
            disk.write_json(temporary / _ABOUT, about)
            temporary.rename(self._directory(image_id))
        finally:
            if hold is not None:
                hold.release()

    def _give_to_owner(self, image_id: str) -> None:
        """A builder that runs as root works for a launcher that need not."""
        owner = self._state.path.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            own = [place / image_id for place in (self._state.images, self._state.workshop)]
            own = [directory for directory in own if directory.is_dir()]
            files = [path for directory in own for path in directory.iterdir() if path.is_file()]
            for path in (self._state.nodes, self._state.images, self._state.workshop, *own, *files):
                os.chown(path, owner.st_uid, owner.st_gid)

    def _remove(self, image_id: str) -> None:
        workshop = self._state.workshop / image_id
        if workshop.exists():
            self._kind.clear(workshop)
            shutil.rmtree(workshop, ignore_errors=True)
        # It goes as a whole: half of one, without its tags, would be nobody's.
        gone = self._state.images / f"{GONE}{uuid.uuid4().hex}"
        with contextlib.suppress(OSError):
            self._directory(image_id).rename(gone)
            shutil.rmtree(gone)

    def _directory(self, image_id: str) -> Path:
        return self._state.images / image_id


def _content(disk_format: str) -> str:
    return f"content.{disk_format}"
