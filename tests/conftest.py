"""Fixtures that tests of all layers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.zookeeper import Place, new_place, some_zookeeper


@pytest.fixture(scope="session")
def zookeeper_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Connect string of the one ZooKeeper that all tests share which do not hurt it."""
    with some_zookeeper(tmp_path_factory.mktemp("zookeeper")) as hosts:
        yield hosts


@pytest.fixture
def zookeeper(zookeeper_hosts: str) -> Place:
    """A tree of its own on the shared ZooKeeper."""
    return new_place(zookeeper_hosts)
