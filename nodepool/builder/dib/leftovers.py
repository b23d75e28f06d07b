"""What a build leaves behind when it does not clean up: mounts, loop devices, partition mappings, files.

Only what lies below the directories of that one build is touched. A directory is never deleted while something is
mounted in it: the build tool binds the host's own /dev there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from nodepool.builder.dib.privileges import remove_tree, run_as_root

_ESCAPE = re.compile(r"\\([0-7]{3})")
_MAPPINGS = Path("/dev/mapper")
_LOOPS = Path("/sys/block")


def clean_up(directories: Iterable[str]) -> list[str]:
    """Unmount, detach and delete everything below these directories, and they themselves; returns what went wrong.

    All processes that work there must have ended.
    """
    places = [os.path.realpath(directory) for directory in directories]
    trouble = _unmount(places, lambda mount: not _holds_images(mount))
    for device in loop_devices(places):
        trouble += _detach(device)
    trouble += _unmount(places, lambda _: True)
    for place in places:
        if mounts_below([place]):
            trouble.append(f"{place} is kept: something is still mounted in it")
            continue
        try:
            remove_tree(Path(place))
        except OSError as error:
            trouble.append(str(error))
    return trouble


def mounts_below(places: Iterable[str]) -> list[str]:
    """Mount points at or below these directories, the last mounted first."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        points = [_ESCAPE.sub(lambda match: chr(int(match[1], 8)), line.split()[4]) for line in table]
    return [point for point in reversed(points) if _is_below(point, places)]


def loop_devices(places: Iterable[str]) -> list[str]:
    """Loop devices whose backing file lies, or lay, below these directories; those of partitions first."""
    found = []
    for entry in _LOOPS.glob("loop*"):
        try:
            backing = (entry / "loop/backing_file").read_text(encoding="utf-8", errors="surrogateescape")
            offset = int((entry / "loop/offset").read_text(encoding="ascii"))
        except OSError:
            continue
        if _is_below(backing.rstrip("\n").removesuffix(" (deleted)"), places):
            found.append((offset, f"/dev/{entry.name}"))
    return [device for _, device in sorted(found, reverse=True)]


def _unmount(places: list[str], chosen: Callable[[str], bool]) -> list[str]:
    trouble = []
    for point in filter(chosen, mounts_below(places)):
        # What is still in use, by somebody's shell or a loop device that takes its time, goes with its last user.
        error = run_as_root(["umount", "--", point]) and run_as_root(["umount", "--lazy", "--", point])
        if error and point in mounts_below(places):
            trouble.append(error)
    return trouble


def _detach(device: str) -> list[str]:
    name = os.path.basename(device)
    # Without device-mapper a mapping is but a link to another loop device. Links to mappings are kpartx's affair.
    links = [str(link) for link in _MAPPINGS.glob("loop*p[0-9]*") if link.is_symlink() and _target(link) == device]
    trouble = [run_as_root(["rm", "-f", "--", *links])] if links else []
    if any(_MAPPINGS.glob(f"{name}p[0-9]*")):
        trouble.append(run_as_root(["kpartx", "-d", device]))
    trouble.append(run_as_root(["losetup", "-d", device]))
    return [error for error in trouble if error]


def _target(link: Path) -> str:
    """The absolute path that a link names."""
    return os.path.normpath(link.parent / os.readlink(link))


def _holds_images(point: str) -> bool:
    """Whether the tool keeps disk files there, on which loop devices may stand (its ``dib_image.XXXXXXXX``)."""
    return os.path.basename(point).startswith("dib_image.")


def _is_below(path: str, places: Iterable[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)
