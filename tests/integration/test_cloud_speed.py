"""A small burst of requests on a simulated cloud, with limits that only a regression by a factor exceeds."""

from __future__ import annotations

import pytest

from tools.bench.cloud_site import CloudSetup
from tools.bench.clouds import ask_at_once
from tools.bench.site import site

COUNT = 200


@pytest.mark.slow
def test_a_burst_costs_little_time_and_few_calls() -> None:
    with site(durable=False) as place:
        outcome = ask_at_once(place, COUNT, CloudSetup(quota=COUNT // 2))
    assert len(outcome.times) == COUNT
    assert not outcome.failed
    assert not outcome.broken
    assert outcome.verdict == "no leaks, no doubles, never beyond quota"
    assert outcome.calls <= 6
    # Usual are 5 ms and 6 s. Processor time depends less than the clock on what else the machine does.
    assert outcome.launcher_cpu < 0.025
    assert outcome.decided < 40
