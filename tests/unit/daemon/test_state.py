"""What a decision core knows of its session and of its transactions under way."""

from __future__ import annotations

import random
from enum import Enum

import pytest

from nodepool.daemon.instructions import Commit
from nodepool.daemon.state import RETRY_AFTER_DOUBT, RETRY_AFTER_REFUSAL, CoreState
from nodepool.zk.contenders import PREFIX_END
from nodepool.zk.store import Check, Connection, Delete, Refused, RefusedBy, SessionChange, Uncertain

NOW = 1000.0
REFUSED = Refused(0, RefusedBy.BAD_VERSION)


class Purpose(Enum):
    DO = "do something"


State = CoreState[Purpose, str, str]


@pytest.fixture
def state() -> State:
    """Connected in session 7, in step and registered."""
    state = State(random.Random(1))
    state.now = NOW
    assert state.take_session(SessionChange(Connection.CONNECTED, 7))
    state.end_doubts()
    state.fence = "/nodepool/components/x"
    assert state.working
    return state


def test_a_transaction_is_fenced_and_keeps_its_key_busy(state: State) -> None:
    state.commit(Purpose.DO, "a", [Delete("/a")], about=5)
    assert state.out == [Commit(Purpose.DO, "a", (Check(state.fence), Delete("/a")), 7, 5)]
    assert state.busy == {"a": 0.0}
    state.free("a")
    assert state.busy == {}


def test_an_interruption_costs_nothing_but_time(state: State) -> None:
    state.commit(Purpose.DO, "a", [])
    prefix = state.prefix
    assert not state.take_session(SessionChange(Connection.SUSPENDED, 7))
    assert not state.working
    assert not state.take_session(SessionChange(Connection.CONNECTED, 7))
    assert not state.working
    state.end_doubts()
    assert state.working
    assert (state.prefix, state.busy) == (prefix, {"a": 0.0})


@pytest.mark.parametrize("change", [SessionChange(Connection.LOST, 7), SessionChange(Connection.CONNECTED, 8)])
def test_a_session_that_is_over_takes_all_with_it(state: State, change: SessionChange) -> None:
    state.commit(Purpose.DO, "a", [])
    state.noticed["b"] = NOW
    prefix, contender = state.prefix, state.contender_path
    assert state.take_session(change)
    assert (state.busy, state.noticed, state.fence) == ({}, {}, "")
    assert state.session == (8 if change.connection is Connection.CONNECTED else 0)
    assert state.prefix != prefix
    assert state.our_contender([f"{contender}0000000001"]) is None


def test_without_a_session_no_contender_is_ours() -> None:
    assert State(random.Random(1)).our_contender([f"{PREFIX_END}0000000001"]) is None


def test_a_refusal_is_looked_at_again_soon_or_with_the_next_news(state: State) -> None:
    state.commit(Purpose.DO, "a", [])
    assert state.put_off(["a"], REFUSED) == NOW + RETRY_AFTER_REFUSAL
    assert list(state.timers.due(NOW + RETRY_AFTER_REFUSAL)) == ["a"]
    state.touch("a")
    assert (state.busy, state.dirty) == ({}, {"a"})


def test_after_a_doubt_news_change_nothing_before_all_is_read_again(state: State) -> None:
    state.commit(Purpose.DO, "a", [])
    assert state.put_off(["a"], Uncertain.TIMED_OUT) == NOW + RETRY_AFTER_DOUBT
    state.touch("a")
    state.is_due("a")
    assert state.busy == {"a": NOW + RETRY_AFTER_DOUBT}
    state.end_doubts()
    assert state.busy == {}


def test_a_doubt_ends_by_itself(state: State) -> None:
    state.commit(Purpose.DO, "a", [])
    state.now = state.put_off(["a"], Uncertain.TIMED_OUT)
    state.is_due("a")
    assert (state.busy, state.dirty) == ({}, {"a"})
