"""The calls of one provider, with real threads and a target that does as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nodepool.driver.breaker import MOST_FAILURES, Circuit, Health
from nodepool.driver.call_pool import Call, CallLimits, CallPool, Result
from nodepool.driver.call_queue import Lane
from nodepool.driver.errors import CloudError, NotBegun, QuotaExceeded, RateLimited, Unauthorized, UnknownOutcome
from nodepool.driver.openstack.pace import Pace
from tests.zookeeper import eventually

BROKEN = CloudError("connection refused")
QUICK = CallLimits(threads=4, deadline=0.1, margin=0.1, doubt=0.0)
"""Calls that take longer than 0.2 seconds are given up."""
REAL_LOCK = threading.Lock


class Target:
    """Whom to call: calls end when their gate is open, with the error that is due."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.errors: dict[str, CloudError] = {}
        """By the name of a call, or ``*`` for all."""
        self.once: dict[str, list[CloudError]] = {}
        """By name: errors of the first calls."""
        self.gates: dict[str, threading.Event] = {}
        self.under_way = 0
        self.peak = 0
        self._lock = threading.Lock()

    def shut(self, name: str) -> threading.Event:
        """Let calls of a name hang until the gate that is returned is set."""
        return self.gates.setdefault(name, threading.Event())

    def call(self, name: str) -> str:
        """One call."""
        with self._lock:
            self.begun.append(name)
            self.under_way += 1
            self.peak = max(self.peak, self.under_way)
            gate = self.gates.get(name)
        assert gate is None or gate.wait(20)
        with self._lock:
            self.under_way -= 1
            error = self.once[name].pop(0) if self.once.get(name) else self.errors.get(name) or self.errors.get("*")
        if error is not None:
            raise error
        return f"result of {name}"


class World:
    """A pool, its target, and what was told."""

    def __init__(self) -> None:
        self.target = Target()
        self.results: dict[str, list[Result]] = {}
        self.told: list[Health] = []
        self.pools: list[CallPool[Target]] = []
        self.ended: list[str] = []

    def pool(self, limits: CallLimits | None = None, interval: float = 0.0, start: bool = True) -> CallPool[Target]:
        """A pool; its threads are named after its number."""
        poll = self.make(Lane.OTHER, "poll")
        name = f"{id(self)}-{len(self.pools)}"
        pool = CallPool(
            name, self.target, poll, interval, self.told.append, limits or CallLimits(doubt=0.0), lambda: 0.999
        )
        self.pools.append(pool)
        if start:
            pool.start()
        return pool

    def make(self, lane: Lane, name: str) -> Call[Target]:
        """A call."""

        def done(result: Result) -> None:
            self.results.setdefault(name, []).append(result)

        return Call(lane, name, lambda target, _: target.call(name), done)

    def submit(self, pool: CallPool[Target], lane: Lane, *names: str) -> None:
        """Have calls made."""
        for name in names:
            pool.submit(self.make(lane, name))

    def errors(self, *names: str) -> list[CloudError | None]:
        """First errors of calls that have ended."""
        return [self.results[name][0].error for name in names]

    def threads(self) -> int:
        """Threads of all pools."""
        return sum(str(id(self)) in thread.name for thread in threading.enumerate())

    def end(self, name: str) -> Callable[[], None]:
        return lambda: self.ended.append(name)

    def open_breaker(self, pool: CallPool[Target]) -> None:
        """Let the target refuse all connections until the pool knows."""
        self.target.errors["*"] = BROKEN
        for number in range(MOST_FAILURES):
            self.submit(pool, Lane.OTHER, f"failure {number}")
        eventually(lambda: self.told and self.told[-1].circuit is Circuit.OPEN)

    @property
    def circuits(self) -> list[Circuit]:
        """States that were told, without repetitions."""
        told = [health.circuit for health in self.told]
        return [one for number, one in enumerate(told) if number == 0 or told[number - 1] is not one]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.target.errors.clear()
    for gate in world.target.gates.values():
        gate.set()
    for number, pool in enumerate(world.pools):
        if not pool._ending:
            pool.end(world.end(str(number)))
    eventually(lambda: world.threads() == 0)


# Away and back


def test_while_the_provider_is_away_only_one_probe_is_made_at_a_time(world: World) -> None:
    pool = world.pool()
    world.open_breaker(pool)
    begun = len(world.target.begun)
    world.submit(pool, Lane.CREATE, "create")
    world.submit(pool, Lane.DELETE, "delete")
    world.submit(pool, Lane.OTHER, "other")
    eventually(lambda: "poll" in world.results)
    world.target.errors.clear()
    assert "create" not in world.results
    eventually(lambda: {"create", "delete", "other"} <= world.results.keys())
    assert world.target.begun[begun : begun + 2] == ["poll", "poll"]
    assert world.errors("create", "delete", "other") == [None, None, None]
    assert world.circuits == [Circuit.OPEN, Circuit.HALF_OPEN, Circuit.OPEN, Circuit.HALF_OPEN, Circuit.CLOSED]
    assert [result.error is None for result in world.results["poll"]] == [False, True]


def test_a_probe_that_takes_long_holds_everything_up(world: World) -> None:
    pool = world.pool()
    gate = world.target.shut("poll")
    world.open_breaker(pool)
    world.submit(pool, Lane.DELETE, "delete")
    pool.poll_at(0.0)
    eventually(lambda: world.target.under_way == 1)
    begun = list(world.target.begun)
    assert begun[-1] == "poll"
    world.submit(pool, Lane.DELETE, "another")
    world.target.errors.clear()
    gate.set()
    eventually(lambda: "another" in world.results)
    assert world.target.begun[: len(begun) + 2] == [*begun, "delete", "another"]


def test_why_and_until_when_it_is_away_is_told(world: World) -> None:
    pool = world.pool()
    before = time.time()
    world.open_breaker(pool)
    health = world.told[-1]
    assert health.away
    assert health.error == "connection refused"
    assert before <= health.since <= time.time()
    assert health.next_try is not None
    assert health.since < health.next_try < health.since + 1.1
    world.target.errors.clear()
    eventually(lambda: not world.told[-1].away)
    assert world.told[-1].since >= health.next_try
    assert world.told[-1].next_try is None


def test_credentials_that_are_refused_are_not_tried_by_every_call(world: World) -> None:
    pool = world.pool(CallLimits(threads=1, doubt=0.0))
    world.target.errors["*"] = Unauthorized("HTTP 401")
    world.submit(pool, Lane.CREATE, "1", "2", "3")
    eventually(lambda: world.told)
    assert world.told[0].error == "HTTP 401"
    assert world.results.keys() == {"1"}
    world.target.errors.clear()
    eventually(lambda: "3" in world.results)
    assert world.errors("2", "3") == [None, None]


def test_creations_are_given_back_when_it_stays_away(world: World) -> None:
    pool = world.pool(CallLimits(patience=0.2, doubt=0.0))
    world.target.shut("poll")
    world.open_breaker(pool)
    world.submit(pool, Lane.CREATE, "waiting")
    world.submit(pool, Lane.DELETE, "delete")
    eventually(lambda: "waiting" in world.results)
    world.submit(pool, Lane.CREATE, "late")
    assert [type(error) for error in world.errors("waiting", "late")] == [NotBegun, NotBegun]
    assert "connection refused" in str(world.errors("late")[0])
    assert not {"waiting", "late", "delete"} & set(world.target.begun)
    world.target.errors.clear()
    world.target.gates["poll"].set()
    eventually(lambda: "delete" in world.results)
    world.submit(pool, Lane.CREATE, "new")
    eventually(lambda: "new" in world.results)
    assert world.errors("delete", "new") == [None, None]


def test_refusals_of_single_calls_do_not_count(world: World) -> None:
    pool = world.pool()
    world.target.errors["*"] = QuotaExceeded("full")
    names = [str(number) for number in range(3 * MOST_FAILURES)]
    world.submit(pool, Lane.CREATE, *names)
    eventually(lambda: len(world.results) == len(names))
    assert all(isinstance(error, QuotaExceeded) for error in world.errors(*names))
    assert world.told == []


# Too many calls


def test_a_call_that_is_refused_because_there_are_too_many_is_made_again(world: World) -> None:
    pool = world.pool(CallLimits(threads=1, doubt=0.0))
    world.target.once["1"] = [RateLimited("HTTP 429", 0.1)]
    world.submit(pool, Lane.CREATE, "1", "2")
    began = time.monotonic()
    eventually(lambda: "2" in world.results)
    assert world.target.begun == ["1", "1", "2"]
    assert world.errors("1", "2") == [None, None]
    assert len(world.results["1"]) == 1
    assert time.monotonic() - began >= 0.9
    assert not world.told[0].away
    assert world.told[0].pause_error == "HTTP 429"
    assert world.told[0].paused_until > time.time() - 1.0


def test_the_poll_too(world: World) -> None:
    pool = world.pool()
    world.target.once["poll"] = [RateLimited("HTTP 429")]
    pool.poll_at(0.0)
    eventually(lambda: "poll" in world.results)
    assert world.target.begun == ["poll", "poll"]
    assert world.errors("poll") == [None]


def test_a_cloud_that_always_refuses_is_not_asked_for_ever(world: World) -> None:
    pool = world.pool(CallLimits(repeats=0.0, doubt=0.0))
    world.target.errors["*"] = RateLimited("HTTP 429")
    world.submit(pool, Lane.CREATE, "1")
    eventually(lambda: "1" in world.results)
    assert isinstance(world.errors("1")[0], RateLimited)


def test_calls_that_pace_themselves_take_their_turns(world: World) -> None:
    pace = Pace(0.01)
    limits = CallLimits(deadline=0.3, doubt=0.0)
    pool = world.pool(limits)
    names = [str(number) for number in range(100)]
    for name in names:

        def do(target: Target, deadline: float, name: str = name) -> Any:
            pace.wait(deadline)
            return target.call(name)

        call = world.make(Lane.CREATE, name)
        call.do = do
        pool.submit(call)
    eventually(lambda: len(world.results) == len(names))
    assert world.errors(*names) == [None] * len(names)
    assert len(world.target.begun) == len(names)
    assert world.told == []


# Drivers that hang


def test_a_call_that_does_not_end_is_given_up_and_its_thread_replaced(world: World) -> None:
    pool = world.pool(QUICK)
    names = [str(number) for number in range(QUICK.threads)]
    gates = [world.target.shut(name) for name in names]
    world.submit(pool, Lane.CREATE, *names)
    eventually(lambda: world.target.under_way == QUICK.threads)
    threads = world.threads()
    eventually(lambda: len(world.results) == QUICK.threads)
    assert all(isinstance(error, UnknownOutcome) for error in world.errors(*names))
    assert "0.1 s after its deadline" in str(world.errors("0")[0])
    world.submit(pool, Lane.DELETE, "next")
    eventually(lambda: "next" in world.results)
    assert world.threads() == threads + QUICK.threads
    for gate in gates:
        gate.set()
    eventually(lambda: world.threads() == threads)
    assert [[result.value for result in world.results[name]] for name in names] == [
        [None, f"result of {name}"] for name in names
    ]


def test_hanging_calls_count_for_the_breaker_and_are_reported_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    limits = CallLimits(threads=MOST_FAILURES, deadline=0.05, margin=0.05, most_given_up=2, doubt=0.0)
    pool = world.pool(limits)
    for name in (*"12345", "poll"):
        world.target.shut(name)
    world.submit(pool, Lane.OTHER, *"12345")
    eventually(lambda: len(world.results) == MOST_FAILURES)
    eventually(lambda: world.told)
    assert world.told[0].circuit is Circuit.OPEN
    assert [record.getMessage().count("after its deadline") for record in caplog.records] == [1]
    assert world.threads() == MOST_FAILURES + 2 + limits.most_given_up


def test_a_poll_that_hangs_does_not_keep_the_provider_away(world: World) -> None:
    pool = world.pool(QUICK)
    first = world.target.shut("poll")
    pool.poll_at(0.0)
    eventually(lambda: "poll" in world.results)
    del world.target.gates["poll"]
    pool.poll_at(0.0)
    eventually(lambda: len(world.results["poll"]) == 2)
    assert isinstance(world.results["poll"][0].error, UnknownOutcome)
    assert world.results["poll"][1].error is None
    first.set()
    eventually(lambda: world.target.under_way == 0 and world.threads() == 3)
    assert len(world.results["poll"]) == 2, "what it told in the end is old"


def test_a_provider_that_hung_for_a_while_recovers(world: World) -> None:
    limits = CallLimits(threads=1, deadline=0.05, margin=0.05, most_given_up=1, doubt=0.0)
    pool = world.pool(limits)
    gates = [world.target.shut(name) for name in ("1", "2", "poll")]
    pool.poll_at(0.0)
    world.submit(pool, Lane.CREATE, "1", "2", "3")
    eventually(lambda: {"poll", "1"} <= world.results.keys())
    for gate in gates:
        gate.set()
    eventually(lambda: "3" in world.results)
    assert world.errors("3") == [None]
    eventually(lambda: world.threads() == 3)


class PoliteLock:
    """A lock that lets others go first: whoever gives it back is not the next to run."""

    def __init__(self) -> None:
        self._lock = REAL_LOCK()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        self._lock.release()
        time.sleep(0.005)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def test_the_thread_that_was_in_place_of_another_does_not_leave_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Lock", PoliteLock)
        pool = world.pool(CallLimits(threads=1, deadline=0.05, margin=0.05, most_given_up=1), start=False)
    pool.start()
    gate = world.target.shut("1")
    world.submit(pool, Lane.CREATE, "1")
    eventually(lambda: "1" in world.results)
    gate.set()
    eventually(lambda: len(world.results["1"]) == 2)
    eventually(lambda: world.threads() == 3)
    world.submit(pool, Lane.CREATE, "2")
    eventually(lambda: "2" in world.results)


# Order and end


def test_a_hundred_creations_do_not_hold_up_a_deletion(world: World) -> None:
    pool = world.pool(CallLimits(threads=1, doubt=0.0))
    gate = world.target.shut("first")
    world.submit(pool, Lane.CREATE, "first")
    eventually(lambda: world.target.under_way == 1)
    world.submit(pool, Lane.CREATE, *(str(number) for number in range(100)))
    world.submit(pool, Lane.IDLE, "idle")
    world.submit(pool, Lane.DELETE, "delete", "delete", "another")
    gate.set()
    eventually(lambda: "idle" in world.results)
    assert world.target.begun[:5] == ["first", "delete", "0", "another", "1"]
    assert world.target.begun[-1] == "idle"
    assert world.target.begun.count("delete") == 1


def test_what_waits_can_be_withdrawn_here_and_from_a_successor(world: World) -> None:
    pool, successor = world.pool(CallLimits(threads=1, doubt=0.0)), world.pool(start=False)
    gate = world.target.shut("first")
    world.submit(pool, Lane.CREATE, "first", "1", "2")
    eventually(lambda: world.target.under_way == 1)
    assert pool.withdraw(Lane.CREATE, "first") is None
    found = pool.withdraw(Lane.CREATE, "1")
    assert found is not None
    assert found.key == "1"
    pool.end(world.end("first"), successor)
    assert pool.withdraw(Lane.CREATE, "2") is not None
    world.submit(pool, Lane.CREATE, "3")
    successor.start()
    gate.set()
    eventually(lambda: "3" in world.results and world.ended == ["first"])
    assert world.target.begun == ["first", "3"]


def test_a_successor_tells_how_it_is(world: World) -> None:
    pool, successor = world.pool(), world.pool()
    world.open_breaker(pool)
    world.target.errors.clear()
    pool.end(world.end("first"), successor)
    eventually(lambda: not world.told[-1].away)


def test_a_call_that_is_refused_during_the_end_goes_to_the_successor(world: World) -> None:
    pool, successor = world.pool(), world.pool()
    gate = world.target.shut("1")
    world.target.once["1"] = [RateLimited("HTTP 429")]
    world.submit(pool, Lane.CREATE, "1")
    eventually(lambda: world.target.under_way == 1)
    pool.end(world.end("first"), successor)
    gate.set()
    eventually(lambda: "1" in world.results)
    assert world.errors("1") == [None]


def test_the_end_is_told_when_the_last_call_has_ended_even_one_that_was_given_up(world: World) -> None:
    pool = world.pool(QUICK)
    gate = world.target.shut("1")
    world.submit(pool, Lane.CREATE, "1")
    eventually(lambda: world.target.under_way == 1)
    pool.end(world.end("pool"))
    eventually(lambda: "1" in world.results)
    assert world.ended == []
    gate.set()
    eventually(lambda: world.ended == ["pool"])
    eventually(lambda: len(world.results["1"]) == 2)
    assert world.results["1"][1].value == "result of 1"
