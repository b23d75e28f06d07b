"""What a container may use of this host: control groups of the kernel hold it to its label's ``cores`` and ``ram``.

Root makes them at the top, or beside the group that it runs in; other users where somebody has handed a part of the
tree to them ("delegation", cgroups(7)), as systemd does for whoever has logged in. Both versions of control groups
will do. Where none can be made, machines have no limits but those of the host.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from nodepool.driver.errors import CloudError
from nodepool.driver.local.disk import cloud_errors

PROCESSES = 4096
"""Processes and threads that a machine may have."""
NOTE = "limits"
"""File in which a machine's groups are noted before they are made."""
_TREE = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "memory", "pids")
_SWITCHES = "cgroup.subtree_control"
_MEMBERS = "cgroup.procs"
_PERIOD = 100000
"""Microseconds for which processor time is counted."""


def find_places(tree: Path = _TREE, own: str | None = None) -> tuple[Path, ...]:
    """The groups in which this process may make others for machines: one, or one for each controller; else none.

    :param own: what ``/proc/self/cgroup`` says
    """
    if not (tree / "cgroup.controllers").exists():
        places = tuple(tree / controller for controller in _CONTROLLERS)
        return places if all(_is_ours(place) for place in places) else ()
    text = Path("/proc/self/cgroup").read_text(encoding="utf-8") if own is None else own
    inner = next((line[3:] for line in text.splitlines() if line.startswith("0::")), "/")
    steps = Path(inner.strip("/"))
    for place in (tree / step for step in (steps, *steps.parents)):
        if _is_ours(place) and _controls(place):
            return (place,)
    with contextlib.suppress(OSError):
        (tree / _SWITCHES).write_text(" ".join(f"+{name}" for name in _CONTROLLERS), encoding="ascii")
        return (tree,)
    return ()


def make(note: Path, groups: Collection[Path], cores: int, ram: int) -> None:
    """Make a machine's groups, with its limits. Raises CloudError.

    :param note: where they are noted
    :param ram: MiB
    """
    settings = {
        "cpu.max": f"{cores * _PERIOD} {_PERIOD}",
        "memory.max": str(ram << 20),
        "memory.swap.max": "0",
        "pids.max": str(PROCESSES),
        # The first version of control groups has these names.
        "cpu.cfs_period_us": str(_PERIOD),
        "cpu.cfs_quota_us": str(cores * _PERIOD),
        "memory.limit_in_bytes": str(ram << 20),
        "memory.memsw.limit_in_bytes": str(ram << 20),
    }
    with cloud_errors("limit what a container may use"):
        note.write_text("".join(f"{group}\n" for group in groups), encoding="utf-8")
        for group in groups:
            group.mkdir(exist_ok=True)
            for name, text in settings.items():
                if (group / name).exists():
                    (group / name).write_text(text, encoding="ascii")


def enter(note: Path, pid: int) -> None:
    """Put a process, and all that it will start, into a machine's groups, if it has any. Raises CloudError."""
    with cloud_errors("limit what a container may use"):
        for group in _noted(note):
            (group / _MEMBERS).write_text(str(pid), encoding="ascii")


def remove(note: Path) -> None:
    """Remove a machine's groups, whose processes have ended. Raises CloudError."""
    for group in _noted(note):
        remove_group(group)


def remove_group(group: Path) -> None:
    """Remove a group, with those that a job has made in it; it may be gone. CloudError while it has processes."""
    for place, _, _ in os.walk(group, topdown=False):
        try:
            os.rmdir(place)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CloudError(f"cannot remove the control group {place}: {error.strerror}") from error


def strangers(places: Iterable[Path], prefix: str, known: Collection[str]) -> list[Path]:
    """Groups without processes whose names begin like those of a provider's machines, but are not known."""
    found = (group for place in places for group in place.glob(f"{prefix}*") if group.name not in known)
    return [group for group in found if not any(_members(Path(place)) for place, _, _ in os.walk(group))]


def _noted(note: Path) -> list[Path]:
    try:
        return [Path(line) for line in note.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []


def _members(group: Path) -> str:
    try:
        return (group / _MEMBERS).read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


def _is_ours(place: Path) -> bool:
    """Whether groups may be made here, and processes be brought here."""
    return os.access(place, os.W_OK | os.X_OK) and os.access(place / _MEMBERS, os.W_OK)


def _controls(place: Path) -> bool:
    try:
        switched_on = (place / _SWITCHES).read_text(encoding="ascii").split()
    except OSError:
        return False
    return set(_CONTROLLERS) <= set(switched_on)
