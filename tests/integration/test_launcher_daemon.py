"""``nodepool-launcher`` in the background: pid file, detachment, log file (spec cli 5 and 6)."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from nodepool import __version__
from tests.launcher_process import PROGRAM, fake_provider, zookeeper_client
from tests.zookeeper import Place, eventually, local_zookeeper, new_place
from tools.certificates import Authority
from tools.zookeeper import ServerTLS

POOLS = "/nodepool/components/pool"
LOCK_WAIT = 10.0
"""Seconds that a start waits for the owner of its pid file."""


class Daemon:
    """A launcher that goes into the background, with all its files in one directory."""

    def __init__(self, directory: Path, place: Place, **settings: object) -> None:
        self.directory = directory
        self.place = place
        self.pid_file = directory / "run" / "launcher.pid"
        self.log_file = directory / "launcher.log"
        host, _, port = place.hosts.partition(":")
        config = {
            "zookeeper-servers": [{"host": host, "port": int(port), "chroot": place.chroot}],
            "labels": [{"name": "a"}],
            "providers": [fake_provider("fake-cloud", ["a"])],
            "webapp": {"port": 0},
            **settings,
        }
        handler = {"class": "logging.handlers.WatchedFileHandler", "filename": str(self.log_file), "formatter": "f"}
        logging = {
            "version": 1,
            "formatters": {"f": {"class": "nodepool.logconfig.MultiLineFormatter", "format": "%(name)s: %(message)s"}},
            "handlers": {"file": handler},
            "loggers": {"nodepool": {"level": "DEBUG", "handlers": ["file"]}},
        }
        (directory / "nodepool.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        (directory / "logging.yaml").write_text(yaml.safe_dump(logging), encoding="utf-8")

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.log_file.read_text(encoding="utf-8") if self.log_file.exists() else ""

    @property
    def pid(self) -> int:
        """What the pid file says; 0 without one."""
        try:
            return int(self.pid_file.read_text() or 0)
        except OSError:
            return 0

    def launch(self) -> subprocess.Popen[str]:
        """The process that is to go into the background, with a wide umask and relative paths."""
        command: list[str | Path] = [PROGRAM, "-c", "nodepool.yaml", "-l", "logging.yaml", "-p", "run/launcher.pid"]
        return subprocess.Popen(
            command,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            umask=0,
        )

    def start(self) -> int:
        """Start it, wait until its pool is registered, and return its pid."""
        process = self.launch()
        output, _ = process.communicate(timeout=30)
        assert (process.returncode, output) == (0, "")
        eventually(lambda: self.pid)
        with zookeeper_client(self.place) as client:
            eventually(lambda: client.exists(POOLS) and client.get_children(POOLS))
        return self.pid

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self.pid and alive(self.pid):
            os.kill(self.pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, zookeeper_hosts: str) -> Iterator[Daemon]:
    """A daemon that runs; the last test ends it."""
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), new_place(zookeeper_hosts))
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.kill()


@pytest.fixture(scope="module")
def second(daemon: Daemon) -> tuple[subprocess.Popen[str], float]:
    """A second start with the same pid file, which waits while the other tests run; and when it began."""
    return daemon.launch(), time.monotonic()


@pytest.mark.usefixtures("second")
def test_it_has_left_its_terminal(daemon: Daemon) -> None:
    proc = Path(f"/proc/{daemon.pid}")
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    session = int(fields[3])
    assert session != os.getsid(0)
    assert session != daemon.pid, "a session leader may get a terminal again"
    assert fields[4] == "0", "it has a terminal"
    assert os.readlink(proc / "cwd") == "/"
    assert [os.readlink(proc / "fd" / number) for number in "012"] == ["/dev/null"] * 3
    assert "Umask:\t0022\n" in (proc / "status").read_text()


def test_its_files_are_not_for_everybody_to_write(daemon: Daemon) -> None:
    for path in (daemon.log_file, daemon.pid_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_pid_file_says_who_it_is(daemon: Daemon) -> None:
    assert daemon.pid_file.read_text() == f"{daemon.pid}\n"
    assert "nodepool-launcher" in Path(f"/proc/{daemon.pid}/cmdline").read_text()


def test_it_logs_to_its_file_also_after_that_was_rotated(daemon: Daemon) -> None:
    assert (
        f"nodepool.NodePool: Nodepool {__version__} starts as process {daemon.pid} with {daemon.directory}"
        in daemon.log
    )
    daemon.log_file.rename(daemon.directory / "launcher.log.1")
    os.kill(daemon.pid, signal.SIGUSR2)
    eventually(lambda: "End debug handler" in daemon.log)


def test_a_stack_dump_names_the_threads(daemon: Daemon) -> None:
    """Spec operation 2: where every thread is, with a name that says what it is for."""
    os.kill(daemon.pid, signal.SIGUSR2)
    eventually(lambda: daemon.log.count("End debug handler") >= 2)
    names = {"MainThread", "decision", "zookeeper", "nodescan", "poller-fake-cloud", "cloud-fake-cloud-1"}
    lines = [line for line in daemon.log.splitlines() if "nodepool.stack_dump: Thread: " in line]
    assert {name for name in names if any(f" {name} d: " in line for line in lines)} == names
    assert any(line.startswith("nodepool.stack_dump:   ") and "service.py" in line for line in daemon.log.splitlines())
    assert alive(daemon.pid)


def test_a_signal_ends_the_wait_for_the_pid_file(daemon: Daemon) -> None:
    process = daemon.launch()
    eventually(lambda: _opened(process.pid, daemon.pid_file))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=5)
    assert (process.returncode, output) == (0, "")
    assert alive(daemon.pid)


def _opened(pid: int, path: Path) -> bool:
    try:
        return any(os.readlink(link) == str(path) for link in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False


@pytest.fixture
def other(tmp_path: Path, zookeeper: Place) -> Iterator[Daemon]:
    """A daemon that does not run yet."""
    daemon = Daemon(tmp_path, zookeeper)
    yield daemon
    daemon.kill()


def test_a_start_that_follows_a_stop_waits_for_its_end(other: Daemon) -> None:
    """What an init system does at a restart."""
    other.pid_file.parent.mkdir()
    with other.pid_file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = other.launch()
        eventually(lambda: _opened(process.pid, other.pid_file))
        other.pid_file.unlink()
    assert process.communicate(timeout=10)[0] == ""
    eventually(lambda: other.pid)
    os.kill(other.pid, signal.SIGTERM)
    eventually(lambda: not other.pid_file.exists())


def test_tls_files_are_found_from_where_it_was_started(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    authority.issue("client")
    tls = ServerTLS(authority.issue("server").store, authority.certificate)
    with local_zookeeper(tmp_path / "zookeeper", tls=tls) as server:
        files = {"cert": "ca/client.pem", "key": "ca/client.key", "ca": "ca/ca.pem"}
        daemon = Daemon(tmp_path, Place(server.tls_hosts, "/ci"), **{"zookeeper-tls": files})
        try:
            assert daemon.launch().communicate(timeout=10)[0] == ""
            eventually(lambda: "Connected to ZooKeeper" in daemon.log)
        finally:
            daemon.kill()


@pytest.mark.parametrize("what", ["configuration", "logging", "pid file"])
def test_what_is_wrong_is_said_before_the_terminal_is_left(other: Daemon, what: str) -> None:
    if what == "pid file":
        (other.directory / "run").write_text("in the way")
    else:
        (other.directory / {"configuration": "nodepool.yaml", "logging": "logging.yaml"}[what]).unlink()
    process = other.launch()
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 1
    assert output.startswith("nodepool-launcher: ")
    assert str(other.directory) in output
    assert len(output.splitlines()) == 1
    assert not other.pid_file.exists()


def test_a_second_start_is_refused(daemon: Daemon, second: tuple[subprocess.Popen[str], float]) -> None:
    process, began = second
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"process {daemon.pid} runs already with the pid file {daemon.pid_file}" in output
    assert output.startswith("nodepool-launcher: ")
    assert time.monotonic() - began > LOCK_WAIT - 1
    assert daemon.pid_file.read_text() == f"{daemon.pid}\n"
    assert alive(daemon.pid)


def test_a_stale_pid_file_is_taken_over_and_a_stop_removes_it(daemon: Daemon) -> None:
    """Last: this ends the daemon, twice."""
    killed = daemon.pid
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: not alive(killed))
    assert daemon.pid == killed
    successor = daemon.start()
    assert successor != killed
    os.kill(successor, signal.SIGINT)
    eventually(lambda: not alive(successor))
    assert not daemon.pid_file.exists()
    assert daemon.log.rstrip().endswith("nodepool.NodePool: Ended")
