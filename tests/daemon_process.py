"""A daemon as a child process that logs to a file: what launchers and builders of tests have in common.

It dies with the thread that started it, however that ends (PR_SET_PDEATHSIG), so start it from the main thread.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.zookeeper import eventually


class DaemonProcess:
    """Not started. ``environment`` is added to ours."""

    def __init__(self, log_file: Path, environment: Mapping[str, str] | None) -> None:
        self.log_file = log_file
        self.environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._running().pid

    @property
    def log(self) -> str:
        """All that it has logged so far, over all starts."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def wait_log(self, text: str) -> None:
        """Wait until ``text`` is in the log."""
        eventually(lambda: text in self.log)

    def stop(self, number: signal.Signals = signal.SIGINT, seconds: float = 15.0) -> int:
        """End it by a signal, SIGINT in order or SIGTERM at once; return its exit code."""
        self._running().send_signal(number)
        return self.wait_end(seconds)

    def wait_end(self, seconds: float) -> int:
        """Its exit code when it has ended."""
        process = self._running()
        self._process = None
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"not ended within {seconds} s. Its log ends:\n{self.log[-4000:]}") from None

    def kill(self) -> None:
        """SIGKILL; nothing happens if it has ended."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """SIGSTOP: it does nothing, and its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after :meth:`pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def _run(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        assert self._process is None, "it is started already"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self.environment,
            )
        return self._process

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it is not started"
        return self._process
