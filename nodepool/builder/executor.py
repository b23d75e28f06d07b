"""Carries out instructions and reports what came of them as events.

The edge between the decision core and the world: ZooKeeper, the build tool, clouds, the disk, the log. Called from the
decision thread and never blocks it; the results come from other threads, through ``publish``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from nodepool.builder.dib.order import BuildOrder, BuildResult
from nodepool.builder.events import BuildEnded, CommitEnded, Event, FilesListed, FilesRemoved, RemovalEnded, UploadEnded
from nodepool.builder.instructions import (
    Commit,
    Instruction,
    ListFiles,
    Publish,
    RemoveFiles,
    RemoveImage,
    Say,
    StartBuild,
    StartUpload,
    StopBuild,
)
from nodepool.builder.work import UploadResult
from nodepool.driver.errors import NotBegun
from nodepool.model.component import Component
from nodepool.zk.store import Store

log = logging.getLogger("nodepool.builder")


class Builds(Protocol):
    """Whoever runs the build tool: :class:`nodepool.builder.dib.runner.DibRunner`."""

    def start(self, order: BuildOrder, done: Callable[[BuildResult], None]) -> None:
        """Begin a build; ``done`` is called once, from some thread."""

    def stop(self, image: str, build_id: str, reason: str) -> None:
        """Have a build end."""


class Images(Protocol):
    """Whoever talks to one provider: :class:`nodepool.builder.image_calls.ImageCalls`. No method blocks."""

    def upload(self, order: StartUpload) -> None:
        """Upload; ends as :class:`~nodepool.builder.events.UploadEnded`."""

    def remove(self, order: RemoveImage) -> None:
        """Remove; ends as :class:`~nodepool.builder.events.RemovalEnded`."""


class Files(Protocol):
    """The images directory: :class:`nodepool.builder.files.ImageFiles`. Its methods block and may raise OSError."""

    def builds(self) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """Formats by image and build id."""

    def remove(self, image: str, build_id: str, formats: tuple[str, ...] | None = None) -> None:
        """Delete files of a build."""


class Executor:
    """See the module's description."""

    def __init__(
        self,
        store: Store,
        builds: Builds,
        images: Mapping[str, Images],
        files: Files,
        disk: Callable[[Callable[[], None]], None],
        register: Callable[[Component], None],
        publish: Callable[[Event], None],
    ) -> None:
        """``images`` is read at each instruction: it may change with the configuration.

        ``disk`` has something done that blocks on the disk, one after the other.
        """
        self._store = store
        self._builds = builds
        self._images = images
        self._files = files
        self._disk = disk
        self._register = register
        self._publish = publish

    def carry_out(self, instructions: Iterable[Instruction]) -> None:
        """Start everything; returns at once."""
        for instruction in instructions:
            self._carry_out(instruction)

    def _carry_out(self, instruction: Instruction) -> None:
        publish = self._publish
        match instruction:
            case Commit(_, _, operations, session):
                self._store.commit(operations, lambda outcome: publish(CommitEnded(instruction, outcome)), session)
            case StartBuild(order):
                self._builds.start(order, lambda result: publish(BuildEnded(result)))
            case StopBuild(image, build_id, reason):
                self._builds.stop(image, build_id, reason)
            case StartUpload() | RemoveImage():
                self._call(instruction)
            case ListFiles(number):
                self._disk(lambda: self._list(number))
            case RemoveFiles():
                self._disk(lambda: self._remove(instruction))
            case Publish(component):
                self._register(component)
            case Say(level, message):
                log.log(level.value, "%s", message)

    def _call(self, instruction: StartUpload | RemoveImage) -> None:
        images = self._images.get(instruction.key[2])
        match instruction:
            case StartUpload(key) if images is None:
                self._publish(UploadEnded(key, UploadResult(None, f"provider {key[2]} is not started")))
            case RemoveImage(key) if images is None:
                self._publish(RemovalEnded(key, NotBegun(f"provider {key[2]} is not started")))
            case StartUpload() if images is not None:
                images.upload(instruction)
            case RemoveImage() if images is not None:
                images.remove(instruction)

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
