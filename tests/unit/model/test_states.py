"""The tables of states and transitions (spec zookeeper 5)."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from nodepool.model import states
from nodepool.model.node import Node
from nodepool.model.states import (
    BUILD_TRANSITIONS,
    GARBAGE_WHEN_UNLOCKED,
    NODE_TRANSITIONS,
    REQUEST_TRANSITIONS,
    UPLOAD_TRANSITIONS,
    BuildState,
    IllegalTransition,
    NodeState,
    RequestState,
    UploadState,
    check_transition,
    may_follow,
)

TABLES: list[tuple[type[StrEnum], Mapping[Any, tuple[Any, ...]]]] = [
    (NodeState, NODE_TRANSITIONS),
    (RequestState, REQUEST_TRANSITIONS),
    (BuildState, BUILD_TRANSITIONS),
    (UploadState, UPLOAD_TRANSITIONS),
]
NEVER_WRITTEN = {NodeState.TESTING}


def test_the_words_are_those_of_nodepool_11() -> None:
    """Spec cli 4."""
    nodes = "init building testing ready in-use used hold deleting failed aborted deleted"
    assert {state.value for state in NodeState} == set(nodes.split())
    assert {state.value for state in RequestState} == {"requested", "pending", "fulfilled", "failed"}
    assert {state.value for state in BuildState} == {"building", "ready", "failed", "deleting"}
    assert {state.value for state in UploadState} == {"uploading", "ready", "failed", "deleting"}


@pytest.mark.parametrize(("enum", "table"), TABLES)
def test_every_state_has_its_row(enum: type[StrEnum], table: Mapping[Any, tuple[Any, ...]]) -> None:
    assert set(table) == {None, *enum}
    assert all(isinstance(state, enum) for row in table.values() for state in row)


@pytest.mark.parametrize(("enum", "table"), TABLES)
def test_every_state_can_be_reached(enum: type[StrEnum], table: Mapping[Any, tuple[Any, ...]]) -> None:
    reached: set[Any] = set()
    todo: list[Any] = [None]
    while todo:
        new = set(table[todo.pop()]) - reached
        reached |= new
        todo.extend(new)
    assert reached == set(enum) - NEVER_WRITTEN


@pytest.mark.parametrize("end", [NodeState.DELETED])
def test_every_node_can_come_to_its_end(end: NodeState) -> None:
    for start in NodeState:
        seen, todo = {start}, [start]
        while todo:
            new = set(NODE_TRANSITIONS[todo.pop()]) - seen
            seen |= new
            todo.extend(new)
        assert end in seen, start


def test_every_member_says_what_is_held_or_waited_for() -> None:
    tree = ast.parse(inspect.getsource(states))
    for body in (node.body for node in tree.body if isinstance(node, ast.ClassDef) and _is_enum(node)):
        members = [(place, entry) for place, entry in enumerate(body) if isinstance(entry, ast.Assign)]
        assert members
        for place, entry in members:
            after = body[place + 1] if place + 1 < len(body) else None
            documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            assert documented, ast.unparse(entry)


def _is_enum(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "StrEnum" for base in node.bases)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (None, NodeState.INIT),
        (None, NodeState.READY),
        (NodeState.INIT, NodeState.BUILDING),
        (NodeState.INIT, NodeState.DELETING),
        (NodeState.BUILDING, NodeState.READY),
        (NodeState.BUILDING, NodeState.ABORTED),
        (NodeState.BUILDING, NodeState.FAILED),
        (NodeState.READY, NodeState.READY),
        (NodeState.READY, NodeState.IN_USE),
        (NodeState.READY, NodeState.DELETING),
        (NodeState.IN_USE, NodeState.USED),
        (NodeState.IN_USE, NodeState.HOLD),
        (NodeState.HOLD, NodeState.USED),
        (NodeState.HOLD, NodeState.DELETING),
        (NodeState.USED, NodeState.DELETING),
        (NodeState.DELETING, NodeState.DELETED),
        (RequestState.REQUESTED, RequestState.REQUESTED),
        (RequestState.REQUESTED, RequestState.PENDING),
        (RequestState.REQUESTED, RequestState.FAILED),
        (RequestState.PENDING, RequestState.FULFILLED),
        (RequestState.PENDING, RequestState.REQUESTED),
        (RequestState.PENDING, RequestState.FAILED),
        (BuildState.BUILDING, BuildState.DELETING),
        (BuildState.FAILED, BuildState.DELETING),
        (UploadState.UPLOADING, UploadState.FAILED),
        (UploadState.READY, UploadState.DELETING),
    ],
)
def test_rows_of_the_specification(old: StrEnum | None, new: StrEnum) -> None:
    assert may_follow(old, new)
    check_transition(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (None, NodeState.IN_USE),
        (NodeState.INIT, NodeState.READY),
        (NodeState.USED, NodeState.READY),
        (NodeState.USED, NodeState.IN_USE),
        (NodeState.HOLD, NodeState.READY),
        (NodeState.DELETING, NodeState.READY),
        (NodeState.DELETED, NodeState.DELETING),
        (NodeState.FAILED, NodeState.READY),
        (RequestState.REQUESTED, RequestState.FULFILLED),
        (RequestState.FULFILLED, RequestState.REQUESTED),
        (RequestState.FAILED, RequestState.PENDING),
        (BuildState.READY, BuildState.BUILDING),
        (UploadState.READY, UploadState.UPLOADING),
    ],
)
def test_what_would_undo_somebody_elses_word_is_refused(old: StrEnum | None, new: StrEnum) -> None:
    assert not may_follow(old, new)
    with pytest.raises(IllegalTransition, match=new.value):
        check_transition(old, new)


def test_a_record_refuses_an_illegal_change() -> None:
    with pytest.raises(IllegalTransition):
        Node(id="1", state=NodeState.USED).in_state(NodeState.READY, 1.0)


def test_every_state_without_a_lock_is_either_garbage_or_explained() -> None:
    """Spec zookeeper 5.2: what is unlocked in a sweep state belongs to nobody."""
    waits = {NodeState.INIT, NodeState.READY, NodeState.HOLD, NodeState.TESTING}
    assert set(NodeState) - GARBAGE_WHEN_UNLOCKED == waits
    assert all(may_follow(state, NodeState.DELETING) for state in GARBAGE_WHEN_UNLOCKED - {NodeState.DELETED})
