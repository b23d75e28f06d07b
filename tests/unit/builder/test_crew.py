"""A few threads that do what they are given, and how they end."""

from __future__ import annotations

import queue
import threading
from functools import partial

from nodepool.builder.crew import Crew

WAIT = 30.0


def test_no_more_at_once_than_there_are_threads() -> None:
    crew, gate = Crew("crew", 2), threading.Event()
    begun: queue.SimpleQueue[int] = queue.SimpleQueue()
    ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def act(number: int) -> None:
        begun.put(number)
        assert gate.wait(WAIT)

    for number in range(3):
        assert crew.submit(partial(act, number))
    assert {begun.get(timeout=WAIT), begun.get(timeout=WAIT)} == {0, 1}
    assert begun.empty()
    crew.end(lambda: ended.put(None))
    assert ended.empty()
    gate.set()
    assert begun.get(timeout=WAIT) == 2
    ended.get(timeout=WAIT)


def test_after_the_end_nothing_is_taken() -> None:
    crew = Crew("crew", 1)
    ended: list[str] = []
    crew.end(lambda: ended.append("ended"))
    assert ended == ["ended"]
    assert not crew.submit(lambda: ended.append("done"))
    assert ended == ["ended"]


def test_what_fails_stops_nobody() -> None:
    crew = Crew("crew", 1)
    done: queue.SimpleQueue[str] = queue.SimpleQueue()

    def fail() -> None:
        raise ZeroDivisionError

    crew.submit(fail)
    crew.submit(lambda: done.put("done"))
    assert done.get(timeout=WAIT) == "done"
