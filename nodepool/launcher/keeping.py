"""Holds failed machines for study instead of removing them at once (``keep-failed``).

Runs on the decision thread; no I/O. The record of the failed node becomes a held one, with the reason as its comment,
and in the same transaction another record goes on with the attempts that are left. The oldest held ones go for newer
ones.
"""

from __future__ import annotations

from nodepool.daemon.instructions import Level
from nodepool.launcher import successors
from nodepool.launcher.instructions import Purpose
from nodepool.launcher.lifecycle import Launch, places_of
from nodepool.launcher.state import State
from nodepool.model.node import Node
from nodepool.model.reasons import LaunchFailure
from nodepool.model.states import NodeState
from nodepool.zk import paths
from nodepool.zk.store import Delete, Operation, SetData

COMMENT = "keep-failed: "
"""What the comment of a node held by us begins with."""
LONGEST_COMMENT = 1000


def hold(state: State, launch: Launch, node: Node, lock: str) -> None:
    """Hold the node of a launch that is given up."""
    state.commit(Purpose.KEEP, ("node", node.id), _hold(state, launch, node, lock))


def hold_and_replace(state: State, launch: Launch, node: Node, lock: str) -> None:
    """Hold the node, and have another record go on."""
    successor = successors.create(state, launch, node)
    state.commit(Purpose.KEEP, ("node", node.id), (*_hold(state, launch, node, lock), successor))


def held(state: State, node_id: str) -> None:
    """The transaction is done."""
    node = state.mirror.node(node_id)
    text = f"Node {node_id} is held for study ({node.comment if node else ''})"
    state.say(Level.WARNING, "nodepool.launcher", text, node=node_id)


def is_replaced(state: State, node: Node) -> bool:
    """Whether a held node has to go, since as many newer ones of its label are held by us as may be.

    If it has not, those are looked at that have.
    """
    excess = _excess(state, node) if _is_ours(node) else []
    if node.id in excess:
        return True
    state.dirty.update(("node", node_id) for node_id in excess if node_id not in state.deletions)
    return False


def _comment(launch: Launch) -> str:
    """The reason in one line, with as much of the end of the check's output as there is place for."""
    failure = launch.failure or LaunchFailure.UNKNOWN
    reason = COMMENT + failure.sentence + (f": {launch.detail}" if launch.detail else "")
    output = " ".join(launch.output.split())
    place = LONGEST_COMMENT - len(reason) - len(" ... ")
    if not output or place <= 0:
        return reason[:LONGEST_COMMENT]
    return f"{reason} ... {output[-place:]}" if len(output) > place else f"{reason}: {output}"


def _hold(state: State, launch: Launch, node: Node, lock: str) -> tuple[Operation, ...]:
    keep, server = launch.label.keep_failed, launch.server
    assert keep is not None, "only labels with keep-failed hold nodes"
    places = {} if server is None else places_of(server, launch.label.use_internal_ip)
    record = node.in_state(
        NodeState.HOLD,
        state.now,
        allocated_to=None,
        tenant_name=None,
        external_id=launch.external_id,
        host_keys=launch.host_keys,
        comment=_comment(launch),
        hold_expiration=max(int(keep.seconds), 1),
        **places,
    )
    return SetData(paths.node(node.id), record.to_json(), state.node_version(node.id)), Delete(lock)


def _is_ours(node: Node) -> bool:
    return node.state is NodeState.HOLD and bool(node.type) and (node.comment or "").startswith(COMMENT)


def _excess(state: State, node: Node) -> list[str]:
    """The nodes like this one that are held beyond the number that may be, the oldest."""
    pool = state.setup.pool_of(node.provider, node.pool)
    label = pool.label(node.type[0]) if pool is not None else None
    if label is None or label.keep_failed is None:
        return []
    of_provider = (state.mirror.node(node_id) for node_id in state.index.of_provider(node.provider or ""))
    alike = [one for one in of_provider if one is not None and _is_ours(one) and one.type == node.type]
    alike.sort(key=lambda one: (one.state_time or 0.0, one.id))
    return [one.id for one in alike[: max(len(alike) - label.keep_failed.count, 0)]]
