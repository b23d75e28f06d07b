"""The program ``nodepool-launcher`` with any options and files: for tests of what it says and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.launcher_process import PROGRAM
from tests.zookeeper import eventually

END_SECONDS = 20.0
NOBODY = 65534


def as_user(user: int | None) -> list[str]:
    """What to put before a command to run it as another user, if we may: one without rights in any case."""
    if user is None or os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


def run(*arguments: str | Path, nobody: bool = False) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the program; with ``nobody`` as a user without rights."""
    command = [*as_user(NOBODY if nobody else None), PROGRAM, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=END_SECONDS, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def refusal(*arguments: str | Path, nobody: bool = False) -> list[str]:
    """What the program says when it does not start, line by line, without its name."""
    code, out, err = run(*arguments, nobody=nobody)
    lines = err.splitlines()
    assert (code, out) == (1, ""), err
    assert all(line.startswith("nodepool-launcher: ") for line in lines), err
    return [line.removeprefix("nodepool-launcher: ") for line in lines]


class Running:
    """The program as a child process; all that it says is in ``output``."""

    def __init__(
        self, directory: Path, *arguments: str | Path, user: int | None = None, environment: dict[str, str] | None
    ) -> None:
        self._log = directory / "output"
        with self._log.open("wb") as log:
            command = [*as_user(user), "setpriv", "--pdeathsig", "KILL", PROGRAM, *arguments]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    @property
    def output(self) -> str:
        """All that it has said so far."""
        return self._log.read_text(encoding="utf-8")

    def says(self, text: str) -> None:
        """Wait until it has said this."""
        eventually(lambda: text in self.output or self.process.poll() is not None)
        assert text in self.output, self.output

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(END_SECONDS)


@contextlib.contextmanager
def running(
    directory: Path, *arguments: str | Path, user: int | None = None, environment: dict[str, str] | None = None
) -> Iterator[Running]:
    """The program, killed at the end if it has not ended before; ``environment`` replaces ours."""
    program = Running(directory, *arguments, user=user, environment=environment)
    try:
        yield program
    finally:
        program.process.kill()
        program.process.wait()


def write(path: Path, **document: object) -> Path:
    """A configuration with these keys of the top level; underscores stand for dashes."""
    content = {key.replace("_", "-"): value for key, value in document.items()}
    minimal = {"webapp": {"port": 0}, "labels": [], "providers": []}
    path.write_text(yaml.safe_dump({**minimal, **content}), encoding="utf-8")
    return path


def servers(port: int, chroot: str = "") -> list[dict[str, object]]:
    """One ZooKeeper on this machine, as ``zookeeper-servers``."""
    return [{"host": "127.0.0.1", "port": port, **({"chroot": chroot} if chroot else {})}]
