"""Files of a state directory: whole or not at all, locked across processes, and with errors of ours."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nodepool.driver.errors import CloudError, QuotaExceeded

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Hold:
    """An exclusive lock on a directory (``flock``), which ends with the process at the latest."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Give the lock back; may be called again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def hold(directory: Path) -> Hold | None:
    """Lock a directory; None if somebody else has, or there is none."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return Hold(descriptor)


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Be alone with a lock file among all processes, for a moment; waits for the others."""
    with cloud_errors("lock the state directory"), open(lock, "a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def cloud_errors(what: str) -> Iterator[None]:
    """Errors of the disk as ours: "cannot WHAT: why". A full disk is a lack of room, not a failure."""
    try:
        yield
    except OSError as error:
        message = f"cannot {what}: {error.strerror or error}"
        if error.filename is not None:
            message += f" ({error.filename})"
        if error.errno in _FULL:
            raise QuotaExceeded(f"{message}: free some space there") from error
        raise CloudError(message) from error


def free_bytes(path: Path) -> int:
    """Room on the disk that ``path`` is on."""
    usage = os.statvfs(path)
    return usage.f_bavail * usage.f_frsize


def read_json(path: Path) -> dict[str, Any] | None:
    """The mapping that a file holds; None if there is no such file, or it is damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file whole or not at all. Raises OSError."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(json.dumps(values), encoding="utf-8")
    temporary.replace(path)
