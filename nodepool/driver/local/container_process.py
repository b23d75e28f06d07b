"""Processes that outlive the one that started them: known by a note of their own, and ended without mistake.

A process writes its note itself, before it does anything else, so there is none without. The note has the run of the
system and the moment of the start beside the number: a number that was given to another process is seen through.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WRITE_NOTE = 'read -r boot </proc/sys/kernel/random/boot_id; read -r stat </proc/$$/stat; echo "$boot $stat" >"$NOTE"'
"""What a shell does to note itself in the file ``$NOTE``; what it ``exec``s then has the same note."""
ENDING = 10.0
"""Seconds in which a process that was killed must be gone."""
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class NotedProcess:
    """A process of this run of the system; it may have ended."""

    pid: int
    started: str
    """In clock ticks since the system's start."""

    def runs(self) -> bool:
        """Whether it is alive. One that has ended and was not waited for is not."""
        return _started(self.pid) == self.started

    def children(self) -> tuple[NotedProcess, ...]:
        """Those that it has started and that are alive."""
        try:
            text = (_PROC / str(self.pid) / "task" / str(self.pid) / "children").read_text(encoding="ascii")
        except OSError:
            return ()
        found = (NotedProcess(int(word), _started(int(word))) for word in text.split())
        return tuple(one for one in found if one.started)

    def end(self) -> bool:
        """Kill it, and wait until it is gone; whether it is."""
        with self._held() as descriptor:
            if descriptor is None:
                return True
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            return _ended(descriptor, ENDING)

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended by itself; whether it has."""
        with self._held() as descriptor:
            return descriptor is None or _ended(descriptor, seconds)

    @contextlib.contextmanager
    def _held(self) -> Iterator[int | None]:
        """A descriptor that means this process and no later one; None if it has ended."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            yield None
            return
        try:
            yield descriptor if self.runs() else None
        finally:
            os.close(descriptor)


def noted(note: Path) -> NotedProcess | None:
    """The process that wrote a note; None if there is no note. One of an earlier run of the system does not run."""
    try:
        boot, _, stat = note.read_text(encoding="utf-8", errors="replace").strip().partition(" ")
        this_boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    pid = stat.partition(" ")[0]
    if len(fields) < 20 or not pid.isdecimal():
        return None
    return NotedProcess(int(pid), fields[19] if boot == this_boot else "never")


def write_note(pid: int, note: Path) -> None:
    """Note a process that could not note itself. Raises OSError."""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").strip()
    note.write_text(f"{boot} {stat}\n", encoding="utf-8")


def running(pid: int) -> NotedProcess:
    """A process as it is now."""
    return NotedProcess(pid, _started(pid) or "never")


def command_lines() -> Iterator[tuple[int, tuple[str, ...]]]:
    """The words of the command of every process."""
    for entry in os.listdir(_PROC):
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                words = (_PROC / entry / "cmdline").read_bytes().decode("utf-8", "surrogateescape").split("\0")
                yield int(entry), tuple(words)


def _started(pid: int) -> str:
    """When a process was started; "" if it is not alive."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _ended(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
