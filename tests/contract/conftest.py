"""Fixtures of the contract of a store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.worlds import Caller, MemoryWorld, RealWorld, World
from tests.zookeeper import new_place


@pytest.fixture(params=["memory", "zookeeper"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Each test runs in both worlds."""
    if request.param == "memory":
        yield MemoryWorld()
    else:
        real = RealWorld(new_place(request.getfixturevalue("zookeeper_hosts")))
        yield real
        real.end()


@pytest.fixture
def caller(world: World) -> Caller:
    """A connected store."""
    return Caller(world)
