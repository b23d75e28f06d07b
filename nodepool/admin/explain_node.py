"""Why a node is in its state, and what ends that. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from nodepool.admin.explanation import Explanation, Site, duration
from nodepool.admin.table import printable
from nodepool.model.node import Node
from nodepool.model.reasons import DeleteReason
from nodepool.model.states import GARBAGE_WHEN_UNLOCKED, NodeState, RequestState
from nodepool.zk import paths

_MEANING: Mapping[NodeState, str] = {
    NodeState.INIT: "its record is new, nothing was asked of the cloud yet",
    NodeState.BUILDING: "its machine is being made, or is up and being checked",
    NodeState.TESTING: "an old Nodepool left it so",
    NodeState.READY: "its machine is ready to be used",
    NodeState.IN_USE: "its requestor works on it",
    NodeState.USED: "its requestor is done with it, and it waits to be deleted",
    NodeState.HOLD: "it is kept for study",
    NodeState.DELETING: "its machine is being removed",
    NodeState.FAILED: "its machine could not be made, and what is left of it waits to be deleted",
    NodeState.ABORTED: "the cloud had no room for it, and it waits to be deleted; another takes its place",
    NodeState.DELETED: "its machine is gone, and its record goes next",
}
_BEING_MADE = (NodeState.INIT, NodeState.BUILDING)
_ABANDONED = {NodeState.BUILDING: DeleteReason.ORPHANED, NodeState.IN_USE: DeleteReason.ABANDONED}


def explain_node(site: Site, node: Node) -> Explanation:
    """The explanation of a node."""
    taker = site.holder(paths.node_lock(node.id))
    details = [_what(node)]
    details.append("nobody holds its lock" if taker is None else f"its lock is held by {taker}")
    details += _request(site, node)
    if node.state in _BEING_MADE:
        details += _launch(site, node)
    if node.state is NodeState.HOLD:
        details += _hold(site, node)
    if node.state is NodeState.READY and not node.allocated_to:
        details += _stock(site, node)
    if taker is None and node.state in GARBAGE_WHEN_UNLOCKED:
        details += _garbage(site, node)
    if node.comment:
        details.append(f"comment: {node.comment}")
    summary = f"Node {node.id}, {node.state}{site.since(node.state_time)}: {_MEANING[node.state]}"
    return Explanation("node", node.id, node.state.value, summary, [*map(printable, details)])


def _what(node: Node) -> str:
    where = f"provider {node.provider}" + (f", pool {node.pool}" if node.pool else "")
    server = f"server {node.external_id}" if node.external_id is not None else "no server yet"
    labels = ", ".join(node.type) or "none"
    address = f" at {node.interface_ip}" if node.interface_ip else ""
    return f"labels {labels}; {where}; {server}{address}"


def _request(site: Site, node: Node) -> list[str]:
    if not node.allocated_to:
        return []
    request = site.mirror.request(node.allocated_to)
    if request is not None:
        fetched = ", whose requestor has not fetched it yet" if request.state is RequestState.FULFILLED else ""
        return [
            f"it is for the request {request.id}, which is {request.state}{site.since(request.state_time)}{fetched}"
        ]
    if node.state in (NodeState.IN_USE, NodeState.USED):
        return [f"it was given to the request {node.allocated_to}, which is gone, as it is when its nodes are in use"]
    return [f"it was for the request {node.allocated_to}, which is gone: {DeleteReason.NOT_WANTED.value}"]


def _launch(site: Site, node: Node) -> list[str]:
    entry = site.config.providers.get(node.provider or "")
    alive = any(pool.provider_name == node.provider for pool in site.mirror.pools())
    lines = [] if alive else [f"no launcher of {node.provider} is running: nothing goes on until one is"]
    if entry is not None:
        settings = entry.settings()
        lines.append(
            f"an attempt is given up after {settings.launch_timeout:g} s (launch-timeout), and there are "
            f"{settings.launch_retries} (launch-retries)"
        )
    return [*lines, "which attempt it is, and how earlier ones failed, is in the launcher's log only"]


def _hold(site: Site, node: Node) -> list[str]:
    limits = [limit for limit in (node.age_limit_of_hold, site.config.max_hold_age) if limit > 0]
    if limits and node.state_time is not None:
        ends = f"it is held for {duration(node.state_time + min(limits) - site.now)} more"
    else:
        ends = "it is held until somebody deletes it"
    job = [f"held for the job {node.hold_job}"] if node.hold_job else []
    return [*job, f"{ends}; 'nodepool delete {node.id}' ends it now"]


def _stock(site: Site, node: Node) -> list[str]:
    lines = ["nobody has asked for it: it waits for a request for its label"]
    ages = [site.config.labels[label].max_ready_age for label in node.type if label in site.config.labels]
    limits = [age for age in ages if age > 0]
    if limits and node.state_time is not None:
        lines.append(f"max-ready-age ends it in {duration(node.state_time + min(limits) - site.now)}")
    return lines


def _garbage(site: Site, node: Node) -> list[str]:
    reason = f", since {_ABANDONED[node.state].value}" if node.state in _ABANDONED else ""
    pools = [pool for pool in site.mirror.pools() if pool.provider_name == node.provider]
    if not pools:
        return [f"it is to be deleted{reason}, but no launcher of {node.provider} is running: it stays until one does"]
    hosts = ", ".join(sorted({pool.hostname or "?" for pool in pools}))
    return [
        f"a launcher deletes it{reason}; if that takes long the cloud refuses or does not answer: see the log of the "
        f"launcher on {hosts}"
    ]
