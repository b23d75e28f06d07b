"""The decision thread, around a core of which the test says what it does."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from nodepool.daemon.decisions import DecisionThread
from tests.zookeeper import eventually

WAIT = 30.0
STOP, FAIL, HANG = "stop", "fail", "hang"


class Echo:
    """Asks for what it is told; wakes by itself ``pauses`` times, and asks for "woken" then."""

    def __init__(self, pauses: int = 0) -> None:
        self.pauses = pauses
        self.stopped = False
        self.let_go = threading.Event()
        self.failures: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._now = 0.0

    def handle(self, events: Iterable[str], now: float) -> list[str]:
        """All events, or "woken"; notes a stop, hangs or fails where it is told to."""
        self._now = now
        told = list(events)
        if HANG in told:
            self.let_go.wait(WAIT)
        if FAIL in told:
            raise ZeroDivisionError
        self.stopped = self.stopped or STOP in told
        if not told:
            self.pauses -= 1
        return told or ["woken"]

    def next_wake(self) -> float | None:
        """At once, while there are pauses."""
        return self._now if self.pauses else None

    def failed(self, now: float) -> None:
        """Note when."""
        self.failures.put(now)


class Scene:
    """A decision thread with its inbox, and all that came out of it."""

    def __init__(self, core: Echo) -> None:
        self.core = core
        self.inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.out: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.stops: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.thread = DecisionThread[str, str](self.inbox, core, self._carry_out)

    def _carry_out(self, instructions: Iterable[str]) -> None:
        for instruction in instructions:
            self.out.put(instruction)


@contextmanager
def running(core: Echo) -> Iterator[Scene]:
    """A thread that decides until the end of the test."""
    scene = Scene(core)
    scene.thread.start(lambda: scene.stops.put(None))
    try:
        yield scene
    finally:
        scene.thread.end()


def test_events_are_decided_on_in_order() -> None:
    with running(Echo()) as scene:
        for event in "abc":
            scene.inbox.put(event)
        assert [scene.out.get(timeout=WAIT) for _ in "abc"] == ["a", "b", "c"]


def test_the_core_wakes_by_itself() -> None:
    with running(Echo(pauses=2)) as scene:
        assert [scene.out.get(timeout=WAIT) for _ in range(2)] == ["woken", "woken"]
        scene.inbox.put("a")
        assert scene.out.get(timeout=WAIT) == "a"


def test_a_decision_that_fails_ends_nothing_and_is_told() -> None:
    with running(Echo()) as scene:
        scene.inbox.put(FAIL)
        failed_at = scene.core.failures.get(timeout=WAIT)
        scene.inbox.put("a")
        assert scene.out.get(timeout=WAIT) == "a"
        assert failed_at > 0.0
        assert scene.core.failures.empty()


def test_a_stop_is_told_once() -> None:
    with running(Echo()) as scene:
        scene.inbox.put(STOP)
        assert scene.out.get(timeout=WAIT) == STOP
        scene.stops.get(timeout=WAIT)
        scene.inbox.put("a")
        assert scene.out.get(timeout=WAIT) == "a"
        scene.thread.end()
        assert scene.stops.empty()


def test_after_the_end_nothing_is_decided() -> None:
    with running(Echo()) as scene:
        scene.inbox.put("a")
        assert scene.out.get(timeout=WAIT) == "a"
        scene.thread.end()
        scene.inbox.put("b")
        assert scene.out.empty()


def test_a_decision_that_does_not_end_is_seen() -> None:
    with running(Echo()) as scene:
        scene.inbox.put("a")
        assert scene.out.get(timeout=WAIT) == "a"
        scene.inbox.put(HANG)
        eventually(lambda: scene.thread.stuck_for() > 0.01)
        scene.core.let_go.set()
        assert scene.out.get(timeout=WAIT) == HANG
        eventually(lambda: scene.thread.stuck_for() == 0.0)


def test_a_thread_that_never_started_can_end() -> None:
    scene = Scene(Echo())
    scene.thread.end()
    assert scene.inbox.get_nowait() is None
    assert scene.thread.stuck_for() == 0.0
