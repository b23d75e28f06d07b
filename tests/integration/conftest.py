"""Fixtures of tests with real launchers.

A module that plays a client against one launcher defines the fixture ``launcher`` (scope "module"). A module that hurts
launchers, or ZooKeeper, gets an installation for each test: ``site``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from tests.installation import Installation
from tests.launcher_process import LauncherProcess, zookeeper_client
from tests.openstack_bench import Bench, run_bench, run_cloud
from tests.requestor import REQUESTS, Caches, Zuul, zuul
from tests.sshd import Sshd
from tests.zookeeper import Place, eventually, local_zookeeper
from tools.cloud.process import CloudProcess
from tools.zookeeper import LocalZooKeeper


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    """One static host for all; nobody stops it."""
    with Sshd() as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalZooKeeper]:
    """A server whose journal is ours."""
    with local_zookeeper(tmp_path_factory.mktemp("zookeeper"), tick=0.2) as server:
        yield server


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    """A simulated cloud, for tests of the OpenStack driver alone."""
    yield from run_cloud(tmp_path_factory.mktemp("cloud"))


@pytest.fixture
def bench(process: CloudProcess) -> Iterator[Bench]:
    """An adapter on it."""
    yield from run_bench(process)


@pytest.fixture
def site(server: LocalZooKeeper, tmp_path: Path) -> Installation:
    """An installation of its own."""
    return Installation(server, tmp_path)


@pytest.fixture
def peer(zookeeper: Place) -> Iterator[KazooClient]:
    """Somebody else in the tree of ``nodepool``, who reads and writes with kazoo alone."""
    with zookeeper_client(zookeeper) as client:
        yield client


@pytest.fixture(scope="module")
def caches(launcher: LauncherProcess) -> Iterator[Caches]:
    """Zuul's caches while a module runs: nothing that they see may ever disturb Zuul."""
    with zuul(launcher.place) as component:
        caches = Caches(component.client)
        yield caches
        assert caches.complaints == []
        eventually(lambda: caches.tree() == component.tree())
        caches.close()


@pytest.fixture
def scheduler(launcher: LauncherProcess) -> Iterator[Zuul]:
    """A scheduler. At the end it deletes its requests, and then everything has to become free again."""
    with zuul(launcher.place) as component:
        yield component
        for name in component.names(REQUESTS):
            if (component.request(name) or {}).get("requestor") == component.system:
                component.delete_request(name)
        with contextlib.suppress(AssertionError):
            eventually(lambda: component.disorder() == [])
        assert component.disorder() == []


@pytest.fixture
def executor(scheduler: Zuul, launcher: LauncherProcess) -> Iterator[Zuul]:
    """An executor, which ends before the scheduler does."""
    del scheduler
    with zuul(launcher.place) as component:
        yield component
