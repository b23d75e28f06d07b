"""The order of calls."""

from __future__ import annotations

from nodepool.driver.call_queue import CallQueue, Lane


def queue_of(**calls: list[int]) -> CallQueue[str]:
    queue: CallQueue[str] = CallQueue()
    for lane, keys in calls.items():
        for key in keys:
            queue.add(Lane[lane], key, f"{lane}{key}")
    return queue


def drained(queue: CallQueue[str]) -> list[str]:
    calls = []
    while (call := queue.next()) is not None:
        calls.append(call)
    return calls


def test_lanes_take_turns_and_each_keeps_its_order() -> None:
    queue = queue_of(CREATE=[1, 2, 3, 4], DELETE=[1, 2], OTHER=[1])
    assert len(queue) == 7
    assert drained(queue) == ["CREATE1", "DELETE1", "OTHER1", "CREATE2", "DELETE2", "CREATE3", "CREATE4"]
    assert len(queue) == 0


def test_a_lane_that_has_waited_empty_goes_before_the_one_that_was_served_last() -> None:
    queue = queue_of(CREATE=[1, 2, 3])
    assert [queue.next(), queue.next()] == ["CREATE1", "CREATE2"]
    queue.add(Lane.DELETE, 1, "DELETE1")
    assert drained(queue) == ["DELETE1", "CREATE3"]


def test_what_may_wait_waits_for_everything() -> None:
    queue = queue_of(IDLE=[1], OTHER=[1, 2])
    queue.add(Lane.CREATE, 1, "CREATE1")
    assert drained(queue) == ["CREATE1", "OTHER1", "OTHER2", "IDLE1"]


def test_of_calls_with_one_key_the_first_is_made() -> None:
    queue = queue_of(DELETE=[1])
    queue.add(Lane.DELETE, 1, "another")
    queue.add(Lane.CREATE, 1, "CREATE1")
    assert sorted(drained(queue)) == ["CREATE1", "DELETE1"]


def test_what_is_put_back_comes_first() -> None:
    queue = queue_of(CREATE=[1, 2])
    first = queue.next()
    assert first == "CREATE1"
    queue.put_back(Lane.CREATE, 1, first)
    assert drained(queue) == ["CREATE1", "CREATE2"]


def test_calls_can_be_taken_out() -> None:
    queue = queue_of(CREATE=[1, 2, 3], DELETE=[1])
    assert queue.remove(Lane.CREATE, 2) == "CREATE2"
    assert queue.remove(Lane.CREATE, 2) is None
    assert list(queue) == ["CREATE1", "CREATE3", "DELETE1"]
    assert queue.clear(Lane.CREATE) == ["CREATE1", "CREATE3"]
    assert drained(queue) == ["DELETE1"]
