"""One build, from the order to verified files in the images directory (spec builder 3).

It ends by itself, by its time-out, or by :meth:`Build.stop`; whatever way, all its processes, mounts, loop devices and
unfinished files go with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import nodepool
from nodepool.builder.dib import checksums, verification
from nodepool.builder.dib.build_log import BuildLog
from nodepool.builder.dib.causes import known_cause
from nodepool.builder.dib.command import BadCommand, argument_vector, environment, temp_dir
from nodepool.builder.dib.needs import what_is_missing
from nodepool.builder.dib.order import BuildOrder, BuildResult
from nodepool.builder.dib.processes import process_of
from nodepool.builder.dib.workspace import Workspace

_GIB = 1 << 30
_FULL = 1 << 20
"""Bytes that are as good as none."""
_BLOCK = 512
"""Bytes in the unit of ``st_blocks`` (stat(2))."""


class _Failed(Exception):
    """The build has come to nothing; the text is the reason."""


class Build:
    """A build. :meth:`run` is called once, by the thread of the build; the rest by any thread.

    :param grace: seconds that the command has for cleaning up when it is asked to end, and its children after that
    """

    def __init__(self, order: BuildOrder, grace: float) -> None:
        self.order = order
        self._grace = grace
        self._log = logging.getLogger("nodepool.builder.DibRunner")
        self._stop_reason: str | None = None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._seconds = 0.0
        self._return_code: int | None = None
        self._sizes: dict[str, int] = {}
        temporary = temp_dir(order, os.environ)
        self._place = Workspace(Path(order.images_dir).absolute(), order.image, order.build_id, temporary)

    def stop(self, reason: str) -> None:
        """Have the build end and fail for ``reason``, a sentence; returns at once."""
        if self._stop_reason is None:
            self._stop_reason = reason
            os.eventfd_write(self._wake, 1)

    def run(self) -> BuildResult:
        """Build; raises nothing."""
        reason = ""
        try:
            self._run()
        except _Failed as failure:
            reason = str(failure)
        except OSError as error:
            reason = _told(error)
        except Exception as error:  # noqa: BLE001
            self._log.exception("Build %s of image %s", self.order.build_id, self.order.image)
            reason = f"the builder failed: {type(error).__name__}: {error}"
        formats = () if reason else tuple(sorted(self.order.formats))
        sizes = {image_format: self._sizes[image_format] for image_format in formats}
        image, build_id = self.order.image, self.order.build_id
        return BuildResult(image, build_id, not reason, reason, formats, self._seconds, self._return_code, sizes)

    def close(self) -> None:
        """Free what is held; nothing may be called after it."""
        os.close(self._wake)

    # Inside

    def _run(self) -> None:
        self._check_stop()
        self._place.images_dir.mkdir(parents=True, exist_ok=True)
        self._check_space()
        with BuildLog(self.order) as log:
            try:
                self._place.make()
                self._command(log)
                self._take_over()
            except (_Failed, OSError) as error:
                log.add(f"The build has failed: {_told(error) if isinstance(error, OSError) else error}")
                raise
            finally:
                self._report(self._place.remove(self._grace))
                if self._return_code is not None:
                    log.add(f"Exit code: {self._return_code}")

    def _command(self, log: BuildLog) -> None:
        """Run the command to its end."""
        try:
            words = argument_vector(self.order, self._place.output, str(Path(nodepool.__file__).parent))
        except BadCommand as error:
            raise _Failed(str(error)) from error
        variables = environment(self.order, self._place.output, os.environ)
        variables["TMP_DIR"] = self._place.temp_dir
        _find_program(words, variables)
        if missing := what_is_missing(words, self.order.disk_image.elements, self.order.formats, variables):
            raise _Failed(missing)
        began = time.monotonic()
        try:
            process = subprocess.Popen(
                words,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log.file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise _Failed(f"the command {words[0]} cannot be started: {error.strerror or error}") from error
        full = ""
        try:
            self._place = self._place.led_by(process_of(process.pid))
            self._watch(process)
            # Before anything is removed. The log may have had no room for it.
            full = self._full_disk()
        finally:
            self._report(self._place.settle(self._grace))
            self._seconds = time.monotonic() - began
            return_code = process.poll()
        self._return_code = return_code
        if return_code != 0:
            cause = known_cause(log.tail()) or full
            raise _Failed(f"the command {_ending(return_code)}{': ' if cause else ''}{cause}")

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the command has ended; it stays a zombie. Raises _Failed if it has to be ended."""
        timeout = self.order.disk_image.build_timeout
        descriptor = os.pidfd_open(process.pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.register(self._wake, select.POLLIN)
            ready = [number for number, _ in poll.poll(timeout * 1000)]
        finally:
            os.close(descriptor)
        self._check_stop()
        if not ready:
            self._log.error("Build timeout for image %s: ending build %s", self.order.image, self.order.build_id)
            raise _Failed(f"the command did not end within {timeout} s (build-timeout)")

    def _take_over(self) -> None:
        """Verify what the command has left, add checksums, and move it to the images directory."""
        for image_format in self.order.formats:
            self._check_stop()
            path = self._place.file(image_format)
            wrong = verification.what_is_wrong(path, image_format)
            if wrong:
                raise _Failed(wrong)
            checksums.complete(path)
            self._sizes[image_format] = path.stat().st_blocks * _BLOCK
        self._check_stop()
        self._place.publish(self.order.formats)

    def _places(self) -> Iterable[Path]:
        """Where room is needed; one of them may be below the other."""
        return dict.fromkeys((self._place.images_dir, _existing(Path(self._place.temp_dir).parent)))

    def _full_disk(self) -> str:
        full = [str(place) for place in self._places() if shutil.disk_usage(place).free < _FULL]
        return f"no room is left in {' and '.join(full)}" if full else ""

    def _check_space(self) -> None:
        for place in self._places():
            free = shutil.disk_usage(place).free
            if free < self.order.free_space:
                least = self.order.free_space / _GIB
                raise _Failed(f"only {free / _GIB:.1f} GiB are free in {place}, at least {least:g} GiB must be")
        held, most = _held(self._place.images_dir), self.order.most_space
        if most and held >= most:
            raise _Failed(f"{self._place.images_dir} holds {held / _GIB:.1f} GiB, and may hold {most / _GIB:g} GiB")

    def _check_stop(self) -> None:
        if self._stop_reason is not None:
            raise _Failed(self._stop_reason)

    def _report(self, trouble: list[str]) -> None:
        for text in trouble:
            self._log.error("Leftovers of build %s of image %s: %s", self.order.build_id, self.order.image, text)


def _ending(return_code: int | None) -> str:
    if return_code is None or return_code >= 0:
        return f"ended with exit status {return_code}"
    return f"was ended by {signal.Signals(-return_code).name}"


def _told(error: OSError) -> str:
    """What keeps the builder itself from working, with the place, for an operator."""
    place = f"cannot use {error.filename}" if error.filename else "could not do its part"
    return f"the builder {place}: {error.strerror or error}"


def _held(directory: Path) -> int:
    """Bytes that the files below a directory take on its disk; those that vanish meanwhile do not count."""
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            total += status.st_blocks * _BLOCK if stat.S_ISREG(status.st_mode) else 0
    return total


def _existing(path: Path) -> Path:
    """The directory itself, or the nearest one above it that there is."""
    return next(place for place in (path, *path.parents) if place.is_dir())


def _find_program(words: list[str], variables: dict[str, str]) -> None:
    """Let the command be found beside our own interpreter too, where pip installs it; it needs its neighbours there."""
    ours = str(Path(sys.executable).parent)
    path = variables.get("PATH", os.defpath)
    if "/" not in words[0] and not shutil.which(words[0], path=path):
        variables["PATH"] = path = f"{path}{os.pathsep}{ours}"
    words[0] = shutil.which(words[0], path=path) or words[0]
