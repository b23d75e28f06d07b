"""The processes of a build: finding all of them, whatever became of their parents, and ending them (proc(5)).

The build tool starts grandchildren, some by ``sudo``, which may give them a session of their own. Those of one build
are told by the process that began it, by its session, by a variable in their environment, and by the chroot that they
are in. Ends are waited for by process descriptors (pidfd_open(2)): nothing polls, and no other process is ever hit by
mistake.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nodepool.builder.dib.privileges import run_as_root

PROC = Path("/proc")
FOLLOWING = 1.0
"""Seconds in which processes may end by themselves after their leader: what writes the log has some to write."""
DYING = 30.0
"""Seconds after which a process that was killed counts as stuck in the kernel."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process at one moment."""

    pid: int
    parent: int
    group: int
    session: int
    started: int
    """In clock ticks since the system's start: with the pid, it says which process it is."""


@dataclass(frozen=True, slots=True)
class BuildProcesses:
    """What tells the processes of a build."""

    mark: str
    """``NAME=value`` in the environment of most of them."""
    directories: tuple[str, ...]
    """Those in a chroot below these are of the build."""
    leader: Process | None = None
    """The process that began the build; None if that is not known."""

    def find(self) -> dict[int, Process]:
        """Those that run now, by pid; zombies do not count. One that is not ours to look at may be missed."""
        table = processes()
        mark = self.mark.encode()
        found = {pid for pid in table if self._works_here(pid) or _has_mark(pid, mark)}
        if self.leader is not None:
            session = self.leader.pid
            if _is_or_was(self.leader) or any(session in (table[pid].session, table[pid].group) for pid in found):
                found |= {pid for pid, one in table.items() if session in (one.session, one.group)}
        _add_descendants(found, table)
        found -= {os.getpid()}
        return {pid: table[pid] for pid in found}

    def _works_here(self, pid: int) -> bool:
        root = _link(PROC / str(pid) / "root")
        return any(_below(root, directory) for directory in self.directories)


def processes() -> dict[int, Process]:
    """All processes but zombies, by pid."""
    found = {}
    for entry in os.listdir(PROC):
        if entry.isdigit():
            process = process_of(int(entry))
            if process is not None:
                found[process.pid] = process
    return found


def process_of(pid: int) -> Process | None:
    """The process with this pid; None if there is none, or only a zombie."""
    fields = _status(pid)
    if not fields or fields[0] in ("Z", "X"):
        return None
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def boot_id() -> str:
    """Tells one run of the system from another: pids mean nothing beyond it."""
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def end_all(find: Callable[[], Mapping[int, Process]], leader: Process | None, grace: float) -> list[int]:
    """End processes, and what they have started; returns the pids of those that are still there in the end.

    The leader is asked first, since it cleans up then. Once it has ended, or after ``grace`` seconds, all are asked,
    and killed ``grace`` seconds later. If it had ended before, the others have a moment to follow by themselves.
    Blocks, for twice ``grace`` and :data:`DYING` seconds at most.

    :param find: tells those that run now; it may lose sight of children with the end of their parents
    """
    known: dict[int, Process] = {}

    def left() -> Mapping[int, Process]:
        known.update(find())
        for pid in [pid for pid, one in known.items() if not _same(one)]:
            del known[pid]
        return known

    left()
    if leader is not None and _same(leader):
        _send(signal.SIGTERM, [leader])
        _wait_for_ends([leader], grace)
    elif _all_gone(left, min(FOLLOWING, grace)):
        return []
    _send(signal.SIGTERM, left().values())
    if _all_gone(left, grace):
        return []
    end = time.monotonic() + DYING
    while (killed := tuple(left().values())) and time.monotonic() < end:
        _send(signal.SIGKILL, killed)
        _wait_for_ends(killed, end - time.monotonic())
    return sorted(left())


def _all_gone(left: Callable[[], Mapping[int, Process]], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while left():
        if not _wait_for_ends(left().values(), end - time.monotonic()):
            return False
    return True


def _wait_for_ends(ones: Iterable[Process], seconds: float) -> bool:
    """Wait until each of these has ended, as a zombie or wholly; False if they have not within ``seconds``."""
    end = time.monotonic() + seconds
    for one in ones:
        with _opened(one) as descriptor:
            if descriptor is None:
                continue
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                return False
    return True


def _send(number: signal.Signals, ones: Iterable[Process]) -> None:
    """Send a signal to exactly these processes; root's by ``sudo``."""
    refused = []
    for one in ones:
        with _opened(one) as descriptor:
            try:
                if descriptor is not None:
                    signal.pidfd_send_signal(descriptor, number)
            except PermissionError:
                refused.append(one)
            except ProcessLookupError:
                continue
    for one in refused:
        if _same(one):
            run_as_root(["kill", f"-{int(number)}", str(one.pid)])


@contextlib.contextmanager
def _opened(one: Process) -> Iterator[int | None]:
    """A descriptor of exactly this process, None if it is gone."""
    try:
        descriptor = os.pidfd_open(one.pid)
    except OSError:
        yield None
        return
    try:
        yield descriptor if _same(one) else None
    finally:
        os.close(descriptor)


def _same(one: Process) -> bool:
    now = process_of(one.pid)
    return now is not None and now.started == one.started


def _is_or_was(one: Process) -> bool:
    """Whether the pid still stands for it, be it a zombie: as long as it does, its session is its own."""
    fields = _status(one.pid)
    return bool(fields) and int(fields[19]) == one.started


def _status(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` after the command's name; empty if there is no such process."""
    try:
        line = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return line[line.rindex(")") + 2 :].split()


def _add_descendants(found: set[int], table: Mapping[int, Process]) -> None:
    while True:
        more = {pid for pid, one in table.items() if one.parent in found} - found
        if not more:
            return
        found |= more


def _has_mark(pid: int, mark: bytes) -> bool:
    try:
        return mark in (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _below(place: str, directory: str) -> bool:
    return place == directory or place.startswith(f"{directory}/")
