"""The rate of a provider, and deadlines."""

from __future__ import annotations

import threading
import time

import pytest

from nodepool.driver.errors import CloudError, RateLimited
from nodepool.driver.openstack.pace import Pace
from nodepool.driver.openstack.transport import DEFAULT_DEADLINE, Deadlines, TooLate


def test_turns_are_apart_even_for_several_threads() -> None:
    pace, turns = Pace(0.03), list[float]()

    def work() -> None:
        for _ in range(3):
            pace.wait(10.0)
            turns.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(3)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(turns) == 9
    assert max(turns) - began >= 8 * 0.03


def test_the_time_until_the_turn_is_told() -> None:
    pace = Pace(0.05)
    assert pace.wait(1.0) == 0.0
    began = time.monotonic()
    waited = pace.wait(1.0)
    assert 0.0 < waited <= 0.05
    assert time.monotonic() - began >= waited * 0.9


def test_no_rate_is_no_wait() -> None:
    pace = Pace(0.0)
    began = time.monotonic()
    for _ in range(1000):
        pace.wait(0.0)
    assert time.monotonic() - began < 5.0


def test_who_cannot_have_a_turn_in_time_is_told_at_once_and_takes_none() -> None:
    pace = Pace(100.0)
    pace.wait(1.0)
    for _ in range(2):
        with pytest.raises(RateLimited) as caught:
            pace.wait(1.0)
        assert 90.0 < caught.value.retry_after <= 100.0


def test_stopping_ends_all_waiting() -> None:
    pace = Pace(100.0)
    pace.wait(1.0)
    ended = threading.Event()

    def work() -> None:
        with pytest.raises(CloudError, match="stopped"):
            pace.wait(1000.0)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    pace.stop()
    assert ended.wait(10.0)
    thread.join()


def test_a_deadline_ends_what_is_inside_of_it() -> None:
    deadlines = Deadlines()
    assert deadlines.left() == DEFAULT_DEADLINE
    with deadlines.within(5.0):
        assert 4.0 < deadlines.left() <= 5.0
        with deadlines.within(100.0):
            assert deadlines.left() <= 5.0
        with deadlines.within(1.0):
            assert deadlines.left() <= 1.0
        assert deadlines.left() > 3.0
        with deadlines.within(0.0), pytest.raises(TooLate):
            deadlines.left()
    assert deadlines.left() == DEFAULT_DEADLINE


def test_waiting_for_a_turn_does_not_count() -> None:
    deadlines, pace = Deadlines(), Pace(0.3)
    with deadlines.within(0.5):
        deadlines.waited(pace.wait(1.0))
        with deadlines.within(0.2):
            deadlines.waited(pace.wait(1.0))
            assert 0.0 < deadlines.left() <= 0.21
        deadlines.waited(pace.wait(1.0))
        assert 0.0 < deadlines.left() <= 0.51


def test_each_thread_has_a_deadline_of_its_own() -> None:
    deadlines, seen = Deadlines(), list[float]()
    with deadlines.within(5.0):
        thread = threading.Thread(target=lambda: seen.append(deadlines.left()))
        thread.start()
        thread.join()
    assert seen == [DEFAULT_DEADLINE]
