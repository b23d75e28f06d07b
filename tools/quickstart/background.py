"""Programs that go on running after the one that started them: start, find again, stop. Linux only."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

POLL_SECONDS = 0.02


def program(name: str) -> Path:
    """Where one of Nodepool's programs is installed."""
    return Path(sys.executable).parent / name


def run_nodepool(configuration: Path, *arguments: str) -> list[str]:
    """Run a command of the operator's; the lines that it prints. Raises :class:`QuickstartError`."""
    command: list[str | Path] = [program("nodepool"), "-c", configuration, *arguments]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode:
        raise QuickstartError(
            f"nodepool {' '.join(arguments)} failed (exit code {result.returncode}): {result.stderr.strip()}"
        )
    return result.stdout.splitlines()


def shown(path: Path) -> str:
    """A path as short as can be for somebody in this directory, quoted for a shell."""
    with contextlib.suppress(ValueError):
        return shlex.quote(str(path.relative_to(Path.cwd())) or ".")
    return shlex.quote(str(path))


class QuickstartError(Exception):
    """The quickstart cannot go on; the message says what happened and what to do."""


_REMEDIES = {
    errno.ENOSPC: "free some space on that disk, or choose another directory with --dir",
    errno.EACCES: "it is another user's: choose another directory with --dir, or be that user",
    errno.EROFS: "choose another directory with --dir",
}


def explained(error: BaseException) -> str:
    """An error as a message: with what to do, if it is one of the system."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    remedy = _REMEDIES.get(error.errno)
    return f"{error.filename or 'a file'}: {error.strerror}{f': {remedy}' if remedy else ''}"


class Background:
    """One such program. ``directory`` has its log ``NAME.log`` and a note ``NAME.pid`` of its process."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._note = directory / f"{name}.pid"
        self._process: subprocess.Popen[bytes] | None = None

    def pid(self) -> int:
        """Process id; 0 if it does not run. A note left by an earlier boot or a crash is seen through."""
        if self._process is not None:
            self._process.poll()
        try:
            pid, started = self._note.read_text(encoding="ascii").split()
        except (OSError, ValueError):
            return 0
        return int(pid) if _started(int(pid)) == started else 0

    def start(self, command: Sequence[str | Path]) -> None:
        """Start the program in a session and process group of its own, its output appended to the log."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self._note.write_text(f"{self._process.pid} {_started(self._process.pid)}\n", encoding="ascii")

    @property
    def began(self) -> float:
        """When it was started, in epoch seconds. It must have been."""
        return self._note.stat().st_mtime

    @property
    def was_started(self) -> bool:
        """Whether somebody has started it and not stopped it again."""
        return self._note.exists()

    def check(self) -> None:
        """Raise :class:`QuickstartError` with the end of the log if the program has ended."""
        if not self.pid():
            raise QuickstartError(f"{self.name} has ended. {self.log_end()}")

    def log_end(self, lines: int = 12) -> str:
        """The last lines of its log, for a message."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return f"Its log {self.log} ends with:\n" + "\n".join(f"    {line}" for line in text.splitlines()[-lines:])

    def stop(self, number: signal.Signals, seconds: float) -> bool:
        """Send ``number`` and wait; after ``seconds`` end its whole group by force. False if it did not run."""
        pid = self.pid()
        if pid:
            os.kill(pid, number)
            deadline = time.monotonic() + seconds
            while self.pid() and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            while self.pid():
                time.sleep(POLL_SECONDS)
        self._note.unlink(missing_ok=True)
        return bool(pid)


def _started(pid: int) -> str:
    """When a process was started, in clock ticks since boot: with its id this names it; empty if it is not alive."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
