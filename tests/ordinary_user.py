"""An ordinary user for tests that run as root: one with ids for containers, of whom this host knows nothing."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

NAME = "nodepool-test"
USER = 60987
FIRST_ID = 0xA0000
_COUNT = 65536
_NEW_MOUNTS = 0x00020000
"""CLONE_NEWNS of unshare(2)."""
_DONE = "done"


def does(work: Callable[[Path], object]) -> None:
    """Have the user do something in a home directory of its own, in a copy of this process; fails as that does.

    For who is not root, it is this user. Whatever else is of a test of root's is out of its reach.
    """
    home = Path(tempfile.mkdtemp(prefix="np-user-", dir="/tmp"))
    try:
        said = _asked(home, work)
        assert said == _DONE, said
    finally:
        shutil.rmtree(home)


def _asked(home: Path, work: Callable[[Path], object]) -> str:
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        said = _DONE
        try:
            if os.geteuid() == 0:
                _become(home)
            run = home / "run"
            run.mkdir()
            os.environ.update(HOME=str(home), USER=NAME, XDG_RUNTIME_DIR=str(run))
            try:
                work(home)
            finally:
                end_podman(run)
        except BaseException:  # noqa: BLE001 - whatever it is, the test is to show it
            said = traceback.format_exc()
        finally:
            os.write(theirs, said.encode()[:60000])
            os._exit(0)
    os.close(theirs)
    with open(ours, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def _become(home: Path) -> None:
    """Be the user, who is in the system's files only for this process and those that it starts."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    lines = {"passwd": f"{NAME}:x:{USER}:{USER}::{home}:/bin/sh"}
    lines |= dict.fromkeys(("subuid", "subgid"), f"{NAME}:{FIRST_ID}:{_COUNT}")
    for name, line in lines.items():
        file, real = home / name, Path("/etc", name)
        real.touch()
        file.write_text(f"{line}\n{real.read_text()}")
        subprocess.run(["mount", "--bind", str(file), str(real)], check=True)
    os.chown(home, USER, USER)
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)


def end_podman(run: Path) -> None:
    """End the process with which podman keeps a user's ids."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((run / "libpod" / "tmp" / "pause.pid").read_text()), signal.SIGKILL)
