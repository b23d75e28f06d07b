"""What the page at ``/`` shows of a site at one moment, as one JSON object.

Pure. Ages are told as the time since when, in epoch seconds: so nothing changes while nothing happens. What only the
daemon's own decision core knows (limits, why requests wait, which clouds do not answer) comes with its last census.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from nodepool.admin import image_views, views
from nodepool.admin.table import Row
from nodepool.model.node import Node
from nodepool.model.request import NodeRequest
from nodepool.model.states import NodeState, RequestState
from nodepool.telemetry.facts import LauncherCensus, Use
from nodepool.zk.mirror import Mirror

MOST_REQUESTS = 200
"""Requests that are shown one by one."""
MOST_REASON = 300
"""Characters of a cloud's error that are shown."""
SHARES = {
    NodeState.INIT: "building",
    NodeState.BUILDING: "building",
    NodeState.TESTING: "building",
    NodeState.READY: "ready",
    NodeState.IN_USE: "used",
    NodeState.HOLD: "held",
    NodeState.USED: "going",
    NodeState.DELETING: "going",
    NodeState.FAILED: "going",
    NodeState.ABORTED: "going",
    NodeState.DELETED: "going",
}
"""What part of a pool's nodes a node counts to."""
NO_NODES = dict.fromkeys(("used", "ready", "building", "held", "going"), 0)

Object = dict[str, Any]


def of_launcher(mirror: Mirror, census: LauncherCensus | None) -> Object:
    """Everything."""
    nodes = [entry.record for entry in mirror.nodes.values() if entry.record is not None]
    return {
        "states": Counter(node.state.value for node in nodes),
        "pools": _pools(mirror, nodes, census),
        "providers": list(_providers(census)) if census else [],
        "requests": _requests(mirror, census),
        "images": images(mirror),
        "problems": [*views.problems(mirror), *image_views.problems(mirror)],
    }


def of_builder(mirror: Mirror) -> Object:
    """The images."""
    return {"images": images(mirror), "problems": image_views.problems(mirror)}


def sample(mirror: Mirror) -> dict[str, int]:
    """How many nodes there are of each part, and how many requests that are not fulfilled: a point of the time line."""
    counts = Counter(SHARES[entry.record.state] for entry in mirror.nodes.values() if entry.record is not None)
    waiting = sum(_is_waiting(entry.record) for entry in mirror.requests.values() if entry.record is not None)
    return {**NO_NODES, **counts, "waiting": waiting}


def _is_waiting(request: NodeRequest) -> bool:
    return request.state in (RequestState.REQUESTED, RequestState.PENDING) and not request.is_min_ready


def _pools(mirror: Mirror, nodes: list[Node], census: LauncherCensus | None) -> list[Object]:
    """All pools that are registered or have nodes, by name; several launchers may have one of the same name."""
    found: dict[tuple[str, str], Object] = {}

    def pool(provider: str | None, name: str | None) -> Object:
        key = (provider or "?", name or "?")
        fresh = {"labels": [], "paused": False, "registered": False, **NO_NODES}
        return found.setdefault(key, {"provider": key[0], "pool": key[1], **fresh})

    for component in mirror.pools():
        one = pool(component.provider_name, component.name)
        one["registered"] = True
        one["paused"] = one["paused"] or component.paused
        one["labels"] = sorted({*one["labels"], *component.supported_labels})
    for node in nodes:
        pool(node.provider, node.pool)[SHARES[node.state]] += 1
    uses = {(use.provider, use.pool): use for use in census.use if use.resource == "instances"} if census else {}
    return [{**found[key], **_room(uses.get(key), uses.get((key[0], "")))} for key in sorted(found)]


def _room(pool: Use | None, provider: Use | None) -> Object:
    """How many nodes a pool of ours may have, of its own limit or of its provider's quota; and how many more."""
    left = [use.limit - use.ours - use.others for use in (pool, provider) if use is not None and use.limit is not None]
    return {
        "limit": pool.limit if pool is not None else None,
        "quota": provider.limit if provider is not None else None,
        "free": max(min(left), 0) if left else None,
    }


def _providers(census: LauncherCensus) -> Iterator[Object]:
    """Our clouds: whether they answer, and what is used of them."""
    for name in sorted({*census.answering, *census.outages}):
        outage = census.outages.get(name)
        yield {
            "name": name,
            "answers": census.answering.get(name, True),
            "since": outage.since if outage else None,
            "error": outage.error[:MOST_REASON] if outage else "",
            "until": outage.until if outage else None,
            "use": [
                {"resource": use.resource, "ours": use.ours, "others": use.others, "limit": use.limit}
                for use in census.use
                if use.provider == name and not use.pool and (use.ours or use.others or use.resource == "instances")
            ],
        }


def _requests(mirror: Mirror, census: LauncherCensus | None) -> Object:
    """How many requests there are in each state, and those that wait, in the order of service."""
    records = [entry.record for entry in mirror.requests.values() if entry.record is not None]
    waiting = sorted(
        (one for one in records if one.state in (RequestState.REQUESTED, RequestState.PENDING)),
        key=lambda request: request.order,
    )
    return {
        "states": Counter(request.state.value for request in records),
        "waiting": [_request(request, census) for request in waiting[:MOST_REQUESTS]],
        "more": max(len(waiting) - MOST_REQUESTS, 0),
    }


def _request(request: NodeRequest, census: LauncherCensus | None) -> Object:
    if request.state is RequestState.PENDING:
        reason = "a pool works on it"
    else:
        reason = census.waiting.get(request.id, "") if census else ""
    return {
        "id": request.id,
        "labels": list(request.node_types),
        "requestor": request.requestor,
        "tenant": request.tenant_name,
        "since": request.created_time or request.state_time,
        "declined": len(request.declined_by),
        "reason": reason,
    }


def images(mirror: Mirror) -> list[Object]:
    """Each image with its builds and their uploads."""
    builds, uploads = _by_image(image_views.builds(mirror)), _by_image(image_views.uploads(mirror))
    return [
        {
            "image": status["image"],
            "paused": status["paused"],
            "request": status["build_request"],
            "builds": [_with_since(row, "id", "builder", "formats") for row in builds[status["image"]]],
            "uploads": [_with_since(row, "id", "provider", "external_id") for row in uploads[status["image"]]],
        }
        for status in image_views.images(mirror)
    ]


def _by_image(rows: list[Row]) -> dict[str, list[Row]]:
    sorted_out: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        sorted_out[row["image"]].append(row)
    return sorted_out


def _with_since(row: Row, *keys: str) -> Object:
    return {**{key: row[key] for key in keys}, "state": row["state"], "since": row["age"]}
