"""Carries out what only a builder asks for: of the build tool, of clouds, of the disk.

Called from the decision thread and never blocks it; the results come as events from other threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from nodepool.builder.dib.order import BuildOrder, BuildResult
from nodepool.builder.events import BuildEnded, Event, FilesListed, FilesRemoved, RemovalEnded, UploadEnded
from nodepool.builder.instructions import (
    ListFiles,
    Order,
    Publish,
    RemoveFiles,
    RemoveImage,
    StartBuild,
    StartUpload,
    StopBuild,
)
from nodepool.builder.work import UploadResult
from nodepool.daemon.executor import DaemonExecutor
from nodepool.driver.errors import NotBegun
from nodepool.model.component import Component
from nodepool.telemetry.facts import Fact, nowhere
from nodepool.zk.store import Store


class Builds(Protocol):
    """Whoever runs the build tool: :class:`nodepool.builder.dib.runner.DibRunner`."""

    def start(self, order: BuildOrder, done: Callable[[BuildResult], None]) -> None:
        """Begin a build; ``done`` is called once, from some thread."""

    def stop(self, image: str, build_id: str, reason: str) -> None:
        """Have a build end."""


class Images(Protocol):
    """Whoever talks to one provider: :class:`nodepool.builder.image_calls.ImageCalls`. No method blocks."""

    def upload(self, order: StartUpload) -> bool:
        """Upload; ends as :class:`~nodepool.builder.events.UploadEnded`. False, and nothing is done: it is ending."""

    def remove(self, order: RemoveImage) -> bool:
        """Remove; ends as :class:`~nodepool.builder.events.RemovalEnded`. False, and nothing is done: it is ending."""


class Files(Protocol):
    """The images directory: :class:`nodepool.builder.files.ImageFiles`. Its methods block and may raise OSError."""

    def builds(self) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """Formats by image and build id."""

    def remove(self, image: str, build_id: str, formats: tuple[str, ...] | None = None) -> None:
        """Delete files of a build."""


class Executor(DaemonExecutor[Order, Event]):
    """See the module's description."""

    def __init__(
        self,
        store: Store,
        builds: Builds,
        images: Mapping[str, Images],
        files: Files,
        disk: Callable[[Callable[[], None]], object],
        register: Callable[[Component], None],
        publish: Callable[[Event], None],
        measure: Callable[[Fact], None] = nowhere,
    ) -> None:
        """``images`` is read at each instruction: it may change with the configuration.

        ``disk`` has something done that blocks on the disk, one after the other.
        """
        super().__init__(store, publish, measure)
        self._builds = builds
        self._images = images
        self._files = files
        self._disk = disk
        self._register = register

    def _carry_out(self, order: Order) -> None:
        publish = self._publish
        match order:
            case StartBuild(build):
                self._builds.start(build, lambda result: publish(BuildEnded(result)))
            case StopBuild(image, build_id, reason):
                self._builds.stop(image, build_id, reason)
            case StartUpload() | RemoveImage():
                self._call(order)
            case ListFiles(number):
                self._disk(lambda: self._list(number))
            case RemoveFiles():
                self._disk(lambda: self._remove(order))
            case Publish(component):
                self._register(component)

    def _call(self, instruction: StartUpload | RemoveImage) -> None:
        images = self._images.get(instruction.key[2])
        match instruction:
            case StartUpload(key) if images is None or not images.upload(instruction):
                self._publish(UploadEnded(key, UploadResult(None, f"provider {key[2]} is not started")))
            case RemoveImage(key) if images is None or not images.remove(instruction):
                self._publish(RemovalEnded(key, NotBegun(f"provider {key[2]} is not started")))

    def _list(self, number: int) -> None:
        try:
            event = FilesListed(number, self._files.builds())
        except OSError as error:
            event = FilesListed(number, None, str(error))
        self._publish(event)

    def _remove(self, order: RemoveFiles) -> None:
        error = ""
        try:
            self._files.remove(order.image, order.build_id, order.formats)
        except OSError as raised:
            error = str(raised)
        self._publish(FilesRemoved(order.image, order.build_id, order.formats, error))
