"""Showing the log of an image build, on the machine of its builder (``image-log``)."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from nodepool.admin.failure import CommandFailed
from nodepool.admin.removal import Pause
from nodepool.admin.snapshot import snapshot
from nodepool.admin.table import printable
from nodepool.model.build_log import build_of_log, log_name, logs_of
from nodepool.model.image import ImageBuild
from nodepool.model.states import BuildState
from nodepool.zk import paths
from nodepool.zk.client import Client
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Batch

LOOK_INTERVAL = 0.25
"""Seconds between two looks at a file that grows."""
_PORTION = 1 << 20


def newest(directory: str, image: str) -> Path | None:
    """The log of the running or the last build of an image; None if this machine has none."""
    try:
        files = {file.name: file.stat().st_mtime for file in Path(directory).iterdir() if file.is_file()}
    except FileNotFoundError:
        return None
    names = logs_of(image, files)
    return Path(directory, names[0]) if names else None


def running_elsewhere(client: Client, image: str, directory: str) -> list[ImageBuild]:
    """Builds of an image that run and have no log here."""
    builds = (entry.record for entry in snapshot(client, paths.image(image)).builds.values())
    return [
        build
        for build in builds
        if build is not None
        and build.state is BuildState.BUILDING
        and not Path(directory, log_name(image, build.id)).exists()
    ]


def show(client: Client, file: Path, out: BinaryIO, pause: Pause, *, follow: bool) -> None:
    """Copy a log to ``out``; with ``follow`` go on until the record says that its build is over.

    ``pause`` waits for some seconds.
    """
    runs = _running(client, file) if follow else None
    try:
        with file.open("rb") as log:
            while True:
                # Asked before the file is read: what was written before the end is not missed.
                over = runs is None or not runs()
                while portion := log.read(_PORTION):
                    out.write(portion)
                out.flush()
                if over:
                    return
                pause(LOOK_INTERVAL)
    except FileNotFoundError:
        raise CommandFailed(f"{printable(str(file))} was removed meanwhile; try again") from None


def _running(client: Client, file: Path) -> Callable[[], bool]:
    """Says whether the build of a log runs, each time it is called; ZooKeeper tells us of each change."""
    build = build_of_log(file.name)
    assert build is not None
    batches: queue.SimpleQueue[Batch] = queue.SimpleQueue()
    client.store.feed([paths.build(*build)], batches.put)
    mirror = Mirror()
    mirror.apply(batches.get())

    def runs() -> bool:
        while not batches.empty():
            mirror.apply(batches.get())
        entry = mirror.builds.get(build)
        return entry is not None and entry.record is not None and entry.record.state is BuildState.BUILDING

    return runs
