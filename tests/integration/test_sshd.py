"""The test server itself."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sshd import Sshd

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("user", [None, "nobody"] if os.geteuid() == 0 else [None])
def test_sshd_runs_as_the_user_asked_for_and_leaves_nothing(user: str | None) -> None:
    with Sshd(user=user, key_types=["ed25519"]) as sshd:
        assert Path(f"/proc/{sshd.pid}").owner() == (user or Path("/proc/self").owner())
        sshd.suspend()
        assert not sshd.answers(timeout=0.2)
        sshd.resume()
        sshd.wait_until_ready()
        sshd.restart()
        assert sshd.answers()
    assert not sshd.answers()
    assert not sshd.directory.exists()


def test_an_sshd_that_cannot_start_says_why() -> None:
    sshd = Sshd(key_types=["ed25519"], options={"NoSuchOption": "yes"})
    try:
        with pytest.raises(RuntimeError, match="Bad configuration option: NoSuchOption"):
            sshd.start()
    finally:
        sshd.remove()


def test_sshd_dies_with_the_process_that_started_it() -> None:
    program = "import sys; from tests.sshd import Sshd; s = Sshd(); s.start(); print(s.port, s.directory, flush=True);"
    with subprocess.Popen(
        [sys.executable, "-c", program + "sys.stdin.read()"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        port, directory = child.stdout.readline().split()
        socket.create_connection(("127.0.0.1", int(port))).close()
        child.kill()
    try:
        deadline = time.monotonic() + 10.0
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(port))).close()
            except (ConnectionRefusedError, ConnectionResetError):
                break
            assert time.monotonic() < deadline, "sshd outlived its starter"
    finally:
        shutil.rmtree(directory)
