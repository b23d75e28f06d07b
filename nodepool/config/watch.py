"""Noticing that a configuration file changed, without reading it (spec config 13). No threads, no waiting."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What tells one version of a file from another: also a rename into place, or a write within the clock's grain.

    ``ctime_ns`` tells of new owners and permissions, with which a file that could not be read may have become readable.
    """

    mtime_ns: int
    ctime_ns: int
    size: int
    inode: int
    device: int


Stamp = tuple[FileStamp | None, ...]
"""One entry per file, in the order asked for; None for a file that is not there or may not be looked at."""


def stamp(paths: Iterable[str | os.PathLike[str] | None]) -> Stamp:
    """The present stamp of the files; a path of None (no secure file) has None.

    Take the stamp *before* reading the files: a change while they are read is then seen at the next look. Symbolic
    links are followed, so that a file changed by switching a link (a Kubernetes ConfigMap, for instance) is noticed.
    """
    return tuple(None if path is None else _stamp(path) for path in paths)


def _stamp(path: str | os.PathLike[str]) -> FileStamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return FileStamp(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)
