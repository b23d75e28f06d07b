"""Keeps nodes in stock: asks for what is missing and ends the requests that were made for it.

Runs on the decision thread; no I/O. The requests are ordinary ones of the lowest precedence, which vanish with our
session.
"""

from __future__ import annotations

from nodepool.launcher import minready, room
from nodepool.launcher.instructions import Purpose
from nodepool.launcher.state import State
from nodepool.model import rendezvous
from nodepool.model.node import Node
from nodepool.model.request import MIN_READY_PRECEDENCE, MIN_READY_REQUESTOR, NodeRequest
from nodepool.model.states import RequestState
from nodepool.zk import paths
from nodepool.zk.store import Create, Delete, Operation, SetData

MOST_AT_ONCE = 100
"""Requests made in one transaction, whose size ZooKeeper limits; more follow when these are seen."""
STEP_IN_AFTER = 2.0
"""Seconds that the launcher which goes first is given."""


def step(state: State) -> None:
    """Ask for what is missing."""
    idle = {label: state.index.idle(label) for label in state.setup.labels}
    outstanding = [request for request in map(state.mirror.request, state.stock.requests) if request is not None]
    short = {one.label: one.count for one in minready.shortages(state.setup.labels, idle, outstanding)}
    for label in list(state.stock.short_since):
        if label not in short:
            del state.stock.short_since[label]
    askable = {label: count for label, count in short.items() if _may_ask(state, label)}
    capacities = room.capacities_of_pools(state) if askable else {}
    for label, count in askable.items():
        _ask(state, label, min(count, room.room_for(state, capacities, label, MOST_AT_ONCE)))


def ended(state: State, request: NodeRequest) -> None:
    """A request of ours for stock is fulfilled or failed: remove it, and free its nodes in the same transaction."""
    label = request.node_types[0]
    operations: list[Operation] = []
    if request.state is RequestState.FAILED:
        failures = state.stock.failures.get(label, (0, 0.0))[0] + 1
        until = state.now + minready.pause_after(failures)
        state.stock.failures[label] = (failures, until)
        state.wake(until, "min-ready")
    else:
        state.stock.failures.pop(label, None)
        for node_id in request.nodes:
            node = state.mirror.node(node_id)
            if node is not None and node.allocated_to == request.id and not state.mirror.node_locks.get(node_id):
                operations.extend(free(state, node))
    operations.append(Delete(paths.request(request.id)))
    state.commit(Purpose.END_STOCK, ("request", request.id), operations)


def free(state: State, node: Node) -> tuple[Operation, ...]:
    """Operations that make a ready node available again; they prove that nobody has its lock."""
    record = node.replace(allocated_to=None, tenant_name=None, requestor=None)
    write = SetData(paths.node(node.id), record.to_json(), state.node_version(node.id))
    return (*state.seize_node(node.id), write)


def _may_ask(state: State, label: str) -> bool:
    """Whether no request for a label is on its way, and the last one did not fail just now."""
    return ("label", label) not in state.busy and state.stock.failures.get(label, (0, 0.0))[1] <= state.now


def _ask(state: State, label: str, count: int) -> None:
    if count <= 0:
        return
    since = state.stock.short_since.setdefault(label, state.now)
    able = [pool.id for pool in state.mirror.pools() if pool.id and label in pool.supported_labels]
    if rendezvous.first(label, able) not in state.setup.pools and state.now < since + STEP_IN_AFTER:
        state.wake(since + STEP_IN_AFTER, "min-ready")
        return
    record = NodeRequest(
        id="",
        state=RequestState.REQUESTED,
        state_time=state.now,
        node_types=(label,),
        reuse=False,
        requestor=MIN_READY_REQUESTOR,
        event_id=f"{state.chance.getrandbits(128):032x}",
    )
    path = f"{paths.REQUESTS}/{MIN_READY_PRECEDENCE}-"
    operations = [Create(path, record.to_json(), ephemeral=True, sequence=True)] * count
    state.commit(Purpose.ASK_STOCK, ("label", label), operations)
