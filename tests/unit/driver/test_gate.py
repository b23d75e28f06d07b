"""When calls of a provider may begin, from its circuit breaker and the pauses for too many calls."""

from __future__ import annotations

from nodepool.driver.breaker import Circuit
from nodepool.driver.errors import RateLimited, Unauthorized
from nodepool.driver.gate import Gate

NOW = 1000.0
PATIENCE = 10.0


def gate() -> Gate:
    """Of a provider that has just been started, and answers."""
    return Gate(lambda: 0.0, NOW, 0.0, PATIENCE)


def shut() -> Gate:
    """Of a provider whose configuration is wrong: the first answer says so."""
    one = gate()
    assert one.ended(Unauthorized("no"), NOW, NOW)
    return one


def test_all_may_begin_while_the_provider_answers() -> None:
    one = gate()
    assert one.is_open(NOW)
    assert not one.out_of_patience(NOW + 1e6)
    assert (one.poll_due(None), one.poll_due(NOW + 5)) == (None, NOW + 5)
    assert not one.begin_poll(NOW)
    assert one.health(0.0).circuit is Circuit.CLOSED


def test_a_provider_that_does_not_answer_is_polled_and_nothing_else() -> None:
    one = shut()
    assert not one.is_open(NOW)
    assert not one.pauses(NOW)
    due = one.poll_due(None)
    assert due is not None
    assert due > NOW
    assert one.poll_due(NOW) == due
    assert one.begin_poll(due)
    assert one.poll_due(NOW) is None
    assert one.ended(None, due, due + 1)
    assert one.is_open(due + 1)


def test_creations_wait_for_a_while() -> None:
    one = shut()
    assert NOW + PATIENCE in one.changes()
    assert [one.out_of_patience(at) for at in (NOW + PATIENCE - 1, NOW + PATIENCE)] == [False, True]


def test_too_many_calls_hold_up_everything_until_the_pause_is_over() -> None:
    one = gate()
    one.refused(RateLimited("slow down", 7.0), NOW, NOW)
    assert (one.is_open(NOW + 6), one.is_open(NOW + 7)) == (False, True)
    assert one.poll_due(NOW + 1) == NOW + 7
    assert NOW + 7 in one.changes()
    health = one.health(50.0)
    assert (health.paused_until, health.pause_error, health.away) == (NOW + 57, "slow down", False)


def test_a_probe_that_is_refused_is_made_again_after_the_pause() -> None:
    one = shut()
    due = one.poll_due(None)
    assert due is not None
    assert one.begin_poll(due)
    one.refused(RateLimited("slow down", 20.0), due, due)
    assert one.poll_due(None) == due + 20
