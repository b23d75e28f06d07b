"""Fixtures of tests on the real OpenStack of ``tools/openstack.sh``. All of them are slow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_openstack import RealCloud, running_cloud

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="package")
def real_cloud() -> Iterator[RealCloud]:
    """The cloud for all tests of this folder."""
    with running_cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(real_cloud: RealCloud) -> Iterator[RealCloud]:
    """The cloud, with nothing in it before and after a test."""
    yield real_cloud
    real_cloud.clean()
