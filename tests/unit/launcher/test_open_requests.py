"""Open requests: in order of service, and without the rest of a kind that turns out to be hopeless."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodepool.launcher.open_requests import Kind, OpenRequests, kind_of
from nodepool.model.request import MIN_READY_REQUESTOR, NodeRequest


def request(number: int, precedence: str = "100", **fields: Any) -> NodeRequest:
    return replace(NodeRequest(id=f"{precedence}-{number:010}", node_types=("a",)), **fields)


def in_order(open_requests: OpenRequests) -> list[str]:
    return list(open_requests.in_order(lambda _: False))


REQUESTS = st.builds(
    request,
    st.integers(0, 20),
    st.sampled_from(["100", "200", "1000", "a"]),
    relative_priority=st.sampled_from([None, 0, 1, 2, 10]),
    node_types=st.sampled_from([("a",), ("b",), ("a", "b")]),
    tenant_name=st.sampled_from([None, "t"]),
)


@given(st.lists(st.one_of(REQUESTS, st.integers(0, 20))))
def test_the_order_is_that_of_the_requests_after_any_changes(steps: list[NodeRequest | int]) -> None:
    open_requests = OpenRequests()
    present: dict[str, NodeRequest] = {}
    for step in steps:
        if isinstance(step, int):
            gone = f"100-{step:010}"
            assert open_requests.remove(gone) is (present.pop(gone, None) is not None)
        else:
            present[step.id] = step
            open_requests.put(step)
    assert in_order(open_requests) == [one.id for one in sorted(present.values(), key=lambda r: (r.order, r.id))]
    assert set(open_requests) == set(present)
    assert len(open_requests) == len(present)


@given(st.lists(REQUESTS), st.sets(st.sampled_from([("a",), ("b",)])))
def test_hopeless_kinds_are_left_out(requests: list[NodeRequest], hopeless: set[tuple[str, ...]]) -> None:
    open_requests = OpenRequests()
    present = {one.id: one for one in requests}
    for one in present.values():
        open_requests.put(one)
    kinds = {kind_of(one) for one in present.values() if one.node_types in hopeless}
    expected = [one for one in sorted(present.values(), key=lambda r: r.order) if one.node_types not in hopeless]
    assert list(open_requests.in_order(kinds.__contains__)) == [one.id for one in expected]


def test_a_kind_that_becomes_hopeless_on_the_way_ends_there() -> None:
    open_requests = OpenRequests()
    for number in range(1, 7):
        open_requests.put(request(number, node_types=("a",) if number % 2 else ("b",)))
    hopeless: set[Kind] = set()
    seen = []
    for request_id in open_requests.in_order(hopeless.__contains__):
        seen.append(int(request_id[-2:]))
        if seen[-1] == 3:
            hopeless.add(open_requests.kind(request_id))
    assert seen == [1, 2, 3, 4, 6]


def test_putting_tells_whether_anything_changed() -> None:
    open_requests = OpenRequests()
    assert open_requests.put(request(1))
    assert not open_requests.put(request(1))
    assert open_requests.put(request(1, relative_priority=5))
    assert open_requests.put(request(1, relative_priority=5, declined_by=("x",)))
    assert len(open_requests) == 1


def test_a_new_relative_priority_moves_a_request() -> None:
    open_requests = OpenRequests()
    for number in (1, 2):
        open_requests.put(request(number))
    open_requests.put(request(1, relative_priority=1))
    assert in_order(open_requests) == ["100-0000000002", "100-0000000001"]


def test_what_is_removed_has_no_kind() -> None:
    open_requests = OpenRequests()
    open_requests.put(request(1))
    assert "100-0000000001" in open_requests
    assert open_requests.kind("100-0000000001") == kind_of(request(9))
    assert open_requests.remove("100-0000000001")
    assert not open_requests.remove("100-0000000001")
    assert "100-0000000001" not in open_requests
    with pytest.raises(KeyError):
        open_requests.kind("100-0000000001")


@pytest.mark.parametrize(
    "fields",
    [
        {"node_types": ("a", "a")},
        {"tenant_name": "t"},
        {"reuse": False},
        {"provider": "p"},
        {"declined_by": ("x",)},
        {"requestor": MIN_READY_REQUESTOR},
    ],
)
def test_whatever_changes_who_can_serve_it_makes_another_kind(fields: dict[str, Any]) -> None:
    assert kind_of(request(1, **fields)) != kind_of(request(1))


@pytest.mark.parametrize(
    "fields", [{"relative_priority": 3}, {"requestor": "zuul"}, {"event_id": "e"}, {"created_time": 5.0}]
)
def test_all_else_does_not(fields: dict[str, Any]) -> None:
    assert kind_of(request(1, **fields)) == kind_of(request(2, precedence="200"))
