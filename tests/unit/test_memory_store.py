"""The faults that a simulation can order of a store in memory; what it shares with the real one is a contract test."""

from __future__ import annotations

import pytest

from nodepool.zk.memory import MemoryStore
from nodepool.zk.store import Committed, Connection, Contended, Create, Outcome, Uncertain
from tests.contract.worlds import Caller, Follower, MemoryWorld

CONNECTED, SUSPENDED, LOST = Connection.CONNECTED, Connection.SUSPENDED, Connection.LOST


@pytest.fixture
def world() -> MemoryWorld:
    """One ensemble and its time."""
    return MemoryWorld()


@pytest.fixture
def store(world: MemoryWorld) -> MemoryStore:
    """The store that suffers."""
    return world.store()


@pytest.fixture
def caller(world: MemoryWorld, store: MemoryStore) -> Caller:
    """Calls of the store that suffers."""
    return Caller(world, store)


@pytest.fixture
def other(world: MemoryWorld) -> Caller:
    """Somebody who suffers nothing."""
    return Caller(world)


def test_a_crash_is_followed_by_silence_and_by_the_end_of_the_session(
    world: MemoryWorld, store: MemoryStore, caller: Caller, other: Caller
) -> None:
    caller.must(Create("/e", ephemeral=True))
    outcomes: list[Outcome] = []
    store.commit([Create("/sent")], outcomes.append)
    begin = world.now
    store.crash()
    assert other.read("/e") is not None
    world.settle()
    assert world.now - begin == pytest.approx(10.0)
    assert other.read("/e") is None
    assert other.read("/sent") is not None
    assert outcomes == []
    assert caller.connections == [CONNECTED]


def test_a_paused_process_finds_its_session_gone_when_it_calls(
    world: MemoryWorld, store: MemoryStore, caller: Caller, other: Caller
) -> None:
    old = store.session()
    caller.must(Create("/e", ephemeral=True))
    store.pause()
    world.settle()
    assert other.read("/e") is None
    assert caller.connections == [CONNECTED]
    store.resume()
    assert store.session() == old, "it does not know yet"
    assert caller.commit(Create("/late")) is Uncertain.SESSION_LOST
    world.settle()
    assert other.read("/late") is None
    assert caller.connections == [CONNECTED, LOST, CONNECTED]


def test_a_short_pause_only_delays(world: MemoryWorld, store: MemoryStore, caller: Caller) -> None:
    session = store.session()
    outcomes: list[Outcome] = []
    store.commit([Create("/a")], outcomes.append)
    store.pause()
    heard: list[int] = []
    world.schedule(4.9, lambda: heard.append(len(outcomes)))
    world.schedule(5.0, store.resume)
    world.settle()
    assert heard == [0]
    assert [type(outcome) for outcome in outcomes] == [Committed]
    assert store.session() == session
    assert caller.connections == [CONNECTED]


@pytest.mark.parametrize("executed", [True, False])
@pytest.mark.parametrize("verdict", [Uncertain.CONNECTION_LOST, Uncertain.TIMED_OUT])
def test_a_lost_answer(caller: Caller, store: MemoryStore, executed: bool, verdict: Uncertain) -> None:
    store.lose_answer(executed=executed, verdict=verdict)
    assert caller.commit(Create("/a")) is verdict
    assert (caller.read("/a") is not None) == executed
    assert isinstance(caller.commit(Create("/b")), Committed)


def test_a_contender_whose_answer_was_lost_is_taken_back(
    world: MemoryWorld, caller: Caller, store: MemoryStore
) -> None:
    caller.make("/l")
    store.lose_answer(executed=True)
    assert caller.contend("/l") is Uncertain.CONNECTION_LOST
    world.settle()
    assert caller.children("/l") == ()
    assert isinstance(caller.contend("/l"), Contended)


def test_a_long_disconnection_ends_the_session_and_the_store_knows_by_its_clock(
    world: MemoryWorld, store: MemoryStore, caller: Caller, other: Caller
) -> None:
    caller.must(Create("/e", ephemeral=True))
    store.disconnect()
    assert caller.commit(Create("/x")) is Uncertain.CONNECTION_LOST
    world.settle()
    assert caller.connections == [CONNECTED, SUSPENDED, LOST]
    assert store.session() == 0
    assert other.read("/e") is None
    store.reconnect()
    world.settle()
    assert caller.connections == [CONNECTED, SUSPENDED, LOST, CONNECTED]
    assert isinstance(caller.commit(Create("/x")), Committed)


def test_an_expiry_without_notice_is_learnt_at_the_next_call(
    world: MemoryWorld, store: MemoryStore, caller: Caller
) -> None:
    old = store.session()
    world.ensemble.expire(old)
    world.settle()
    assert store.session() == old
    assert caller.commit(Create("/x")) is Uncertain.SESSION_LOST
    world.settle()
    assert caller.connections == [CONNECTED, LOST, CONNECTED]


def test_a_feed_can_lag_and_keeps_its_order(world: MemoryWorld, store: MemoryStore, other: Caller) -> None:
    follower = Follower(store, ["/f"])
    world.settle()
    store.feed_lag = 60.0
    begin = world.now
    other.must(Create("/f", b"1"))
    world.until(lambda: follower.znodes)
    assert world.now - begin >= 60.0
    store.feed_lag = 0.0
    other.must(Create("/f/a"))
    world.settle()
    assert set(follower.znodes) == {"/f", "/f/a"}


def test_a_pause_while_disconnected_does_not_keep_the_session_alive(
    world: MemoryWorld, store: MemoryStore, caller: Caller
) -> None:
    caller.must(Create("/e", ephemeral=True))
    store.disconnect()
    store.pause()
    store.resume()
    world.settle()
    assert world.ensemble.read("/e") is None
    assert caller.connections == [CONNECTED, SUSPENDED, LOST]


def test_the_same_seed_gives_the_same_run() -> None:
    def run(seed: int) -> list[object]:
        world = MemoryWorld(seed)
        callers = [Caller(world) for _ in range(3)]
        news: list[object] = []
        callers[0].make("/l")
        for caller in callers:
            caller.store.feed(["/l"], news.append)
            for _ in range(10):
                caller.store.contend("/l", b"", news.append)
        world.settle()
        return news

    assert run(1) == run(1)
    assert run(1) != run(2)
