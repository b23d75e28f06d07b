"""A busy site stays as it is: short versions of ``python -m tests.simulation.launchers.hour``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulation.launchers.hour import BOOT, MOST_GROWTH, Hour, Part, growth, weigh


@pytest.mark.parametrize(("nodes", "jobs", "seconds"), [(500, 7200, 180), (60, 720, 1200)])
def test_nothing_grows(nodes: int, jobs: float, seconds: float) -> None:
    hour = Hour(nodes, jobs, seconds)
    parts = hour.live()
    assert hour.held() >= nodes
    assert sum(part.jobs for part in parts) == pytest.approx(jobs * seconds / 3600, rel=0.25)
    assert all(max(part.waits) < BOOT + 4 for part in parts)
    assert {what: ratio for what, ratio in growth(parts).items() if ratio > MOST_GROWTH} == {}


def test_what_grows_is_found() -> None:
    part = Part(jobs=10, waits=(1.0, 2.0, 3.0), calls=30, cpu=1.0, memory=1000, objects=100)
    assert set(growth([part, part]).values()) == {1.0}
    assert growth([part, replace(part, memory=1500)])["memory"] == 1.5
    assert growth([part, replace(part, waits=(4.0,))])["median wait"] == 2.0
    assert growth([part, replace(part, calls=60)])["calls"] == 2.0


def test_all_that_is_kept_is_weighed_once() -> None:
    shared = "x" * 10_000
    size, objects = weigh([shared, {"a": shared}])
    assert 10_000 < size < 12_000
    assert objects == 4
