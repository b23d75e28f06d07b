"""Fixtures that tests of all layers share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.zookeeper import Place, new_place, some_zookeeper

ROOT = Path(__file__).resolve().parents[1]
ALONE = {
    "tests/openstack": "openstack",
    "tests/e2e": "checkout",
    "tests/integration/test_dib_": "builds",
    "tests/integration/test_real_build": "builds",
    "tests/integration/test_builders": "builds",
    "tests/integration/test_images_by_hand": "builds",
}
"""Beginnings of paths to the group of tests that share a thing of this machine: a cloud, the checkout, loop devices."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers (pytest-xdist), keep the tests of a file together, and those that would meet."""
    for item in items:
        path = item.path.relative_to(ROOT).as_posix()
        group = next((group for beginning, group in ALONE.items() if path.startswith(beginning)), path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def zookeeper_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Connect string of the one ZooKeeper that all tests share which do not hurt it."""
    with some_zookeeper(tmp_path_factory.mktemp("zookeeper")) as hosts:
        yield hosts


@pytest.fixture
def zookeeper(zookeeper_hosts: str) -> Place:
    """A tree of its own on the shared ZooKeeper."""
    return new_place(zookeeper_hosts)
