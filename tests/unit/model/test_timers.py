"""Timers: what is due comes out once, in order of time, and not before."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from nodepool.model.timers import Timers


def test_nothing_is_due_at_first() -> None:
    timers = Timers()
    assert timers.next() is None
    assert list(timers.due(1e12)) == []


def test_a_key_is_due_at_its_time_and_only_once() -> None:
    timers = Timers()
    timers.add(10.0, "a")
    assert timers.next() == 10.0
    assert list(timers.due(9.9)) == []
    assert list(timers.due(10.0)) == ["a"]
    assert list(timers.due(11.0)) == []
    assert timers.next() is None


def test_a_key_waits_once_for_the_same_time_and_as_often_as_there_are_times() -> None:
    timers = Timers()
    for at in (10.0, 10.0, 12.0):
        timers.add(at, "a")
    assert len(timers) == 2
    assert list(timers.due(20.0)) == ["a", "a"]


def test_a_key_can_be_set_anew_for_a_time_that_was_due() -> None:
    timers = Timers()
    timers.add(10.0, "a")
    assert list(timers.due(10.0)) == ["a"]
    timers.add(10.0, "a")
    assert list(timers.due(10.0)) == ["a"]


def test_equal_times_come_in_order_of_asking_whatever_the_keys() -> None:
    timers = Timers()
    keys: list[Hashable] = [("node", "2"), "admission", 7, ("node", "1")]
    for key in keys:
        timers.add(5.0, key)
    assert list(timers.due(5.0)) == keys


def test_at_the_latest_does_not_pile_up_while_an_earlier_time_is_to_come() -> None:
    timers = Timers()
    for now in range(5):
        timers.add_latest(10.0 + now, "a", float(now))
    assert len(timers) == 1
    assert list(timers.due(10.0)) == ["a"]


def test_at_the_latest_takes_an_earlier_time() -> None:
    timers = Timers()
    timers.add_latest(10.0, "a", 0.0)
    timers.add_latest(5.0, "a", 0.0)
    assert timers.next() == 5.0


def test_at_the_latest_asks_again_when_the_last_time_has_come() -> None:
    timers = Timers()
    timers.add_latest(10.0, "a", 0.0)
    assert list(timers.due(10.0)) == ["a"]
    timers.add_latest(20.0, "a", 10.0)
    assert timers.next() == 20.0


def test_at_the_latest_holds_for_each_key() -> None:
    timers = Timers()
    timers.add_latest(5.0, "a", 0.0)
    timers.add_latest(10.0, "b", 0.0)
    assert list(timers.due(10.0)) == ["a", "b"]


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from("abc"))), st.lists(st.integers(0, 60), max_size=5))
def test_what_is_due_is_what_was_added_in_order(added: list[tuple[int, str]], looks: list[int]) -> None:
    timers = Timers()
    for at, key in added:
        timers.add(float(at), key)
    left = set(added)
    for now in sorted(looks):
        due = sorted(entry for entry in left if entry[0] <= now)
        found = list(timers.due(float(now)))
        assert sorted(map(str, found)) == sorted(key for _, key in due)
        left -= set(due)
        assert timers.next() == min((float(at) for at, _ in left), default=None)
