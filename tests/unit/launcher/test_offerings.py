"""Which kinds of machines are left alone for a while, and who tries them again."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis.strategies import floats, lists, sampled_from, tuples

from nodepool.launcher.offerings import LONGEST, SHORTEST, Offerings
from tests.unit.launcher.parts import NOW

KIND = ("cloud", "z1", "small")
OTHER = ("cloud", "z2", "small")


def refused(offerings: Offerings, at: float = NOW) -> float:
    """The cloud refuses a machine of the kind; seconds for which it is closed then."""
    return offerings.refused(KIND, at) - at


def test_everything_is_open_at_first() -> None:
    assert Offerings().closed_until(KIND) == 0.0


def test_a_refusal_closes_the_kind_and_no_other() -> None:
    offerings = Offerings()
    assert refused(offerings) == SHORTEST
    assert offerings.closed_until(KIND) == NOW + SHORTEST
    assert offerings.closed_until(OTHER) == 0.0


def test_refusals_of_what_was_ordered_before_add_nothing() -> None:
    offerings = Offerings()
    refused(offerings)
    assert [refused(offerings, NOW + seconds) + seconds for seconds in (0, 1, 14)] == [SHORTEST] * 3


def test_each_try_that_is_refused_closes_it_for_longer_up_to_a_limit() -> None:
    offerings, now = Offerings(), NOW
    pauses = []
    for _ in range(7):
        pauses.append(refused(offerings, now))
        now += pauses[-1]
        offerings.tried(KIND, now)
    assert pauses == [15, 30, 60, 120, 240, 240, 240] == [min(15 * 2**n, LONGEST) for n in range(7)]


def test_while_one_tries_the_others_wait() -> None:
    offerings = Offerings()
    refused(offerings)
    later = NOW + SHORTEST
    offerings.tried(KIND, later)
    assert offerings.closed_until(KIND) == later + SHORTEST
    assert refused(offerings, later + 1) == 2 * SHORTEST


def test_one_who_tries_and_is_never_heard_of_again_keeps_nobody_waiting_for_ever() -> None:
    offerings = Offerings()
    refused(offerings)
    offerings.tried(KIND, NOW + SHORTEST)
    assert offerings.closed_until(KIND) == NOW + 2 * SHORTEST


def test_trying_what_is_open_or_still_closed_changes_nothing() -> None:
    offerings = Offerings()
    offerings.tried(KIND, NOW)
    assert offerings.closed_until(KIND) == 0.0
    refused(offerings)
    offerings.tried(KIND, NOW + 1)
    assert offerings.closed_until(KIND) == NOW + SHORTEST


def test_a_machine_that_comes_up_opens_it_again() -> None:
    offerings = Offerings()
    refused(offerings)
    offerings.tried(KIND, NOW + SHORTEST)
    offerings.worked(KIND, NOW + SHORTEST)
    assert offerings.closed_until(KIND) == 0.0
    assert refused(offerings, NOW + 20) == SHORTEST


def test_a_machine_that_was_ordered_before_the_refusal_opens_nothing() -> None:
    offerings = Offerings()
    refused(offerings)
    offerings.worked(KIND, NOW - 1)
    assert offerings.closed_until(KIND) == NOW + SHORTEST
    refused(offerings, NOW + 5)
    offerings.worked(KIND, NOW + 4)
    assert offerings.closed_until(KIND) == NOW + SHORTEST


def test_what_passed_its_check_last_is_known_by_provider_and_label() -> None:
    offerings = Offerings()
    offerings.passed("cloud", "small", NOW)
    assert offerings.last_passed("cloud", "small") == NOW
    assert offerings.last_passed("cloud", "big") == offerings.last_passed("other", "small") == 0.0


EVENTS: Any = lists(tuples(sampled_from(("refused", "tried", "worked")), floats(0, 400)), max_size=30)


@given(EVENTS)
def test_a_kind_is_never_closed_for_longer_than_the_longest_pause(events: list[tuple[str, float]]) -> None:
    offerings, now = Offerings(), NOW
    for what, seconds in events:
        now += seconds
        if what == "worked":
            offerings.worked(KIND, now)
            assert offerings.closed_until(KIND) == 0.0
        else:
            getattr(offerings, what)(KIND, now)
            assert offerings.closed_until(KIND) <= now + LONGEST
        if what == "refused":
            assert offerings.closed_until(KIND) > now


@given(EVENTS)
def test_of_those_who_ask_one_after_the_other_one_tries(events: list[tuple[str, float]]) -> None:
    """Whatever has happened: of two who find it closed and due, the second finds it closed again."""
    offerings, now = Offerings(), NOW
    for what, seconds in events:
        now += seconds
        if what == "worked":
            offerings.worked(KIND, now)
        else:
            getattr(offerings, what)(KIND, now)
    if 0.0 < offerings.closed_until(KIND) <= now:
        offerings.tried(KIND, now)
        assert offerings.closed_until(KIND) > now
