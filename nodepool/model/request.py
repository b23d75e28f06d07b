"""The record of a node request, its id and its place in the queue (spec zookeeper 4.2, launcher 2.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from nodepool.model.record import Record, epoch, flag, json_field, one_of, opaque, text, texts, whole_number
from nodepool.model.states import RequestState, check_transition

MIN_READY_PRECEDENCE = "900"
"""Precedence of our own requests for stock: after everybody else."""
MIN_READY_REQUESTOR = "NodePool:min-ready"
HAND_PRECEDENCE = "100"
"""Precedence of a request made by a person at the command line."""

_ID = re.compile(r"^(?P<precedence>[^-]+)-(?P<sequence>\d{10})$")


def is_request_id(name: str) -> bool:
    """Whether a child of the requests' parent is named as a request: precedence, dash, ten digits."""
    return _ID.match(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRequest(Record):
    """A request for nodes. ``id`` comes from the path."""

    id: str
    state: RequestState = json_field("state", one_of(RequestState), RequestState.REQUESTED, required=True)
    state_time: float | None = json_field("state_time", epoch, None)
    declined_by: tuple[str, ...] = json_field("declined_by", texts, ())
    node_types: tuple[str, ...] = json_field("node_types", texts, ())
    """Labels, one node each; repeats are allowed."""
    nodes: tuple[str, ...] = json_field("nodes", texts, ())
    """Ids of the nodes in the order of ``node_types``; filled when fulfilled."""
    reuse: bool = json_field("reuse", flag, True)
    requestor: str | None = json_field("requestor", text, None)
    requestor_data: Any = json_field("requestor_data", opaque, None)
    """The requestor's own; goes through unchanged."""
    provider: str | None = json_field("provider", text, None)
    relative_priority: int | None = json_field("relative_priority", whole_number, 0)
    event_id: str | None = json_field("event_id", text, None)
    created_time: float | None = json_field("created_time", epoch, None)
    tenant_name: str | None = json_field("tenant_name", text, None)

    @property
    def order(self) -> tuple[str, int, str]:
        """Place in the queue: precedence as text, relative priority, sequence as text (spec zookeeper 4.2.1)."""
        precedence, _, sequence = self.id.rpartition("-")
        return precedence, self.relative_priority or 0, sequence

    @property
    def wish(self) -> str:
        """Its labels and its requestor, in words."""
        return f"{', '.join(self.node_types)} for {self.requestor}"

    @property
    def is_min_ready(self) -> bool:
        """Whether a launcher made it to keep nodes in stock."""
        return self.requestor == MIN_READY_REQUESTOR

    def in_state(self, state: RequestState, now: float, **changes: Any) -> NodeRequest:
        """A copy in ``state`` since ``now`` (epoch). Raises :class:`~nodepool.model.states.IllegalTransition`."""
        check_transition(self.state, state)
        return self.replace(state=state, state_time=now, **changes)

    def to_mapping(self) -> dict[str, Any]:
        """The JSON object; a null ``tenant_name`` is left out, since Zuul would use it (facts zuul, Requests 3)."""
        values = super(NodeRequest, self).to_mapping()
        if values["tenant_name"] is None:
            del values["tenant_name"]
        return values
