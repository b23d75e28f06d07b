"""Holds failed machines for study instead of removing them at once (``keep-failed``).

Runs on the decision thread; no I/O. The record of the failed node becomes a held one, with the reason as its comment,
and a new record goes on with the attempts that are left, in one transaction. The oldest held ones go for newer ones.
"""

from __future__ import annotations

from dataclasses import replace

from nodepool.driver.errors import BadLabel
from nodepool.launcher import room
from nodepool.launcher.instructions import Level, Purpose
from nodepool.launcher.lifecycle import Launch, Phase, address_of
from nodepool.launcher.state import State
from nodepool.launcher.work import Planned
from nodepool.model.node import Node
from nodepool.model.reasons import LaunchFailure
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState
from nodepool.zk import paths
from nodepool.zk.store import Create, Delete, Operation, SetData

COMMENT = "keep-failed: "
"""What the comment of a node held by us begins with."""
LONGEST_COMMENT = 1000


def has_room(state: State, launch: Launch) -> bool:
    """Whether another node can be launched beside the one that would be held."""
    claim = state.claims.get(launch.request_id)
    capacity = room.capacities_of_pools(state).get(claim.launcher_id) if claim is not None else None
    need = _need(state, launch)
    if capacity is None or need is None:
        return False
    # The launch that ends leaves its place among those in progress to the next.
    capacity.provider.launch_slots += 1
    return capacity.obstacle(need) is None


def replace_node(state: State, launch: Launch, node: Node, lock: str) -> None:
    """Hold the node, and make a new record for the attempts that are left."""
    successor = Node(
        id="",
        state=NodeState.INIT,
        state_time=state.now,
        created_time=state.now,
        provider=node.provider,
        pool=node.pool,
        type=node.type,
        allocated_to=launch.request_id,
        launcher=node.launcher,
        attributes=node.attributes,
        tenant_name=node.tenant_name,
        requestor=node.requestor,
    )
    create = Create(paths.NODES + "/", successor.to_json(), sequence=True)
    need = _need(state, launch) or Resources()
    state.planned[node.id] = Planned((launch.provider, launch.pool), need, 0, None, Resources())
    state.commit(Purpose.KEEP, ("node", node.id), (*_hold(state, launch, node, lock), create))


def hold(state: State, launch: Launch, node: Node, lock: str) -> None:
    """Hold the node of a launch that is given up."""
    state.commit(Purpose.KEEP, ("node", node.id), _hold(state, launch, node, lock))


def kept(state: State, node_id: str, successor: str | None) -> None:
    """The transaction is done; ``successor`` is the new node, if one was made."""
    node = state.mirror.node(node_id)
    text = f"Node {node_id} is held for study ({node.comment if node else ''})"
    state.say(Level.WARNING, "nodepool.launcher", text, node=node_id)
    launch = state.remove_launch(node_id)
    claim = state.claims.get(launch.request_id) if launch is not None else None
    if launch is not None and claim is not None and successor is not None and node_id in claim.slots:
        claim.slots[claim.slots.index(node_id)] = successor
        state.add_launch(replace(launch, node_id=successor, phase=Phase.LOCKING, external_id=None, server=None))
        state.dirty.add(("node", successor))


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
    places = (
        {}
        if server is None
        else {
            "interface_ip": address_of(server, launch.label.use_internal_ip),
            "public_ipv4": server.public_ipv4,
            "private_ipv4": server.private_ipv4,
            "public_ipv6": server.public_ipv6,
            "host_id": server.host_id,
            "cloud": server.cloud,
            "region": server.region,
            "az": server.az,
        }
    )
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


def _need(state: State, launch: Launch) -> Resources | None:
    """What the next node will use, None if the label cannot be made any more."""
    pool = state.setup.pool_of(launch.provider, launch.pool)
    try:
        return pool.provider.cost(launch.pool, launch.label.name) if pool is not None else None
    except BadLabel:
        return None


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
