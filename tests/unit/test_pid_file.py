"""The pid file: locked while its process lives (spec cli 5)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from nodepool.cmd.pid_file import PidFile, PidFileError


def taken(path: Path) -> PidFile:
    """A pid file that we hold, with our pid."""
    pid_file = PidFile(str(path))
    pid_file.take(0.0)
    pid_file.write()
    return pid_file


def test_it_holds_our_pid_and_goes_with_us(tmp_path: Path) -> None:
    path = tmp_path / "run" / "nodepool" / "x.pid"
    pid_file = taken(path)
    assert path.read_text() == f"{os.getpid()}\n"
    pid_file.remove()
    assert not path.exists()


def test_one_that_nobody_holds_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    path.write_text("123456789012\n")
    taken(path)
    assert path.read_text() == f"{os.getpid()}\n"


def test_one_that_somebody_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    owner = taken(path)
    other = PidFile(str(path))
    with pytest.raises(PidFileError, match=f"process {os.getpid()} runs already with the pid file {path}"):
        other.take(0.15)
    other.remove()
    assert path.exists()
    owner.remove()
    other.take(0.0)


def test_an_owner_that_has_not_written_its_pid_yet(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    owner = PidFile(str(path))
    owner.take(0.0)
    with pytest.raises(PidFileError, match="another process runs already"):
        PidFile(str(path)).take(0.0)


def test_a_file_that_its_owner_removes_before_we_lock_it_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds a file without a name does not keep others out."""
    path = tmp_path / "x.pid"
    path.write_text("")
    flock = fcntl.flock
    removals: list[Path] = []

    def flock_late(descriptor: int, operation: int) -> None:
        if not removals:
            path.unlink()
            removals.append(path)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_late)
    winner = PidFile(str(path))
    winner.take(5.0)
    assert removals
    with pytest.raises(PidFileError):
        PidFile(str(path)).take(0.0)
    winner.remove()
    assert not path.exists()


def test_a_path_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        PidFileError, match=r"file/x\.pid cannot be written: File exists: .*/file \(name another one with -p"
    ):
        PidFile(str(tmp_path / "file" / "x.pid")).take(0.0)
