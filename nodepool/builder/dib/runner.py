"""Runs builds, each in a process group of its own and watched by one thread.

A build knows nothing of ZooKeeper: it goes on whatever happens there. How many run at once, the caller says.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from nodepool.builder.dib.build import Build
from nodepool.builder.dib.order import BuildOrder, BuildResult
from nodepool.builder.dib.workspace import Workspace, workspaces
from nodepool.builder.files import ImageFiles

GRACE = 20.0
"""Seconds that a command has for cleaning up when it is asked to end, and its children after that."""

Done = Callable[[BuildResult], None]


class DibRunner:
    """Starts and ends builds. Methods may be called from any thread.

    :param images_dir: where builds of an earlier process may have left something
    :param grace: seconds that a command has for cleaning up
    """

    def __init__(self, images_dir: str | os.PathLike[str], grace: float = GRACE) -> None:
        self._images_dir = Path(images_dir).absolute()
        self._grace = grace
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, str], Build] = {}
        self._log = logging.getLogger("nodepool.builder.DibRunner")

    def recover(self) -> list[str]:
        """End and remove what builds that do not run here any more have left; returns their ids. Blocks.

        To be called before the first :meth:`start`, after :meth:`ImageFiles.claim`: it ends the builds of a process
        that was killed. What cannot be removed is logged, and tried again with the next call.
        """
        with self._lock:
            ours = {build_id for _, build_id in self._runs}
        left = [workspace for workspace in workspaces(self._images_dir) if workspace.build_id not in ours]
        for workspace in left:
            self._log.warning("Build %s left something: it is ended and removed", workspace.build_id)
            try:
                trouble = self._remove(workspace)
            except OSError as error:
                trouble = [str(error)]
            for text in trouble:
                self._log.error("Leftovers of build %s: %s", workspace.build_id, text)
        return [workspace.build_id for workspace in left]

    def start(self, order: BuildOrder, done: Done) -> None:
        """Begin a build; returns at once. ``done`` is called once, by the thread of the build, and must not block."""
        build = Build(order, self._grace)
        thread = threading.Thread(target=self._run, args=(build, done), name=f"build-{order.image}", daemon=True)
        with self._lock:
            self._runs[order.image, order.build_id] = build
        thread.start()

    def stop(self, image: str, build_id: str, reason: str) -> None:
        """Have a build end, and fail for ``reason`` (a sentence); ``done`` is called later. None such: no error."""
        with self._lock:
            build = self._runs.get((image, build_id))
            if build is not None:
                build.stop(reason)

    # Inside

    def _run(self, build: Build, done: Done) -> None:
        try:
            done(build.run())
        finally:
            with self._lock:
                del self._runs[build.order.image, build.order.build_id]
                build.close()

    def _remove(self, workspace: Workspace) -> list[str]:
        trouble = workspace.settle(self._grace)
        if trouble:
            return trouble
        if workspace.image and not workspace.published:
            ImageFiles(self._images_dir).remove(workspace.image, workspace.build_id)
        return workspace.remove(self._grace)
