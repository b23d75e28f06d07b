"""``tools/quickstart.sh`` with a static node, as a user runs it; with machines: ``test_quickstart_machines``."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN_SECONDS = 180.0
JOB_STEPS = ("fulfilled", "lock the node, delete the request", "in-use", "Log in", "set it used", "fresh node again")

pytestmark = pytest.mark.slow

Quickstart = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for one quickstart, which is ended whatever the test does."""
    path = tmp_path / "a quickstart"
    yield path
    subprocess.run(_command("--clean", "--dir", path), timeout=RUN_SECONDS, check=True)


@pytest.fixture
def quickstart(directory: Path) -> Quickstart:
    """Runs the tool in the test's directory and returns how it ended."""

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = _command("--dir", directory, *options)
        return subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, stdin=subprocess.DEVNULL)

    return run


def _command(*arguments: str | Path) -> list[str]:
    return [str(ROOT / "tools" / "quickstart.sh"), "--kind", "static", *map(str, arguments)]


def _processes(directory: Path) -> list[str]:
    """Command lines that name the directory, of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(directory) in line and int(path.parent.name) != os.getpid():
            found.append(line)
    return found


def _process_ids(status: str) -> list[str]:
    return re.findall(r"process (\d+)", status)


def test_the_job_is_shown_and_all_goes_on_running_until_stop(quickstart: Quickstart, directory: Path) -> None:
    first = quickstart()
    assert first.returncode == 0, first.stdout + first.stderr
    for step in JOB_STEPS:
        assert step in first.stdout
    assert "not done" not in first.stdout
    assert re.search(r"the node says: \S+ on ", first.stdout)
    assert re.search(r"host keys: .*ssh-ed25519", first.stdout)
    used, fresh = _node_ids(first.stdout)
    assert used != fresh
    assert re.search(r"together +\d+ ms", first.stdout)

    status = quickstart("--status")
    assert status.returncode == 0
    assert len(_process_ids(status.stdout)) == 3

    began = time.monotonic()
    second = quickstart()
    assert second.returncode == 0, second.stdout + second.stderr
    assert time.monotonic() - began < RUN_SECONDS / 3
    assert _process_ids(quickstart("--status").stdout) == _process_ids(status.stdout)

    stop = quickstart("--stop")
    assert stop.returncode == 0
    assert stop.stdout == "Ended: nodepool-launcher, sshd, ZooKeeper\n"
    assert _processes(directory) == []
    assert quickstart("--status").returncode == 1
    assert quickstart("--stop").stdout == "Nothing was running\n"


def _node_ids(output: str) -> list[str]:
    """The node handed over, and the one made of its host afterwards."""
    return re.findall(r"^ +node (\d{10})$", output, re.MULTILINE)


def test_once_ends_everything_and_the_data_can_be_used_again(quickstart: Quickstart, directory: Path) -> None:
    for _ in range(2):
        run = quickstart("--once")
        assert run.returncode == 0, run.stdout + run.stderr
        assert run.stdout.endswith("Ended: nodepool-launcher, sshd, ZooKeeper\n")
        assert _processes(directory) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_can_be_repeated(quickstart: Quickstart, directory: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        _command("--dir", directory), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert any("Start nodepool-launcher" in line for line in process.stdout)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=RUN_SECONDS)
    assert process.returncode == 130
    assert "Interrupted" in errors
    assert "Traceback" not in errors
    again = quickstart("--once")
    assert again.returncode == 0, again.stdout + again.stderr


def test_a_killed_launcher_is_started_again(quickstart: Quickstart) -> None:
    assert quickstart().returncode == 0
    before = _process_ids(quickstart("--status").stdout)
    os.kill(int(before[2]), signal.SIGKILL)
    again = quickstart()
    assert again.returncode == 0, again.stdout + again.stderr
    after = _process_ids(quickstart("--status").stdout)
    assert after[:2] == before[:2]
    assert after[2] != before[2]


def test_a_port_that_is_taken_is_named_with_what_to_do(quickstart: Quickstart) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        run = quickstart("--zookeeper-port", str(port))
    assert run.returncode == 1
    assert f"port {port} of 127.0.0.1 is taken: choose another with --zookeeper-port" in run.stderr


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    for action in ([], ["--clean"], ["--stop"]):
        run = subprocess.run(_command("--dir", tmp_path, *action), capture_output=True, text=True, timeout=RUN_SECONDS)
        assert "Traceback" not in run.stderr
        assert (tmp_path / "precious").read_text() == "x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious"]


@pytest.mark.parametrize("options", [["--frobnicate"], ["--ssh-port", "none"], ["--stop", "--status"], ["extra"]])
def test_wrong_options_get_the_usage(quickstart: Quickstart, options: list[str]) -> None:
    run = quickstart(*options)
    assert run.returncode == 2
    assert run.stderr.startswith("usage: tools/quickstart.sh")
