"""A terminal on which a test runs a program, and what the program has written there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence

LIMIT = 30.0
"""Seconds to wait for something to be written."""


class Terminal:
    """The terminal and the process; ``seen`` is all that was written so far."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self.seen = ""
        self._terminal = terminal

    def wait_for(self, text: str) -> str:
        """Read up to ``text``, and return what was written since the last call."""
        before, deadline = len(self.seen), time.monotonic() + LIMIT
        while text not in self.seen[before:]:
            assert time.monotonic() < deadline, f"{text!r} was not written, only {self.seen[before:]!r}"
            self._read(0.5)
        return self.seen[before:]

    def end(self) -> int:
        """Read to the end; returns the exit status."""
        deadline = time.monotonic() + LIMIT
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "the process does not end"
            self._read(0.1)
        while self._read(0.0):
            pass
        return self.process.returncode

    def type(self, text: str) -> None:
        """Type on the keyboard."""
        os.write(self._terminal, text.encode())

    def _read(self, seconds: float) -> bool:
        if not select.select([self._terminal], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # Linux says so when nobody has the other end open any more.
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)


@contextlib.contextmanager
def on_terminal(
    command: Sequence[str], environment: Mapping[str, str] | None = None, lines: int = 24, columns: int = 200
) -> Iterator[Terminal]:
    """Run a program on a terminal of its own, which controls it; the program is killed at the end."""
    terminal, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        command,
        stdin=other,
        stdout=other,
        stderr=other,
        env={**os.environ, "TERM": "xterm", **(environment or {})},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(other)
    try:
        yield Terminal(process, terminal)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
