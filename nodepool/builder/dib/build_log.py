"""The log of a build: the command writes to it by itself, so that nothing has to be passed on (spec builder 3.5)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO

from nodepool.builder.dib.order import BuildOrder
from nodepool.model.build_log import log_name, surplus_logs

_TAIL = 1 << 18
"""Bytes at the end: what the tool's clean-up traces comes after the cause."""


class BuildLog:
    """An open log; to be used in a ``with`` statement. Raises OSError."""

    def __init__(self, order: BuildOrder) -> None:
        """Open it, after deleting older ones of the image that are too many."""
        if order.log_dir is None:
            self._path = Path(os.devnull)
        else:
            directory = Path(order.log_dir)
            directory.mkdir(parents=True, exist_ok=True)
            _delete_surplus(directory, order)
            self._path = directory / log_name(order.image, order.build_id)
        self.file: IO[bytes] = self._path.open("ab", buffering=0)
        """What the command writes to, its output and its errors in the order in which they come."""

    def add(self, line: str) -> None:
        """Add a line of ours."""
        self.file.write(f"{line}\n".encode())

    def tail(self) -> bytes:
        """The end of it."""
        with self._path.open("rb") as file:
            file.seek(max(0, self._path.stat().st_size - _TAIL))
            return file.read(_TAIL)

    def __enter__(self) -> BuildLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _delete_surplus(directory: Path, order: BuildOrder) -> None:
    written = {}
    for entry in os.scandir(directory):
        with contextlib.suppress(FileNotFoundError):
            written[entry.name] = entry.stat().st_mtime
    for name in surplus_logs(order.image, written, order.log_retention):
        (directory / name).unlink(missing_ok=True)
