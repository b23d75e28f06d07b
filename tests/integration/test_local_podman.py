"""Containers of the local driver for an ordinary user: with rootless podman, and without it."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from nodepool.driver.local import container_podman
from nodepool.driver.local.container_process import noted
from nodepool.driver.local.machine import MachineState, NetworkAccess
from tests import ordinary_user
from tests.integration.test_local_container import Lab
from tests.zookeeper import PATIENCE, eventually

ENGINES = ("podman", "unshare")


@contextmanager
def lab_with(engine: str, home: Path) -> Iterator[Lab]:
    """A lab whose machines are made in one of the ways."""
    if engine == "podman":
        assert shutil.which("podman"), "podman is missing: apt-get install --no-install-recommends podman runc"
    else:
        container_podman.PODMAN = "podman-that-nobody-has"
    lab = Lab(home / "lab")
    lab.directory.mkdir()
    lab.make()
    problems = lab.kind.problems()
    assert not problems, problems
    assert lab.kind.engine is not None
    assert lab.kind.engine.name == engine
    with closing(lab):
        yield lab


def uses_and_destroys(home: Path, engine: str) -> None:
    with lab_with(engine, home) as lab:
        first, second = lab.plan("n1"), lab.plan("n2", NetworkAccess.NONE)
        for plan in (first, second):
            lab.start(plan)
            assert lab.kind.state(plan.directory) is MachineState.RUNNING
            assert lab.ask(plan, "id -un; hostname; cat /etc/marker").split() == ["zuul", f"host-{plan.id}", "first"]
            assert lab.ask(plan, "echo x >~/.ssh/mine; ls -A ~/.ssh").split() == ["authorized_keys", "mine"]
            assert lab.ask(plan, "cat /etc/resolv.conf") == "nameserver 10.0.2.3"
            known = {one.directory for one in (first, second)}
            assert lab.kind.remains(frozenset(known)) == []
        assert "default" in lab.ask(first, "ip route")
        assert "default" not in lab.ask(second, "ip route")
        assert "Server listening" in (lab.kind.console(first.directory) or "")
        assert "mine" in lab.ask(first, "ls ~/.ssh")
        for plan in (first, second):
            lab.kind.destroy(plan.directory)
            assert list(plan.directory.iterdir()) == []
            lab.kind.destroy(plan.directory)
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((plan.address, plan.port))
        assert lab.kind.remains(frozenset()) == []
        lab.kind.clear(lab.image.workshop)
        assert not (lab.image.workshop / "tree").exists()


def loses(home: Path, engine: str) -> None:
    with lab_with(engine, home) as lab:
        plan, other = lab.plan("n1"), lab.plan("n2")
        for one in (plan, other):
            lab.start(one)
        place = plan.directory / "container"
        machine, network = (noted(place / name) for name in ("machine.process", "network.process"))
        assert machine is not None
        assert network is not None
        for remains in lab.kind.remains(frozenset({other.directory})):
            lab.kind.remove(remains)
        assert machine.wait(PATIENCE)
        assert network.wait(PATIENCE)
        assert lab.kind.state(plan.directory) is MachineState.DEAD
        assert lab.kind.state(other.directory) is MachineState.RUNNING
        eventually(lambda: not lab.kind.remains(frozenset({other.directory})))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_ordinary_user_has_machines(engine: str) -> None:
    ordinary_user.does(lambda home: uses_and_destroys(home, engine))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_machine_that_is_nobodys_is_ended_with_its_network(engine: str) -> None:
    ordinary_user.does(lambda home: loses(home, engine))


def test_podman_works_for_who_has_not_logged_in() -> None:
    def works(home: Path) -> None:
        del os.environ["XDG_RUNTIME_DIR"]
        os.environ["TMPDIR"] = str(home)
        tempfile.tempdir = None
        try:
            uses_and_destroys(home, "podman")
        finally:
            ordinary_user.end_podman(home / f"podman-run-{os.geteuid()}")

    ordinary_user.does(works)


def test_a_podman_that_does_not_work_is_not_used() -> None:
    def falls_back(home: Path) -> None:
        container_podman.PODMAN = "false"
        lab = Lab(home)
        lab.nodes.mkdir()
        assert not lab.kind.problems()
        assert lab.kind.engine is not None
        assert lab.kind.engine.name == "unshare"
        assert lab.kind.remains(frozenset()) == []

    ordinary_user.does(falls_back)
