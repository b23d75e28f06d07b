"""The circuit breaker: when a provider counts as away, and when it is tried again."""

from __future__ import annotations

import pytest

from nodepool.driver import errors
from nodepool.driver.breaker import CALM, LONGEST_DOUBT, LONGEST_PAUSE, MOST_FAILURES, Breaker, Circuit, counts

BROKEN = errors.UnknownOutcome("HTTP 503")
COUNT = [BROKEN, errors.CloudError("connection refused")]
ANSWERS: list[errors.CloudError | None] = [
    None,
    errors.QuotaExceeded("full"),
    errors.NoCapacity("full"),
    errors.BadLabel("no such flavor"),
    errors.NotFound("gone"),
    errors.Rejected("HTTP 409"),
]
NEUTRAL = [errors.RateLimited("slowly"), errors.NotBegun("no")]


class Scene:
    """A breaker and a clock."""

    def __init__(self, chance: float = 0.0, doubt: float = 0.0) -> None:
        self.now = 1000.0
        self.breaker = Breaker(lambda: chance, self.now, doubt)

    def call(self, error: errors.CloudError | None = BROKEN, takes: float = 0.0) -> bool:
        """A call begins and ends; whether that changed anything."""
        began, self.now = self.now, self.now + takes
        return self.breaker.ended(error, began, self.now)

    def open(self) -> None:
        """Let it open."""
        for _ in range(MOST_FAILURES):
            self.call()
        assert self.breaker.circuit is Circuit.OPEN

    def probe(self, error: errors.CloudError | None) -> float:
        """Try again when it is time; returns how long that took."""
        assert self.breaker.next_try is not None
        pause, self.now = self.breaker.next_try - self.now, self.breaker.next_try
        self.breaker.probe(self.now)
        assert self.breaker.circuit is Circuit.HALF_OPEN
        assert self.breaker.next_try is None
        assert self.call(error)
        return pause


@pytest.mark.parametrize("error", COUNT, ids=lambda error: type(error).__name__)
def test_a_run_of_failures_opens_it(error: errors.CloudError) -> None:
    scene = Scene()
    assert [scene.call(error) for _ in range(MOST_FAILURES)] == [False] * (MOST_FAILURES - 1) + [True]
    assert not scene.breaker.closed
    assert scene.breaker.error == str(error)
    assert counts(error)


def test_a_run_of_failures_is_no_sign_before_there_was_no_success_for_some_time() -> None:
    scene = Scene(doubt=2.0)
    for _ in range(3 * MOST_FAILURES):
        assert not scene.call()
    scene.now += 2.0
    assert scene.call()


@pytest.mark.parametrize("error", ANSWERS, ids=lambda error: type(error).__name__)
def test_any_answer_ends_the_run(error: errors.CloudError | None) -> None:
    scene = Scene()
    for _ in range(3):
        for _ in range(MOST_FAILURES - 1):
            assert not scene.call()
        assert not scene.call(error)
    assert scene.breaker.closed
    assert not counts(error)


@pytest.mark.parametrize("error", NEUTRAL, ids=lambda error: type(error).__name__)
def test_what_tells_nothing_neither_ends_nor_prolongs_the_run(error: errors.CloudError) -> None:
    scene = Scene()
    for _ in range(MOST_FAILURES - 1):
        scene.call()
    for _ in range(MOST_FAILURES):
        assert not scene.call(error)
    assert scene.call()
    assert not counts(error)


def test_credentials_that_are_not_accepted_open_it_at_once() -> None:
    scene = Scene()
    assert scene.call(errors.Unauthorized("HTTP 401"))
    assert scene.breaker.error == "HTTP 401"
    scene.probe(None)
    assert scene.call(errors.Misconfigured("clouds.yaml is not there"))
    assert scene.breaker.error == "clouds.yaml is not there"
    assert scene.breaker.misconfigured
    scene.probe(BROKEN)
    assert not scene.breaker.misconfigured


def test_calls_that_hang_open_it_sooner() -> None:
    scene = Scene()
    assert not scene.call(takes=60.0)
    assert scene.call(takes=0.0)


def test_hanging_calls_are_no_sign_while_others_succeed() -> None:
    scene = Scene()
    began = scene.now
    scene.now += LONGEST_DOUBT + 1
    scene.call(None)
    assert not any(scene.breaker.ended(BROKEN, began, scene.now) for _ in range(MOST_FAILURES - 1))


def test_two_failures_far_apart_are_enough_if_nothing_else_is_called() -> None:
    scene = Scene()
    scene.now += 1000.0
    scene.call()
    scene.now += 1.0
    assert not scene.call()
    scene.now += LONGEST_DOUBT
    assert scene.call()


def test_pauses_between_probes_double_up_to_a_limit() -> None:
    scene = Scene()
    scene.open()
    assert [scene.probe(BROKEN) for _ in range(8)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert scene.breaker.since == 1000.0


def test_chance_makes_pauses_shorter_only() -> None:
    scene = Scene(chance=0.999)
    scene.open()
    pauses = [scene.probe(BROKEN) for _ in range(8)]
    assert 0.75 <= pauses[0] < 1.0
    assert LONGEST_PAUSE * 0.75 <= pauses[-1] < LONGEST_PAUSE


def test_a_probe_that_succeeds_closes_it() -> None:
    scene = Scene()
    scene.open()
    scene.probe(BROKEN)
    scene.probe(None)
    assert scene.breaker.closed
    assert (scene.breaker.since, scene.breaker.next_try) == (scene.now, None)
    for _ in range(MOST_FAILURES - 1):
        assert not scene.call()


def test_a_probe_that_learned_nothing_is_repeated() -> None:
    scene = Scene()
    scene.open()
    assert scene.breaker.next_try is not None
    scene.now = scene.breaker.next_try
    scene.breaker.probe(scene.now)
    scene.breaker.put_off(scene.now + 7.0, scene.now - 1.0, scene.now)
    assert scene.breaker.next_try is None, "that call was not the probe"
    scene.breaker.put_off(scene.now + 7.0, scene.now, scene.now)
    assert scene.probe(BROKEN) == 7.0
    assert scene.probe(None) == 2.0


@pytest.mark.parametrize("error", [None, BROKEN])
def test_calls_that_began_before_it_opened_say_nothing(error: errors.CloudError | None) -> None:
    scene = Scene()
    began = scene.now
    scene.now += 1.0
    scene.open()
    before = scene.breaker.next_try
    scene.now += 0.5
    assert not scene.breaker.ended(error, began, scene.now)
    assert (scene.breaker.circuit, scene.breaker.next_try) == (Circuit.OPEN, before)


def test_calls_that_hung_during_the_outage_say_nothing_after_it() -> None:
    scene = Scene()
    began = scene.now
    scene.now += 1.0
    scene.open()
    scene.probe(None)
    assert not any(scene.breaker.ended(BROKEN, began, scene.now) for _ in range(MOST_FAILURES))
    assert scene.breaker.closed


def test_pauses_go_on_growing_if_it_opens_again_soon() -> None:
    scene = Scene()
    scene.open()
    assert scene.probe(BROKEN) == 1.0
    assert scene.probe(None) == 2.0
    scene.open()
    assert scene.probe(None) == 4.0
    scene.now += CALM
    scene.call(None)
    scene.open()
    assert scene.probe(None) == 1.0
