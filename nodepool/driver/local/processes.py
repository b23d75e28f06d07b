"""Processes of machines: found by a variable in their environment, watched and ended without a mix-up of process ids.

Whatever belongs to a machine is started with :data:`MARK` in its environment, so that it can be found when its
directory is lost. Linux.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nodepool.driver.errors import CloudError

MARK = "NODEPOOL_MACHINE"
"""Variable whose value is the directory of the machine."""
END_TIMEOUT = 10.0
"""Seconds that a killed process may take."""


def environment(directory: Path) -> Mapping[str, str]:
    """The environment of a process that belongs to the machine with this directory; nothing else of ours is in it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "USER") if name in os.environ}
    return {**kept, "LC_ALL": "C", MARK: str(directory)}


@dataclass(frozen=True, slots=True)
class Marked:
    """A process that belongs to a machine."""

    pid: int
    started: str
    """When, as the system counts it: with the id, it names a process for ever."""
    directory: Path


def marked(place: Path) -> Iterator[Marked]:
    """Processes of machines whose directory is below ``place``, as far as this user may know."""
    prefix = f"{MARK}={place}/".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            variables = Path("/proc", entry, "environ").read_bytes().split(b"\0")
            for variable in variables:
                if variable.startswith(prefix):
                    started = start_time(int(entry))
                    if started is not None:
                        yield Marked(int(entry), started, Path(os.fsdecode(variable.partition(b"=")[2])))


def end_marked(place: Path, pid: int, started: str) -> None:
    """End a process of :func:`marked`; it may be gone."""
    if any((process.pid, process.started) == (pid, started) for process in marked(place)):
        end(pid)


def end(pid: int) -> None:
    """Kill a process and wait until it is gone. Raises CloudError if it does not go."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(END_TIMEOUT * 1000):
            raise CloudError(f"the process {pid} does not end, although it was killed {END_TIMEOUT:g} s ago")
    finally:
        os.close(descriptor)


def start_time(pid: int) -> str | None:
    """When a process was started, in the system's ticks (proc(5)); None if it is gone."""
    try:
        # The name in parentheses may contain anything.
        fields = (
            Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
