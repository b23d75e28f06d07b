"""Records that go on with a launch whose own record cannot: its machine is held for study, or does not want to go.

Runs on the decision thread; no I/O.
"""

from __future__ import annotations

from dataclasses import replace

from nodepool.daemon.instructions import Level
from nodepool.driver.errors import BadLabel
from nodepool.launcher import room
from nodepool.launcher.instructions import Purpose
from nodepool.launcher.lifecycle import Launch, Phase
from nodepool.launcher.state import State
from nodepool.launcher.work import Planned
from nodepool.model.node import Node
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState
from nodepool.zk import paths
from nodepool.zk.store import Create, Delete, SetData


def has_room(state: State, launch: Launch) -> bool:
    """Whether another node can be launched beside the present one."""
    claim = state.claims.get(launch.request_id)
    capacity = room.capacities_of_pools(state).get(claim.launcher_id) if claim is not None else None
    need = _need(state, launch)
    if capacity is None or need is None:
        return False
    # The launch that ends leaves its place among those in progress to the next.
    capacity.provider.launch_slots += 1
    return capacity.obstacle(need) is None


def create(state: State, launch: Launch, node: Node) -> Create:
    """The operation that makes the record which goes on; its use counts from now on."""
    need = _need(state, launch) or Resources()
    state.planned[node.id] = Planned((launch.provider, launch.pool), need, 0, None, Resources())
    record = Node(
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
    return Create(paths.NODES + "/", record.to_json(), sequence=True)


def abandon(state: State, launch: Launch, node: Node, lock: str) -> None:
    """Leave a machine that does not go to the sweep, and have another record go on."""
    text = f"The server of node {node.id} does not go; another node is launched in its place"
    state.say(Level.WARNING, f"nodepool.StateMachineNodeLauncher.{launch.provider}", text, node=node.id)
    record = node.in_state(
        NodeState.DELETING, state.now, allocated_to=None, tenant_name=None, external_id=launch.external_id
    )
    write = SetData(paths.node(node.id), record.to_json(), state.node_version(node.id))
    state.commit(Purpose.ABANDON, ("node", node.id), (write, Delete(lock), create(state, launch, node)))


def took_over(state: State, node_id: str, successor: str | None) -> None:
    """The transaction is done; ``successor`` is the new node, None if there is none."""
    launch = state.remove_launch(node_id)
    claim = state.claims.get(launch.request_id) if launch is not None else None
    if launch is not None and claim is not None and successor is not None and node_id in claim.slots:
        claim.slots[claim.slots.index(node_id)] = successor
        state.add_launch(replace(launch, node_id=successor, phase=Phase.LOCKING, external_id=None, server=None))
        state.dirty.add(("node", successor))


def _need(state: State, launch: Launch) -> Resources | None:
    """What the next node will use, None if the label cannot be made any more."""
    pool = state.setup.pool_of(launch.provider, launch.pool)
    try:
        return pool.provider.cost(launch.pool, launch.label.name) if pool is not None else None
    except BadLabel:
        return None
