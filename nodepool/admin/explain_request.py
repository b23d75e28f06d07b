"""Why a request waits, failed, or is not fetched. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodepool.admin.explanation import Explanation, Site, duration, pool_name
from nodepool.admin.table import printable
from nodepool.admin.waiting import why_waiting
from nodepool.model.component import Component
from nodepool.model.node import Node
from nodepool.model.reasons import DeclineReason, WaitReason
from nodepool.model.request import NodeRequest
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState, RequestState, UploadState
from nodepool.zk import paths

_ONLY_LAUNCHERS = (
    "which of a pool's limits, and which limit of its cloud, stands in the way just now is known to its launcher only: "
    "see its web page or its log"
)
_DECLINED, _MAY, _FULL = "has declined it", "may take it", "has no room for it"


def explain_request(site: Site, request: NodeRequest) -> Explanation:
    """The explanation of a request."""
    pools = site.mirror.pools()
    details = [_asked(site, request)]
    match request.state:
        case RequestState.REQUESTED:
            details += _queue(site, request)
            details += _tenant(site, request)
        case RequestState.PENDING:
            taker = site.holder(paths.request_lock(request.id))
            nobody = "nobody holds its lock any more: whoever took it is gone, and a launcher puts it back in the queue"
            details.append(nobody if taker is None else f"its lock is held by {taker}")
        case RequestState.FULFILLED:
            details.append("its nodes wait for the requestor, who deletes the request when it has them")
    details += _nodes(site, request)
    answers = [_answer(site, request, pool) for pool in sorted(pools, key=_by_preference)]
    if request.state is not RequestState.REQUESTED:
        answers = [answer for answer in answers if answer["answer"] == _DECLINED]
    elif any(_is_unclear(answer) for answer in answers):
        details.append(_ONLY_LAUNCHERS)
    return Explanation("request", request.id, request.state.value, _summary(site, request), details, answers)


def _summary(site: Site, request: NodeRequest) -> str:
    match request.state:
        case RequestState.FULFILLED:
            reason = "all its nodes are ready"
        case RequestState.PENDING:
            reason = "a launcher has taken it and prepares its nodes"
        case _:
            reason = why_waiting(request, site.mirror.pools())
    return f"Request {request.id}, {request.state}{site.since(request.state_time)}: {reason}"


def _asked(site: Site, request: NodeRequest) -> str:
    who = "a launcher, to keep the label in stock" if request.is_min_ready else request.requestor or "nobody"
    age = f" {duration(site.now - request.created_time)} ago" if request.created_time is not None else ""
    tenant = f" for the tenant {request.tenant_name}" if request.tenant_name else ""
    event = f", event {request.event_id}" if request.event_id else ""
    return printable(f"asked for by {who}{tenant}{age}{event}; labels: {', '.join(request.node_types) or 'none'}")


def _queue(site: Site, request: NodeRequest) -> list[str]:
    records = (entry.record for entry in site.mirror.requests.values())
    waiting = sorted(
        (other.order, other.id) for other in records if other is not None and other.state is RequestState.REQUESTED
    )
    place = waiting.index((request.order, request.id)) + 1
    return [
        f"it is number {place} of {len(waiting)} that wait (class {request.order[0]}, relative priority "
        f"{request.order[1]}); whatever fits goes first, and room is kept for the oldest that does not fit"
    ]


def _tenant(site: Site, request: NodeRequest) -> list[str]:
    limits = site.config.tenant_limits.get(request.tenant_name or "")
    if limits is None:
        return []
    nodes = [entry.record for entry in site.mirror.nodes.values() if entry.record]
    used = Resources.total(
        node.quota or Resources(instances=1) for node in nodes if node.tenant_name == request.tenant_name
    )
    texts = [f"{used[name]:g} of {limit:g} {name}" for name, limit in sorted(limits.items())]
    limit = Resources.limit(limits)
    full = not (used + _least_need(request)).fits_in(limit)
    reason = f": {WaitReason.TENANT_LIMIT.value}" if full else ""
    return [printable(f"its tenant uses {', '.join(texts)}{reason}")]


def _nodes(site: Site, request: NodeRequest) -> list[str]:
    found = {node_id: entry.record for node_id, entry in site.mirror.nodes.items() if entry.record}
    ours = {node_id for node_id, node in found.items() if node.allocated_to == request.id}
    lines = [_node_line(site, found[node_id]) for node_id in sorted(ours)]
    missing = [node_id for node_id in request.nodes if node_id not in ours]
    return lines + [f"node {node_id} was promised to it, and is gone or allocated to others" for node_id in missing]


def _node_line(site: Site, node: Node) -> str:
    where = f"{node.provider}/{node.pool}" if node.pool else f"{node.provider}"
    comment = f" ({node.comment})" if node.comment else ""
    labels = ",".join(node.type)
    return printable(f"node {node.id} ({labels}) of {where} is {node.state}{site.since(node.state_time)}{comment}")


def _by_preference(pool: Component) -> tuple[int, str]:
    return 100 if pool.priority is None else pool.priority, pool_name(pool)


def _answer(site: Site, request: NodeRequest, pool: Component) -> Mapping[str, Any]:
    """What a pool says of a request, as far as it can be seen from outside."""
    lacking = sorted(set(request.node_types) - set(pool.supported_labels))
    against = _objections(site, request, pool)
    if pool.id in request.declined_by:
        answer = _DECLINED
        against = against or [f"nothing that can be seen speaks against it now: {DeclineReason.LAUNCH_FAILED.value}?"]
    elif lacking:
        answer, against = "cannot serve it", [f"{DeclineReason.LABEL_UNKNOWN.value}: {', '.join(lacking)}"]
    elif request.provider and request.provider != pool.provider_name:
        answer, against = "leaves it alone", [f"the request wants the provider {request.provider}"]
    else:
        room, full = _room(site, request, pool)
        answer = "will decline it" if against else _FULL if full else _MAY
        against += room
    return {"pool": pool_name(pool), "launcher": pool.id, "answer": answer, "reasons": [*map(printable, against)]}


def _objections(site: Site, request: NodeRequest, pool: Component) -> list[str]:
    """Why the pool will never serve it, by the records and our configuration."""
    settings = site.pool_settings(pool.provider_name, pool.name)
    labels = sorted(set(request.node_types))
    disabled = [name for name in labels if name in site.config.labels and not site.config.labels[name].enabled]
    found = [f"{DeclineReason.LABEL_UNKNOWN.value}: {name}" for name in labels if name not in pool.supported_labels]
    found += [f"{DeclineReason.LABEL_DISABLED.value}: {name}" for name in disabled]
    if settings is None:
        return found
    if settings.disabled:
        found.append(DeclineReason.POOL_DISABLED.value)
    elif not _least_need(request).fits_in(settings.limits):
        found.append(f"{DeclineReason.OVER_QUOTA.value}: {_limits(site, pool, settings.limits)}")
    images = {settings.labels[name].diskimage for name in labels if name in settings.labels} - {None}
    missing = [image for image in sorted(map(str, images)) if not _is_uploaded(site, image, pool.provider_name)]
    return found + [f"{DeclineReason.IMAGE_MISSING.value}: {image}" for image in missing]


def _is_unclear(answer: Mapping[str, Any]) -> bool:
    """Whether a pool that may serve it does not, and its own limits do not tell why."""
    told = (WaitReason.AT_POOL_LIMIT.value, WaitReason.DRAINED.value)
    return answer["answer"] in (_MAY, _FULL) and not any(reason.startswith(told) for reason in answer["reasons"])


def _room(site: Site, request: NodeRequest, pool: Component) -> tuple[list[str], bool]:
    """What the pool has to offer now, and whether that is too little."""
    if not {f"provider/{pool.provider_name}", f"launcher/{pool.hostname}"}.isdisjoint(site.mirror.drained):
        return [WaitReason.DRAINED.value], True
    said = ["it said a moment ago that it has no room"] if pool.paused else []
    settings = site.pool_settings(pool.provider_name, pool.name)
    if settings is None:
        said.append("its provider is not in this machine's configuration, so that its limits are not known here")
        return said, pool.paused
    free = sum(_is_free(site, request, entry.record, pool) for entry in site.mirror.nodes.values() if entry.record)
    need = _least_need(request) - Resources(instances=min(free, len(request.node_types)))
    full = not (site.used(pool.provider_name, pool.name) + need).fits_in(settings.limits)
    if settings.limits:
        reason = f"{WaitReason.AT_POOL_LIMIT.value}: " if full else ""
        said.append(f"{reason}{_limits(site, pool, settings.limits)}")
    if free:
        said.append(f"{free} free ready {'node' if free == 1 else 'nodes'} of its labels")
    return said, pool.paused or full


def _limits(site: Site, pool: Component, limits: Resources) -> str:
    used = site.used(pool.provider_name, pool.name)
    return "in use are " + ", ".join(f"{used[name]:g} of {limits[name]:g} {name}" for name in limits.names())


def _least_need(request: NodeRequest) -> Resources:
    """What it needs whatever the labels cost."""
    return Resources(instances=len(request.node_types))


def _is_free(site: Site, request: NodeRequest, node: Node, pool: Component) -> bool:
    return (
        node.state is NodeState.READY
        and not node.allocated_to
        and (node.provider, node.pool) == (pool.provider_name, pool.name)
        and not set(request.node_types).isdisjoint(node.type)
        and not site.mirror.node_locks.get(node.id)
    )


def _is_uploaded(site: Site, image: str, provider: str | None) -> bool:
    keys = site.mirror.uploads_to.get((image, provider or ""), ())
    records = (site.mirror.uploads[key].record for key in keys)
    return any(upload is not None and upload.state is UploadState.READY for upload in records)
