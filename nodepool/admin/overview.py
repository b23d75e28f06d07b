"""What is going on, on one page (``nodepool top``): pools with their nodes and limits, and what waits. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from nodepool.admin.table import Column, Row, printable
from nodepool.admin.views import age
from nodepool.admin.waiting import why_waiting
from nodepool.config.settings import Config
from nodepool.model.component import Component
from nodepool.model.states import BuildState, NodeState, RequestState, UploadState
from nodepool.zk.mirror import Mirror

_MADE = (NodeState.INIT, NodeState.BUILDING)
_GOING = (NodeState.USED, NodeState.DELETING, NodeState.DELETED, NodeState.FAILED, NodeState.ABORTED)

POOL_COLUMNS = (
    Column("pool", "Pool"),
    Column("hosts", "Launchers"),
    Column("nodes", "Nodes"),
    Column("limit", "Limit"),
    Column("building", "Building"),
    Column("ready", "Ready"),
    Column("in_use", "In Use"),
    Column("hold", "Hold"),
    Column("going", "Going"),
    Column("paused", "Full"),
    Column("drained", "Drained"),
)
"""Columns of the table of pools."""

WAITING_COLUMNS = (
    Column("id", "Request ID"),
    Column("age", "Age"),
    Column("node_types", "Node Types"),
    Column("requestor", "Requestor"),
    Column("reason", "Reason"),
)
"""Columns of the table of requests that wait."""


def summary(mirror: Mirror) -> dict[str, dict[str, int]]:
    """How many requests, nodes, builds and uploads there are in each state that occurs."""
    return {
        "requests": _counts(RequestState, (entry.record for entry in mirror.requests.values())),
        "nodes": _counts(NodeState, (entry.record for entry in mirror.nodes.values())),
        "builds": _counts(BuildState, (entry.record for entry in mirror.builds.values())),
        "uploads": _counts(UploadState, (entry.record for entry in mirror.uploads.values())),
    }


def summary_lines(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The same in words."""
    texts = {kind: ", ".join(f"{count} {state}" for state, count in found.items()) for kind, found in counts.items()}
    return [f"{kind}: {text or 'none'}" for kind, text in texts.items()]


def pools(mirror: Mirror, config: Config) -> list[Row]:
    """All pools that are registered or have nodes, by provider and name.

    ``limit`` is max-servers, None where there is none or this machine's configuration does not have the pool.
    ``paused`` says whether a launcher of the pool told a moment ago that it has no room.
    """
    states: dict[tuple[str, str], Counter[NodeState]] = {}
    for entry in mirror.nodes.values():
        if entry.record is not None:
            key = (entry.record.provider or "", entry.record.pool or "")
            states.setdefault(key, Counter())[entry.record.state] += 1
    registered: dict[tuple[str, str], list[Component]] = {}
    for pool in mirror.pools():
        registered.setdefault((pool.provider_name or "", pool.name or ""), []).append(pool)
    return [
        _pool_row(key, registered.get(key, []), states.get(key, Counter()), config)
        | {"drained": f"provider/{key[0]}" in mirror.drained}
        for key in sorted(states.keys() | registered.keys())
    ]


def waiting(mirror: Mirror, now: float) -> list[Row]:
    """The requests that nobody has taken yet, in the order of service, and what each waits for."""
    registered = mirror.pools()
    open_requests = (
        entry.record
        for entry in mirror.requests.values()
        if entry.record is not None and entry.record.state is RequestState.REQUESTED
    )
    return [
        {
            "id": request.id,
            "age": None if request.state_time is None else age(now - request.state_time),
            "node_types": list(request.node_types),
            "requestor": request.requestor,
            "reason": printable(why_waiting(request, registered)),
        }
        for request in sorted(open_requests, key=lambda request: (request.order, request.id))
    ]


def _counts(states: Iterable[Any], records: Iterable[Any]) -> dict[str, int]:
    found = Counter(record.state for record in records if record is not None)
    return {state.value: found[state] for state in states if found[state]}


def _pool_row(
    key: tuple[str, str], registered: list[Component], states: Mapping[NodeState, int], config: Config
) -> dict[str, Any]:
    provider, name = key
    entry = config.providers.get(provider)
    settings = None if entry is None else entry.settings().pools.get(name)
    limits = None if settings is None else settings.limits
    return {
        "pool": f"{provider}/{name}",
        "hosts": sorted({pool.hostname or "?" for pool in registered}),
        "nodes": sum(states.values()),
        "limit": limits["instances"] if limits is not None and "instances" in limits else None,
        "building": sum(states.get(state, 0) for state in _MADE),
        "ready": states.get(NodeState.READY, 0),
        "in_use": states.get(NodeState.IN_USE, 0),
        "hold": states.get(NodeState.HOLD, 0),
        "going": sum(states.get(state, 0) for state in _GOING),
        "paused": any(pool.paused for pool in registered),
    }
