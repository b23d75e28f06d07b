"""What becomes of records that nobody works on: pure, one record at a time (spec launcher 4, zookeeper 5).

Each function looks at one record as the mirror has it and says what ought to be done with it and when. Who does it
is decided elsewhere, and every step is made under a lock with the version seen here.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from enum import Enum

from nodepool.driver.adapter import Server
from nodepool.model.node import Node
from nodepool.model.reasons import DeleteReason
from nodepool.model.request import NodeRequest
from nodepool.model.states import GARBAGE_WHEN_UNLOCKED, NodeState, RequestState

ORPHAN_GRACE = 5.0
"""Seconds for which a new record may stand unlocked: its launcher is about to lock it."""


class Task(Enum):
    """What ought to be done with a record."""

    NOTHING = "leave it"
    DELETE = "remove the machine and the record"
    FREE = "make it available again"
    ERASE_EMPTY = "remove the empty znode"


@dataclass(frozen=True, slots=True)
class Fate:
    """A task; ``at`` (epoch seconds) is when to look again, if the task is to leave it until then."""

    task: Task
    reason: DeleteReason | None = None
    at: float | None = None


NOTHING = Fate(Task.NOTHING)

_REASONS = {
    NodeState.USED: DeleteReason.USED,
    NodeState.IN_USE: DeleteReason.ABANDONED,
    NodeState.BUILDING: DeleteReason.ORPHANED,
    NodeState.FAILED: DeleteReason.FAILED,
    NodeState.ABORTED: DeleteReason.ABORTED,
    NodeState.DELETING: DeleteReason.UNFINISHED,
    NodeState.DELETED: DeleteReason.UNFINISHED,
}


def fate_of_node(
    node: Node,
    *,
    request: NodeRequest | None,
    launcher_alive: bool,
    max_ready_age: int,
    max_hold_age: int,
    now: float,
    lost: bool = False,
) -> Fate:
    """What becomes of an unlocked node. ``request`` is the one it is allocated to, if that exists.

    ``lost`` is whether its machine has died.
    """
    if node.state in GARBAGE_WHEN_UNLOCKED:
        return Fate(Task.DELETE, _REASONS[node.state])
    match node.state:
        case NodeState.READY if node.allocated_to:
            return Fate(Task.FREE) if _abandoned(node, request) else NOTHING
        case NodeState.READY if lost:
            return Fate(Task.DELETE, DeleteReason.LOST)
        case NodeState.READY:
            return _by_age(node, max_ready_age, DeleteReason.TOO_OLD, now)
        case NodeState.HOLD:
            limits = [limit for limit in (node.age_limit_of_hold, max_hold_age) if limit > 0]
            return _by_age(node, min(limits, default=0), DeleteReason.HELD_TOO_LONG, now)
        case NodeState.INIT:
            wanted = request is not None and request.state is RequestState.PENDING
            grace = ORPHAN_GRACE if launcher_alive and wanted else 1.0
            return _by_age(node, grace, DeleteReason.ORPHANED, now)
    return NOTHING


def _abandoned(node: Node, request: NodeRequest | None) -> bool:
    """Whether a ready node is reserved for a request that does not want it any more."""
    if request is None or request.state in (RequestState.REQUESTED, RequestState.FAILED):
        return True
    return request.state is RequestState.FULFILLED and node.id not in request.nodes


def _by_age(node: Node, limit: float, reason: DeleteReason, now: float) -> Fate:
    if limit <= 0:
        return NOTHING
    end = (node.state_time or 0.0) + limit
    return Fate(Task.DELETE, reason) if now >= end else Fate(Task.NOTHING, at=end)


def is_lost(request: NodeRequest, locked: bool) -> bool:
    """Whether a request is left half done: somebody took it and is gone (spec zookeeper 5.1)."""
    return request.state is RequestState.PENDING and not locked


def leaks(
    servers: Iterable[tuple[str, Server]], known_nodes: Set[str], suspects: Set[str]
) -> tuple[list[Server], frozenset[str]]:
    """Servers that bear our tag and belong to no node, in two lists in a row (spec launcher 4.4).

    ``servers`` come with the node id of their tag. Returns those to delete, and the suspects for the next list.
    """
    strays = [server for node_id, server in servers if node_id not in known_nodes]
    found = frozenset(str(server.external_id) for server in strays)
    return [server for server in strays if str(server.external_id) in suspects], found
