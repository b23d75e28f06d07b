"""tools/zookeeper.py as the quickstart uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.zookeeper import Place, eventually, running
from tools.zookeeper import free_port

PROGRAM = str(Path(__file__).parents[2] / "tools" / "zookeeper.py")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The program's answer."""
    command = [sys.executable, PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_start_is_idempotent_and_data_outlives_a_stop(tmp_path: Path) -> None:
    port = free_port()
    where = ("--dir", tmp_path / "zk", "--port", port)
    try:
        first, second = run("start", *where), run("start", *where)
        assert (first.returncode, second.returncode) == (0, 0)
        assert first.stdout == second.stdout
        assert f"ZooKeeper serves on 127.0.0.1:{port} (process " in first.stdout
        with running(Place(f"127.0.0.1:{port}", "/kept").store()):
            pass
        assert run("status", *where).returncode == 0
        stopped = run("stop", *where)
        assert (stopped.returncode, stopped.stdout) == (0, "ZooKeeper ended\n")
        assert run("status", *where).returncode == 1
        assert run("stop", *where).stdout == "ZooKeeper did not run\n"
        assert run("start", *where).returncode == 0
        with running(Place(f"127.0.0.1:{port}", "").store()) as store:
            found: list[object] = []
            store.children("/", found.append)
            eventually(lambda: found)
            assert "kept" in found[0]  # type: ignore[operator]
    finally:
        run("stop", *where)


def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    port = free_port()
    where = ("--dir", tmp_path / "first", "--port", port)
    try:
        assert run("start", *where).returncode == 0
        taken = run("start", "--dir", tmp_path / "second", "--port", port)
        assert taken.returncode == 1
        assert f"another ZooKeeper serves on 127.0.0.1:{port}" in taken.stderr
    finally:
        run("stop", *where)
