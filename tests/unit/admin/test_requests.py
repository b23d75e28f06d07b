"""What a person who asks for nodes is told."""

from __future__ import annotations

import pytest

from nodepool.admin.failure import CommandFailed
from nodepool.admin.requests import check_labels, new_request
from nodepool.admin.waiting import why_waiting
from nodepool.model.component import Component
from nodepool.model.request import NodeRequest
from nodepool.model.states import RequestState


def pool(name: str, *labels: str, paused: bool = False) -> Component:
    return Component(id=f"id-{name}", provider_name="p", name=name, supported_labels=labels, paused=paused)


def request(**fields: object) -> NodeRequest:
    return NodeRequest(id="100-0000000001", node_types=("a",), **fields)  # type: ignore[arg-type]


def test_labels_that_one_pool_offers() -> None:
    check_labels(["a", "b", "a"], [pool("one", "c"), pool("two", "a", "b")])


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (["x", "a", "\x1b"], "No running launcher offers the label \\x1b, x; labels offered now: a, b"),
        (["b", "a"], "No single pool offers all of a, b, as one request needs: request them one by one"),
    ],
)
def test_labels_that_nobody_can_serve(labels: list[str], text: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        check_labels(labels, [pool("one", "a"), pool("two", "b")])
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "waits for p/one or p/two (paused: no room, or its cloud does not answer)"),
        (
            {"declined_by": ("id-one", "old-1", "old-2")},
            "waits for p/two (paused: no room, or its cloud does not answer); declined by p/one, 2 that are gone",
        ),
        (
            {"declined_by": ("id-one", "id-two")},
            "waits: no launcher that could serve it is running; declined by p/one, p/two",
        ),
        ({"state": RequestState.PENDING}, "is pending: a launcher has taken it and prepares its nodes"),
        ({"state": RequestState.FAILED, "declined_by": ("id-one",)}, "no pool could serve it; declined by p/one"),
    ],
)
def test_why_a_request_waits(fields: dict[str, object], text: str) -> None:
    pools = [pool("two", "a", paused=True), pool("one", "a", "b"), pool("other", "b")]
    assert why_waiting(request(**fields), pools) == text


def test_a_request_has_all_keys_that_zuul_reads() -> None:
    values = new_request(["a", "b"], "NodePool:cli:me@here", "e" * 32, 5.0).to_mapping()
    assert values["node_types"] == ["a", "b"]
    needed = {"requestor_data", "requestor", "node_types", "provider", "state", "state_time", "event_id"}
    assert needed <= set(values)
    assert "tenant_name" not in values
