"""Stock: how many nodes are missing, and how long a label that cannot be served is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodepool.launcher.minready import LONGEST_PAUSE, Shortage, pause_after, shortages
from nodepool.launcher.setup import LabelRule
from nodepool.model.request import MIN_READY_REQUESTOR, NodeRequest
from nodepool.model.states import RequestState


def stock(number: int, state: RequestState = RequestState.REQUESTED, *labels: str) -> NodeRequest:
    return NodeRequest(
        id=f"900-{number:010}", state=state, node_types=labels or ("a",), requestor=MIN_READY_REQUESTOR, reuse=False
    )


@pytest.mark.parametrize(
    ("wanted", "idle", "missing"), [(3, 0, 3), (3, 1, 2), (3, 3, 0), (3, 7, 0), (0, 0, 0), (-1, 0, 0)]
)
def test_what_is_wanted_less_what_is_free(wanted: int, idle: int, missing: int) -> None:
    expected = [Shortage("a", missing)] if missing else []
    assert shortages({"a": LabelRule(min_ready=wanted)}, {"a": idle}, []) == expected


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        (RequestState.REQUESTED, True),
        (RequestState.PENDING, True),
        # Its nodes are still allocated: they are free only when it has been removed.
        (RequestState.FULFILLED, True),
        (RequestState.FAILED, False),
    ],
)
def test_what_anybody_asked_for_counts_until_it_failed(state: RequestState, counts: bool) -> None:
    found = shortages({"a": LabelRule(min_ready=2)}, {}, [stock(1, state)])
    assert found == [Shortage("a", 1 if counts else 2)]


def test_requests_of_clients_do_not_count() -> None:
    client = replace(stock(1), requestor="zuul")
    assert shortages({"a": LabelRule(min_ready=1)}, {}, [client]) == [Shortage("a", 1)]


def test_each_label_of_a_request_counts() -> None:
    rules = {"a": LabelRule(min_ready=3), "b": LabelRule(min_ready=1)}
    asked = [stock(1, RequestState.REQUESTED, "a", "a", "b")]
    assert shortages(rules, {}, asked) == [Shortage("a", 1)]


def test_labels_are_independent_and_keep_their_order() -> None:
    rules = {name: LabelRule(min_ready=1) for name in "cab"}
    assert shortages(rules, {"a": 1}, [stock(1, RequestState.REQUESTED, "b")]) == [Shortage("c", 1)]
    assert [one.label for one in shortages(rules, {}, [])] == ["c", "a", "b"]


@given(st.integers(-1, 9), st.integers(0, 9), st.integers(0, 9))
def test_asking_for_the_shortage_ends_it(wanted: int, idle: int, asked: int) -> None:
    rules, free = {"a": LabelRule(min_ready=wanted)}, {"a": idle}
    before = [stock(number) for number in range(asked)]
    missing = sum(one.count for one in shortages(rules, free, before))
    assert idle + asked + missing == max(wanted, idle + asked)
    more = [stock(100 + number) for number in range(missing)]
    assert shortages(rules, free, [*before, *more]) == []


def test_pauses_grow_up_to_a_limit() -> None:
    pauses = [pause_after(failures) for failures in range(1, 40)]
    assert pauses[:4] == [2.0, 4.0, 8.0, 16.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    assert pause_after(10**9) == LONGEST_PAUSE
