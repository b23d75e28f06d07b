"""Starts QEMU for a machine, tells whether it runs, and ends it.

QEMU locks the file that its process id is written to for as long as it lives: whoever holds the lock is the machine,
whatever became of the process that started it, and whatever process has the same id today.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from nodepool.driver.errors import CloudError, NoCapacity, QuotaExceeded
from nodepool.driver.local import processes
from nodepool.driver.local.qemu.command import PID
from nodepool.driver.local.qemu.monitor import listens

START_TIMEOUT = 60.0
"""Seconds until QEMU has made its sockets."""
LOG = "qemu.log"
_PAUSE = 0.02
_FLOCK = "hhqqi4x"
"""``struct flock`` of 64-bit Linux: type, whence, start, length, process."""


@contextlib.contextmanager
def launched(command: Sequence[str], directory: Path, descriptors: Sequence[int] = ()) -> Iterator[int]:
    """Run QEMU in a machine's directory; it listens to its monitor then. Raises CloudError.

    A shell puts it into the background: it cannot do that itself and give up the right to start programs. The value
    is a descriptor, good for the block only, that becomes readable when QEMU has ended.
    """
    reader = _run(command, directory, descriptors)
    try:
        _wait_for_monitor(directory, reader)
        yield reader
    finally:
        os.close(reader)


def _run(command: Sequence[str], directory: Path, descriptors: Sequence[int]) -> int:
    """Run QEMU; returns one end of a pipe whose other end nobody has but QEMU."""
    reader, writer = os.pipe()
    try:
        with (directory / LOG).open("wb") as log:
            subprocess.run(
                ["/bin/sh", "-c", '"$@" &', "sh", *command],
                cwd=directory,
                env=processes.environment(directory),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writer, *descriptors),
                start_new_session=True,
                check=True,
            )
    except (OSError, subprocess.SubprocessError) as error:
        os.close(reader)
        raise CloudError(f"QEMU cannot be run: {error}") from error
    finally:
        os.close(writer)
    return reader


def _wait_for_monitor(directory: Path, lifeline: int) -> None:
    end = time.monotonic() + START_TIMEOUT
    while not listens(directory):
        if select.select([lifeline], [], [], _PAUSE)[0]:
            raise _error(output(directory) or "it ended without a word")
        if time.monotonic() > end:
            raise CloudError(f"QEMU did not start within {START_TIMEOUT:g} s")


def output(directory: Path) -> str:
    """What QEMU said itself."""
    try:
        return (directory / LOG).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def holder(directory: Path) -> int | None:
    """The process id of the machine, None if it does not run."""
    try:
        with (directory / PID).open("r+b") as file:
            answer = fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            kind, _, _, _, pid = struct.unpack(_FLOCK, answer)
            if kind == fcntl.F_UNLCK:
                return None
            return pid if pid > 0 else int(file.read().strip() or 0) or None
    except (OSError, ValueError):
        return None


def was_started(directory: Path) -> bool:
    """Whether QEMU has been started for this machine, be it in vain."""
    return (directory / LOG).exists()


def end(directory: Path) -> None:
    """End the machine, as if its plug were pulled. Raises CloudError if it does not go."""
    pid = holder(directory)
    if pid is not None:
        processes.end(pid)


def _error(said: str) -> CloudError:
    if "host forwarding rule" in said:
        return NoCapacity(f"somebody else listens at the machine's address: {said}")
    if os.strerror(errno.ENOSPC) in said:
        return QuotaExceeded(f"the disk is full: {said}")
    if os.strerror(errno.ENOMEM) in said:
        return QuotaExceeded(f"there is not enough memory for the machine: {said}")
    return CloudError(f"QEMU does not start: {said}")
