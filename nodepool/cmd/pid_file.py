"""Going into the background, with a pid file that cannot be stale (spec cli 5)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import sys
import time
from pathlib import Path

LOCK_WAIT = 10.0
"""Seconds to wait for another process that holds the pid file."""


class PidFileError(Exception):
    """The pid file cannot be used; the message says why and what to do."""


class PidFile:
    """A pid file that is locked while its process lives: one left behind by a dead process is simply taken over.

    The lock belongs to the open file, so it outlives the parent of a fork. To be used from one thread.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._descriptor = -1

    def take(self, wait: float = LOCK_WAIT) -> None:
        """Open and lock the file, waiting at most ``wait`` seconds for its owner. Raises :class:`PidFileError`."""
        deadline = time.monotonic() + wait
        while not self._try_to_take():
            if time.monotonic() >= deadline:
                raise PidFileError(self._held())
            _pause(0.1)

    def write(self) -> None:
        """Write our pid. Raises :class:`OSError`."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def remove(self) -> None:
        """Remove the file if it is ours, at the end of the process."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._close()

    def _try_to_take(self) -> bool:
        self._close()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            message = f"the pid file {self._path} cannot be written: {error.strerror}: {error.filename}"
            raise PidFileError(f"{message} (name another one with -p, or stay in the foreground with -f)") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # Its last owner may have removed it between our opening and our locking it.
        return self._is_ours()

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _held(self) -> str:
        pid = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() if self._descriptor >= 0 else ""
        self._close()
        who = f"process {pid}" if pid else "another process"
        return f"{who} runs already with the pid file {self._path} (stop it first, or name another file with -p)"

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def detach() -> None:
    """Leave the terminal: fork twice, new session, working directory ``/``, standard streams closed."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


def _pause(seconds: float) -> None:
    """Wait; only used before the service starts."""
    select.select([], [], [], seconds)
