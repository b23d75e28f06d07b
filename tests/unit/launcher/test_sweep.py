"""What becomes of records that nobody works on: each state, each age, each limit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodepool.driver.adapter import Server, ServerState
from nodepool.launcher.sweep import NOTHING, ORPHAN_GRACE, Fate, Task, fate_of_node, is_lost, leaks
from nodepool.model.node import Node
from nodepool.model.reasons import DeleteReason
from nodepool.model.request import NodeRequest
from nodepool.model.states import NodeState, RequestState

SINCE = 1000.0
NODE = "0000000001"


def node(state: NodeState, **fields: Any) -> Node:
    return Node(id=NODE, state=state, state_time=SINCE, type=("a",)).replace(**fields)


def request(state: RequestState, *nodes: str) -> NodeRequest:
    return NodeRequest(id="100-0000000001", state=state, nodes=nodes)


def fate(
    one: Node,
    now: float = SINCE,
    request: NodeRequest | None = None,
    launcher_alive: bool = True,
    max_ready_age: int = 0,
    max_hold_age: int = 0,
) -> Fate:
    return fate_of_node(
        one,
        request=request,
        launcher_alive=launcher_alive,
        max_ready_age=max_ready_age,
        max_hold_age=max_hold_age,
        now=now,
    )


# Garbage

REASONS = {
    NodeState.USED: DeleteReason.USED,
    NodeState.IN_USE: DeleteReason.ABANDONED,
    NodeState.BUILDING: DeleteReason.ORPHANED,
    NodeState.FAILED: DeleteReason.FAILED,
    NodeState.ABORTED: DeleteReason.ABORTED,
    NodeState.DELETING: DeleteReason.UNFINISHED,
    NodeState.DELETED: DeleteReason.UNFINISHED,
}


@pytest.mark.parametrize(("state", "reason"), REASONS.items())
@pytest.mark.parametrize("owner", [None, *RequestState])
def test_garbage_goes_whatever_its_request_says(
    state: NodeState, reason: DeleteReason, owner: RequestState | None
) -> None:
    allocated = node(state, allocated_to="100-0000000001" if owner else None)
    wanted = request(owner, NODE) if owner else None
    assert fate(allocated, request=wanted) == Fate(Task.DELETE, reason)


@pytest.mark.parametrize("state", [state for state in NodeState if state not in REASONS])
def test_all_else_stays_without_a_limit(state: NodeState) -> None:
    assert fate(node(state), SINCE).task is Task.NOTHING


def test_a_node_under_test_is_left_to_whoever_wrote_that() -> None:
    assert fate(node(NodeState.TESTING), SINCE + 1e6, max_ready_age=1, max_hold_age=1) == NOTHING


# Ready and allocated


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        (None, Task.FREE),
        (request(RequestState.REQUESTED), Task.FREE),
        (request(RequestState.FAILED), Task.FREE),
        (request(RequestState.PENDING), Task.NOTHING),
        (request(RequestState.FULFILLED, NODE), Task.NOTHING),
        (request(RequestState.FULFILLED, "0000000002"), Task.FREE),
        (request(RequestState.FULFILLED), Task.FREE),
    ],
    ids=["gone", "requested", "failed", "pending", "fulfilled", "fulfilled with others", "fulfilled with none"],
)
def test_a_reserved_node_is_freed_when_its_request_does_not_want_it(owner: NodeRequest | None, expected: Task) -> None:
    assert fate(node(NodeState.READY, allocated_to="100-0000000001"), request=owner) == Fate(expected)


def test_a_reserved_node_has_no_age() -> None:
    reserved = node(NodeState.READY, allocated_to="100-0000000001")
    assert fate(reserved, SINCE + 1e6, request(RequestState.PENDING), max_ready_age=1) == NOTHING


# Ages


def test_a_free_node_goes_at_its_age() -> None:
    free = node(NodeState.READY)
    assert fate(free, SINCE + 9.9, max_ready_age=10) == Fate(Task.NOTHING, at=SINCE + 10)
    assert fate(free, SINCE + 10, max_ready_age=10) == Fate(Task.DELETE, DeleteReason.TOO_OLD)


@pytest.mark.parametrize("limit", [0, -1])
def test_without_a_limit_a_free_node_stays(limit: int) -> None:
    assert fate(node(NodeState.READY), SINCE + 1e9, max_ready_age=limit) == NOTHING


@pytest.mark.parametrize(
    ("own", "general", "limit"),
    [
        (None, 0, None),
        (0, 0, None),
        (-1, 0, None),
        (10, 0, 10),
        (0, 20, 20),
        (None, 20, 20),
        (10, 20, 10),
        (30, 20, 20),
        (-5, 20, 20),
    ],
)
def test_the_smaller_limit_of_hold_wins(own: int | None, general: int, limit: int | None) -> None:
    held = node(NodeState.HOLD, hold_expiration=own)
    if limit is None:
        assert fate(held, SINCE + 1e9, max_hold_age=general) == NOTHING
    else:
        assert fate(held, SINCE + limit - 0.5, max_hold_age=general) == Fate(Task.NOTHING, at=SINCE + limit)
        assert fate(held, SINCE + limit, max_hold_age=general) == Fate(Task.DELETE, DeleteReason.HELD_TOO_LONG)


def test_limits_are_not_mixed_up() -> None:
    assert fate(node(NodeState.READY, hold_expiration=5), SINCE + 1e6, max_hold_age=5) == NOTHING
    assert fate(node(NodeState.HOLD), SINCE + 1e6, max_ready_age=5) == NOTHING


def test_a_record_without_a_time_is_old() -> None:
    ageless = node(NodeState.READY, state_time=None)
    assert fate(ageless, SINCE, max_ready_age=10) == Fate(Task.DELETE, DeleteReason.TOO_OLD)


# New records


@pytest.mark.parametrize(
    ("owner", "alive", "grace"),
    [
        (request(RequestState.PENDING), True, ORPHAN_GRACE),
        (request(RequestState.PENDING), False, 1.0),
        (request(RequestState.REQUESTED), True, 1.0),
        (request(RequestState.FAILED), True, 1.0),
        (None, True, 1.0),
        (None, False, 1.0),
    ],
)
def test_a_new_record_has_time_to_be_locked(owner: NodeRequest | None, alive: bool, grace: float) -> None:
    new = node(NodeState.INIT, allocated_to="100-0000000001")
    assert fate(new, SINCE + grace - 0.1, owner, alive) == Fate(Task.NOTHING, at=SINCE + grace)
    assert fate(new, SINCE + grace, owner, alive) == Fate(Task.DELETE, DeleteReason.ORPHANED)


# Requests


@pytest.mark.parametrize("state", list(RequestState))
@pytest.mark.parametrize("locked", [True, False])
def test_only_a_pending_request_without_a_lock_is_lost(state: RequestState, locked: bool) -> None:
    assert is_lost(request(state), locked) is (state is RequestState.PENDING and not locked)


# Leaks


def server(external_id: Any) -> Server:
    return Server(external_id, ServerState.ACTIVE)


def test_a_leak_is_deleted_when_it_is_found_twice() -> None:
    stray = ("7", server("x"))
    assert leaks([stray], frozenset(), frozenset()) == ([], frozenset({"x"}))
    assert leaks([stray], frozenset(), frozenset({"x"})) == ([stray[1]], frozenset({"x"}))


def test_what_has_a_node_is_no_leak_even_if_it_was_suspected() -> None:
    assert leaks([("1", server("x"))], {"1"}, frozenset({"x"})) == ([], frozenset())


def test_a_suspect_that_was_gone_in_between_begins_anew() -> None:
    _, suspects = leaks([("7", server("x"))], frozenset(), frozenset())
    _, suspects = leaks([], frozenset(), suspects)
    assert leaks([("7", server("x"))], frozenset(), suspects)[0] == []


def test_external_ids_may_be_objects() -> None:
    odd = server({"name": "x"})
    _, suspects = leaks([("7", odd)], frozenset(), frozenset())
    assert leaks([("7", odd)], frozenset(), suspects)[0] == [odd]


@given(st.lists(st.sets(st.integers(0, 5)), max_size=6), st.sets(st.integers(0, 5)))
def test_deleted_is_what_was_a_stray_in_two_lists_in_a_row(lists: list[set[int]], known: set[int]) -> None:
    suspects: frozenset[str] = frozenset()
    before: set[int] = set()
    for present in lists:
        servers = [(str(number), server(f"x{number}")) for number in sorted(present)]
        deleted, suspects = leaks(servers, {str(number) for number in known}, suspects)
        strays = present - known
        assert [one.external_id for one in deleted] == [f"x{number}" for number in sorted(strays & before)]
        before = strays
