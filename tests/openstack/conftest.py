"""Fixtures of tests on the real OpenStack of ``tools/openstack.sh``. All of them are slow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_openstack import CLOUDS_YAML, RealCloud, running_cloud
from tests.real_site import LAUNCHER_ENVIRONMENT, RealSite
from tests.zookeeper import local_zookeeper
from tools.zookeeper import LocalZooKeeper

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, and let them come last: the cloud takes processor time from all others while it runs."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.path.is_relative_to(HERE))


@pytest.fixture(scope="session")
def real_cloud() -> Iterator[RealCloud]:
    """The cloud for all tests of this folder."""
    with running_cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(real_cloud: RealCloud) -> Iterator[RealCloud]:
    """The cloud, with nothing in it before and after a test."""
    yield real_cloud
    real_cloud.clean()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalZooKeeper]:
    """A ZooKeeper whose journal is ours."""
    with local_zookeeper(tmp_path_factory.mktemp("zookeeper"), tick=0.2) as server:
        yield server


@pytest.fixture
def site(server: LocalZooKeeper, cloud: RealCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RealSite:
    """An installation of its own for launchers on the cloud."""
    monkeypatch.setenv(LAUNCHER_ENVIRONMENT, str(CLOUDS_YAML))
    return RealSite(server, tmp_path, cloud)
