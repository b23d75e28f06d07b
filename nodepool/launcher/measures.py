"""What metrics and traces are told of requests and launches. Runs on the decision thread; no I/O."""

from __future__ import annotations

from typing import Any

from nodepool.launcher.lifecycle import Launch
from nodepool.launcher.state import State
from nodepool.model.request import NodeRequest
from nodepool.model.states import RequestState
from nodepool.telemetry.facts import Attributes, LaunchEnded, RequestFulfilled, Span

READY = "ready"
SESSION_LOST = "error.zksession"
"""Results that are no failure of a launch (spec operation 7)."""


def request_ended(state: State, request: NodeRequest) -> None:
    """A request was fulfilled, or has failed."""
    if request.created_time is None:
        return
    fulfilled = request.state is RequestState.FULFILLED
    began = min(request.created_time, state.now)
    if fulfilled:
        state.measure(RequestFulfilled(state.now - began))
    told: Attributes = {"request": request.id, "labels": request.node_types, "nodes": request.nodes}
    state.measure(Span("node request", _span_of(request), began, state.now, fulfilled, told))


def launch_ended(state: State, launch: Launch, result: str) -> None:
    """An attempt ended with this result."""
    request = state.mirror.request(launch.request_id)
    zone = (launch.server.az if launch.server is not None else None) or launch.zone
    state.measure(
        LaunchEnded(
            launch.provider,
            launch.pool,
            launch.label.name,
            launch.label.diskimage or launch.label.cloud_image,
            zone,
            request.requestor if request is not None else None,
            result,
            max(state.now - launch.began, 0.0),
        )
    )
    told: Attributes = {
        "request": launch.request_id,
        "node": launch.node_id,
        "provider": launch.provider,
        "pool": launch.pool,
        "label": launch.label.name,
        "attempt": launch.attempt,
        "result": result,
        **({"zone": zone} if zone else {}),
    }
    began, parent = min(launch.began, state.now), _span_of(request) if request is not None else None
    state.measure(Span("launch", parent, began, state.now, result == READY, told))


def _span_of(request: NodeRequest) -> tuple[int, int] | None:
    """Trace and span that a request belongs to, as Zuul tells them (facts of its requests); None if it does not."""
    data: Any = request.requestor_data
    told = data.get("span_info") if isinstance(data, dict) else None
    if not isinstance(told, dict):
        return None
    trace_id, span_id = told.get("trace_id"), told.get("span_id")
    if not isinstance(trace_id, int) or not isinstance(span_id, int):
        return None
    return (trace_id, span_id) if 0 < trace_id < 1 << 128 and 0 < span_id < 1 << 64 else None
