"""Pauses that a cloud asks for."""

from __future__ import annotations

import pytest

from nodepool.driver.throttle import LONGEST_PAUSE, Throttle


@pytest.mark.parametrize(("wanted", "pause"), [(0.0, 1.0), (7.0, 7.0), (3600.0, LONGEST_PAUSE)])
def test_the_pause_is_what_the_cloud_wants_within_reason(wanted: float, pause: float) -> None:
    throttle = Throttle()
    assert throttle.until <= 100.0
    throttle.refused(wanted, 100.0, 101.0)
    assert throttle.until == 101.0 + pause


def test_pauses_grow_until_something_succeeds() -> None:
    throttle, now, pauses = Throttle(), 100.0, []
    for _ in range(8):
        throttle.refused(1.0, now, now)
        pauses.append(throttle.until - now)
        now = throttle.until
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    throttle.succeeded()
    throttle.refused(1.0, now, now)
    assert throttle.until == now + 1.0


def test_calls_that_were_under_way_together_are_one_refusal() -> None:
    throttle = Throttle()
    for now in (100.1, 100.2, 100.3, 100.4):
        throttle.refused(1.0, 100.0, now)
    assert throttle.until == 101.4


def test_a_late_refusal_does_not_shorten_the_pause() -> None:
    throttle = Throttle()
    throttle.refused(30.0, 100.0, 100.0)
    throttle.succeeded()
    throttle.refused(1.0, 99.0, 101.0)
    assert throttle.until == 130.0
