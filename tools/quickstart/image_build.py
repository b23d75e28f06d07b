"""How far the build of an image is, from the log that diskimage-builder writes."""

from __future__ import annotations

import re
from pathlib import Path

_RUNNING = re.compile(rb"dib-run-parts Running \S*/([a-z-]+\.d)/(\S+)")
_TAIL = 1 << 18
"""Bytes of a log that are looked at; the command traces a lot."""
_PHASES = {
    "root.d": "the system: fetch and install its packages",
    "extra-data.d": "what the elements bring along",
    "pre-install.d": "package lists",
    "install.d": "the node's user, SSH server and network",
    "post-install.d": "services",
    "post-root.d": "the root directory",
    "block-device.d": "partitions and file system",
    "pre-finalise.d": "the file system's content",
    "finalise.d": "boot loader and tidying up",
    "cleanup.d": "write the image files",
}


def newest_log(directory: Path, image: str, since: float = 0.0) -> Path | None:
    """The log of the newest build that was written to since then (epoch seconds); None if there is none."""
    logs = [(path.stat().st_mtime, path) for path in directory.glob(f"{image}-*.log")]
    return max((log for log in logs if log[0] >= since), default=(0.0, None))[1]


def phase(log: Path | None) -> str:
    """What is being done, in words."""
    if log is None:
        return "begin"
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        found = _RUNNING.findall(file.read())
    if not found:
        return "begin" if size < _TAIL else "write the image files"
    name = str(found[-1][0], "ascii")
    return _PHASES.get(name, name)
