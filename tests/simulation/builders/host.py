"""What a builder has on its host: a disk that outlives it, and a build tool."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nodepool.builder.dib.order import BuildOrder, BuildResult
from nodepool.builder.events import RemovalEnded, UploadEnded
from nodepool.builder.instructions import RemoveImage, StartUpload
from nodepool.builder.work import UploadResult
from nodepool.driver.errors import CloudError, NotFound

if TYPE_CHECKING:
    from tests.simulation.builders.clouds import ImageCloud
    from tests.simulation.builders.process import SimulatedBuilder


class Disk:
    """An images directory. What it has is complete."""

    def __init__(self, chance: random.Random) -> None:
        self.files: dict[tuple[str, str], set[str]] = {}
        self.full = False
        """Whether nothing can be deleted or read just now."""
        self._chance = chance

    def builds(self) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """Formats by image and build id."""
        self._check()
        return {build: tuple(sorted(formats)) for build, formats in self.files.items()}

    def remove(self, image: str, build_id: str, formats: tuple[str, ...] | None = None) -> None:
        """Delete files."""
        self._check()
        present = self.files.get((image, build_id), set())
        present -= present if formats is None else set(formats)
        if formats is None:
            self.files.pop((image, build_id), None)

    def _check(self) -> None:
        if self.full and self._chance.random() < 0.7:
            raise OSError("simulated")


@dataclass(frozen=True, slots=True)
class Manners:
    """How the build tool of a host behaves. Times are in seconds."""

    shortest: float = 5.0
    longest: float = 60.0
    fails: float = 0.0


class BuildTool:
    """Runs builds; what it has not finished is gone with the process."""

    def __init__(self, process: SimulatedBuilder, disk: Disk, manners: Callable[[], Manners]) -> None:
        self._process = process
        self._disk = disk
        self._manners = manners
        self.running: dict[tuple[str, str], Callable[[BuildResult], None]] = {}

    def start(self, order: BuildOrder, done: Callable[[BuildResult], None]) -> None:
        """Begin a build."""
        process, manners = self._process, self._manners()
        key = (order.image, order.build_id)
        if process.dies("before a build"):
            return
        self.running[key] = done
        process.count("build begun")

        def end() -> None:
            if key not in self.running:
                return
            if process.chance.random() < manners.fails:
                self._end(key, BuildResult(*key, ok=False, reason="simulated failure", return_code=1))
                return
            self._disk.files[key] = set(order.formats)
            if not process.dies("after the files of a build are there"):
                self._end(key, BuildResult(*key, ok=True, formats=order.formats, return_code=0))

        process.later(process.chance.uniform(manners.shortest, manners.longest), end)

    def stop(self, image: str, build_id: str, reason: str) -> None:
        """End a build."""
        key = (image, build_id)
        self._process.later(1.0, lambda: self._end(key, BuildResult(*key, ok=False, reason=reason)))

    def _end(self, key: tuple[str, str], result: BuildResult) -> None:
        done = self.running.pop(key, None)
        if done is not None:
            self._process.count("build good" if result.ok else "build failed")
            done(result)


class Calls:
    """The connection of a builder to one cloud."""

    def __init__(self, process: SimulatedBuilder, provider: str, cloud: ImageCloud, disk: Disk) -> None:
        self._process = process
        self._provider = provider
        self._cloud = cloud
        self._disk = disk

    def upload(self, order: StartUpload) -> bool:
        """Upload: the image is there from the first moment on, and can be used at the end."""
        process, cloud = self._process, self._cloud
        if process.dies("before an upload"):
            return True

        def begin() -> None:
            image, build_id, _, upload_id = order.key
            if order.image_format not in self._disk.files.get((image, build_id), set()):
                self._ended(order, None, "there is no such file")
                return
            error, external_id, seconds = cloud.begin_upload(self._provider, image, build_id, upload_id)
            if process.dies("in an upload"):
                return
            if error is not None:
                process.later(seconds, lambda: self._ended(order, None, str(error)))
                return
            process.later(seconds, lambda: self._finish(order, external_id))

        process.later(process.latency(), begin)
        return True

    def _finish(self, order: StartUpload, external_id: str) -> None:
        process, cloud = self._process, self._cloud
        error = cloud.finish_upload(external_id)
        if process.dies("after an upload"):
            return
        if error is None and order.hook is not None and process.chance.random() < 0.2:
            error = CloudError("the hook refused it")
            try:
                cloud.delete(process.name, external_id)
            except CloudError:
                self._ended(order, external_id, str(error))
                return
        self._ended(order, None if error else external_id, str(error) if error else "")

    def _ended(self, order: StartUpload, external_id: str | None, error: str) -> None:
        self._process.count("upload failed" if error else "upload good")
        self._process.publish(UploadEnded(order.key, UploadResult(external_id, error, self._process.clock.now)))

    def remove(self, order: RemoveImage) -> bool:
        """Remove an image, or whatever bears the tags of an upload."""
        process = self._process
        if process.dies("before a removal"):
            return True

        def do() -> None:
            error: CloudError | None = None
            try:
                self._remove(order)
            except CloudError as raised:
                error = raised
            process.count("removal failed" if error else "removal good")
            if not process.dies("after a removal"):
                process.publish(RemovalEnded(order.key, error))

        process.later(process.latency() + process.chance.random(), do)
        return True

    def _remove(self, order: RemoveImage) -> None:
        _, build_id, _, upload_id = order.key
        if order.external_id is not None:
            self._cloud.delete(self._process.name, order.external_id)
            return
        for external_id in self._cloud.find(self._provider, build_id, upload_id):
            try:
                self._cloud.delete(self._process.name, external_id)
            except NotFound:
                continue
