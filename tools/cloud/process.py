"""A simulated cloud as a child process, for tests and benchmarks. It dies with the thread that started it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from tools.cloud.client import CloudControl

_ROOT = Path(__file__).resolve().parents[2]
_START_LIMIT = 30.0
_STOP_LIMIT = 10.0


class CloudFailed(RuntimeError):
    """The cloud did not come up; the message has what it said."""


class CloudProcess:
    """A cloud with ``settings`` (as in a settings file) whose files are in ``directory``. A context manager.

    After `start`: ``url``, ``control``, and a clouds.yaml at ``clouds_yaml``. Nothing is kept over `kill` and `start`
    but the port.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any] | None = None, port: int = 0) -> None:
        self.directory = directory
        self.clouds_yaml = directory / "clouds.yaml"
        self.url = ""
        self._settings = settings or {}
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> CloudProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def control(self) -> CloudControl:
        """A client of its control API."""
        return CloudControl(self.url)

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None, "the cloud is not started"
        return self._process.pid

    def start(self) -> None:
        """Start it; it serves when this returns. Raises :class:`CloudFailed`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration, log = self.directory / "cloud.yaml", self.directory / "cloud.log"
        configuration.write_text(yaml.safe_dump(dict(self._settings)), encoding="utf-8")
        command = [sys.executable, "-m", "tools.cloud", "--config", str(configuration), "--port", str(self._port)]
        command += ["--clouds-yaml", str(self.clouds_yaml), "--parent", str(os.getpid())]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output
            )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _START_LIMIT)
        self.url = self._process.stdout.readline().decode().strip() if ready else ""
        if not self.url:
            self.kill()
            raise CloudFailed(f"the simulated cloud did not start: {log.read_text(errors='replace').strip()}")
        self._port = int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        """End it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once: connections are refused from now on."""
        self._end(signal.SIGKILL)

    def suspend(self) -> None:
        """Stop the process: connections are accepted by the kernel and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        deadline = time.monotonic() + _STOP_LIMIT
        try:
            process.wait(deadline - time.monotonic())
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
