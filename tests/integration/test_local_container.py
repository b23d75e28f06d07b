"""Containers of the local driver: real namespaces, a real sshd in them, nothing left when they are gone."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nodepool.driver.errors import BadLabel, CloudError, Rejected, UnknownOutcome
from nodepool.driver.local.container import ContainerKind
from nodepool.driver.local.container_process import NotedProcess, noted
from nodepool.driver.local.machine import Image, MachineState, NetworkAccess, NodePlan, Patience
from tests import small_system
from tests.sshd import free_port, generate_key
from tests.zookeeper import PATIENCE, eventually

ADDRESS = "127.77.0.1"


class Lab:
    """A provider's directory, an image, and machines in it. Also the program that a test kills."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.nodes = directory / "nodes"
        self.key = directory / "user_key"
        self.kind = ContainerKind(directory)

    def make(self) -> None:
        """Keys and an image."""
        self.nodes.mkdir(mode=0o700)
        generate_key(self.key)
        generate_key(self.directory / "host_key")
        small_system.write(self.directory / "small.tar")

    @property
    def image(self) -> Image:
        """The image."""
        return Image("small", self.directory / "small.tar", "tar", self.directory / "workshop" / "small")

    def plan(self, name: str = "n1", access: NetworkAccess = NetworkAccess.OUTSIDE, port: int = 0) -> NodePlan:
        """A machine to be, with its directory."""
        directory = self.nodes / name
        directory.mkdir(mode=0o700)
        private = (self.directory / "host_key").read_text()
        public = " ".join((self.directory / "host_key.pub").read_text().split()[:2])
        user = self.key.with_name("user_key.pub").read_text().strip()
        return NodePlan(
            name, directory, f"host-{name}", self.image, 1, 128, ADDRESS, port or free_port(ADDRESS), "zuul", private,
            public, (user,), access,
        )  # fmt: skip

    def start(self, plan: NodePlan, seconds: float = PATIENCE) -> None:
        """Start a machine as the driver does."""
        self.kind.prepare(plan, patience(seconds))
        self.kind.start(plan, patience(seconds))

    def run(self, plan: NodePlan, command: str, key: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Log in, trusting no host key but the machine's, and run a command."""
        known = self.directory / "known_hosts"
        known.write_text(f"[{plan.address}]:{plan.port} {plan.host_public_key}\n")
        options = [
            "-oBatchMode=yes",
            "-oStrictHostKeyChecking=yes",
            f"-oUserKnownHostsFile={known}",
            "-oIdentitiesOnly=yes",
        ]
        where = [f"-p{plan.port}", f"{plan.username}@{plan.address}"]
        words = ["ssh", "-F", "none", "-i", str(key or self.key), *options, *where, command]
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)

    def ask(self, plan: NodePlan, command: str) -> str:
        """What a command prints when the machine answers."""
        eventually(lambda: _answers(plan))
        result = self.run(plan, command)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def close(self) -> None:
        """End all machines."""
        for path in self.nodes.iterdir():
            self.kind.destroy(path)
        for remains in self.kind.remains(frozenset()):
            self.kind.remove(remains)
        self.kind.clear(self.image.workshop)


def patience(seconds: float = PATIENCE) -> Patience:
    """Of somebody who waits for so long."""
    until = time.monotonic() + seconds

    def pause(for_seconds: float) -> None:
        if time.monotonic() > until:
            raise UnknownOutcome("nobody waits any more")
        time.sleep(for_seconds)

    return Patience(pause, lambda: until - time.monotonic())


def _answers(plan: NodePlan) -> bool:
    try:
        with socket.create_connection((plan.address, plan.port), timeout=PATIENCE) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _processes(directory: Path) -> list[NotedProcess]:
    notes = [noted(directory / "container" / name) for name in ("machine.process", "network.process")]
    return [process for process in notes if process is not None and process.runs()]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab in which nothing is left running, whatever the test does."""
    one = Lab(tmp_path)
    if problems := one.kind.problems():
        pytest.fail(" ".join(problems))
    one.make()
    with contextlib.closing(one):
        yield one


def test_a_container_is_a_machine_of_its_own_with_the_key_it_was_given(lab: Lab) -> None:
    plan = lab.plan()
    assert lab.kind.state(plan.directory) is MachineState.ABSENT
    lab.start(plan)
    assert lab.kind.state(plan.directory) is MachineState.RUNNING
    assert lab.ask(plan, "id -un; hostname; cat /etc/marker").split() == ["zuul", "host-n1", "first"]
    assert lab.ask(plan, "cat /proc/self/uid_map").split()[1] != "0", "its root is the root of this host"
    assert "sshd" in lab.ask(plan, "cat /proc/1/cmdline")
    assert "overlay / overlay" in lab.ask(plan, "cat /proc/mounts")
    assert str(lab.directory) not in lab.ask(plan, "cat /proc/mounts"), "mounts of this host are to be seen in it"
    assert "Server listening" in (lab.kind.console(plan.directory) or "")


def test_a_stranger_is_not_let_in(lab: Lab, tmp_path: Path) -> None:
    plan = lab.plan()
    lab.start(plan)
    eventually(lambda: _answers(plan))
    generate_key(tmp_path / "stranger")
    assert "Permission denied" in lab.run(plan, "id", tmp_path / "stranger").stderr


def test_nothing_is_left_of_a_machine_that_was_destroyed(lab: Lab) -> None:
    plan = lab.plan()
    lab.start(plan)
    lab.ask(plan, "touch /home/zuul/.hidden /home/zuul/file; sleep 1000 >/dev/null 2>&1 &")
    before = _processes(plan.directory)
    assert len(before) == 2
    lab.kind.destroy(plan.directory)
    assert [process for process in before if process.runs()] == []
    assert list(plan.directory.iterdir()) == []
    assert lab.kind.remains(frozenset()) == []
    assert str(lab.directory) not in Path("/proc/mounts").read_text()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((plan.address, plan.port))
    lab.kind.destroy(plan.directory)


def test_what_one_machine_writes_no_other_sees(lab: Lab) -> None:
    first, second = lab.plan("n1"), lab.plan("n2")
    for plan in (first, second):
        lab.start(plan)
    lab.ask(first, "echo mine >/tmp/mine")
    assert lab.ask(second, "ls /tmp") == ""
    lab.kind.destroy(first.directory)
    assert lab.ask(second, "hostname") == "host-n2"
    lab.kind.clear(lab.image.workshop)


@pytest.mark.parametrize(("access", "way_out", "reaches_host"), [
    (NetworkAccess.NONE, False, False), (NetworkAccess.OUTSIDE, True, False), (NetworkAccess.HOST, True, True),
])  # fmt: skip
def test_a_machine_reaches_what_it_is_meant_to(
    lab: Lab, access: NetworkAccess, way_out: bool, reaches_host: bool
) -> None:
    plan = lab.plan(access=access)
    with socket.create_server(("127.0.0.1", 0)) as service:
        lab.start(plan)
        assert ("default" in lab.ask(plan, "ip route")) is way_out
        port = service.getsockname()[1]
        said = lab.run(plan, f"bash -c 'echo >/dev/tcp/10.0.2.2/{port}' && echo connected").stdout
        assert ("connected" in said) is reaches_host


def test_a_machine_that_ends_by_itself_is_dead_and_takes_its_network_along(lab: Lab) -> None:
    plan = lab.plan()
    lab.start(plan)
    machine, network = _processes(plan.directory)
    (first,) = machine.children()
    assert first.end()
    assert machine.wait(PATIENCE)
    assert network.wait(PATIENCE)
    assert lab.kind.state(plan.directory) is MachineState.DEAD


def test_a_machine_without_its_network_is_dead(lab: Lab) -> None:
    plan = lab.plan()
    lab.start(plan)
    assert _processes(plan.directory)[1].end()
    assert lab.kind.state(plan.directory) is MachineState.DEAD


def test_a_machine_whose_directory_was_lost_is_found_and_ended(lab: Lab) -> None:
    plan, other = lab.plan("n1"), lab.plan("n2")
    for one in (plan, other):
        lab.start(one)
    machine = _processes(plan.directory)[0]
    lost = plan.directory.rename(lab.directory / "lost")
    (remains,) = lab.kind.remains(frozenset({other.directory}))
    lab.kind.remove(remains)
    assert not machine.runs()
    lab.kind.remove(remains)
    assert lab.kind.state(other.directory) is MachineState.RUNNING
    lost.rename(plan.directory)


_STARTER = """
import sys
from pathlib import Path
from tests.integration.test_local_container import Lab
lab = Lab(Path(sys.argv[1]))
print("begin", flush=True)
lab.start(lab.plan("killed"))
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.03, 0.06, 0.1, None])
def test_a_launcher_that_is_killed_while_it_starts_a_machine_leaves_nothing_that_cannot_be_removed(
    lab: Lab, seconds: float | None
) -> None:
    command = [sys.executable, "-c", _STARTER, str(lab.directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == "begin\n"
        if seconds is None:
            assert launcher.stdout.readline() == "done\n"
        else:
            time.sleep(seconds)
        launcher.send_signal(signal.SIGKILL)
    directory = lab.nodes / "killed"
    if seconds is None:
        assert lab.kind.state(directory) is MachineState.RUNNING
    if directory.exists():
        # A shell that was forked in this moment writes its note, or ends because nobody answers it.
        eventually(lambda: _settled(lab, directory))
        lab.kind.destroy(directory)
        assert list(directory.iterdir()) == []
    assert lab.kind.remains(frozenset()) == []


def _settled(lab: Lab, directory: Path) -> bool:
    return lab.kind.state(directory) is not MachineState.RUNNING or len(_processes(directory)) == 2


def test_a_port_that_is_taken_is_named(lab: Lab) -> None:
    with socket.create_server((ADDRESS, 0)) as other:
        plan = lab.plan(port=other.getsockname()[1])
        with pytest.raises(CloudError, match=f"{ADDRESS} port {plan.port} cannot be listened on"):
            lab.start(plan)
    lab.kind.destroy(plan.directory)
    assert list(plan.directory.iterdir()) == []


def test_an_image_without_what_it_takes_is_refused(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="format tar"):
        lab.kind.check_content(lab.image.content, "qcow2")
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(Rejected, match="no archive of a system"):
        lab.kind.check_content(tmp_path / "text", "tar")
    without = small_system.write(tmp_path / "without.tar", sshd=False)
    with pytest.raises(Rejected, match="no archive of a system"):
        lab.kind.check_content(without, "tar")
    lab.kind.check_content(lab.image.content, "tar")
    stranger = replace(lab.plan("n1"), username="nobody-knows")
    with pytest.raises(BadLabel, match="no user nobody-knows"):
        lab.start(stranger)
    image = Image("without", without, "tar", tmp_path / "workshop" / "without")
    plan = replace(lab.plan("n2"), image=image)
    with pytest.raises(CloudError, match="no /usr/sbin/sshd"):
        lab.start(plan)
    lab.kind.destroy(plan.directory)
    lab.kind.clear(image.workshop)


def test_somebody_whom_nobody_waits_for_gives_up(lab: Lab) -> None:
    plan = lab.plan()
    with pytest.raises(UnknownOutcome):
        lab.start(plan, -1.0)
    lab.kind.destroy(plan.directory)
    assert lab.kind.remains(frozenset()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="to be somebody else needs root: run this test as root")
def test_an_unprivileged_user_without_ids_is_told_what_to_do(tmp_path: Path) -> None:
    if shutil.which("newuidmap") is None:
        pytest.fail("newuidmap is missing: apt-get install uidmap")
    said = as_somebody_else(lambda: " ".join(ContainerKind(tmp_path).problems()))
    assert "usermod --add-subuids" in said


def as_somebody_else(ask: Callable[[], str]) -> str:
    """What the user ``nobody`` is told, by a copy of this process: others may not execute every Python."""
    user = pwd.getpwnam("nobody")
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            os.write(theirs, ask().encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours, encoding="utf-8") as said:
        text = said.read()
    os.waitpid(child, 0)
    return text
