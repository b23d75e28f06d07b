"""Carries the requests that we have taken to their end: fulfilled, declined, given back or gone.

Runs on the decision thread; no I/O. A claim lasts as long as our lock on its request; what it knows besides the records
is only which node serves which label.
"""

from __future__ import annotations

from collections.abc import Iterable

from nodepool.daemon.instructions import Level
from nodepool.launcher import deletions, keeping, launches, lifecycle
from nodepool.launcher.instructions import Purpose
from nodepool.launcher.lifecycle import Launch, Phase
from nodepool.launcher.state import State
from nodepool.launcher.work import Claim, Refusals
from nodepool.model.node import Node
from nodepool.model.reasons import DeclineReason, DeleteReason, LaunchFailure
from nodepool.model.request import NodeRequest
from nodepool.model.states import NodeState, RequestState, may_follow
from nodepool.telemetry.facts import RequestDeclined
from nodepool.zk import paths
from nodepool.zk.store import Check, Delete, Operation, SetData

SHORTEST_BACK_OFF = 5.0
LONGEST_BACK_OFF = 60.0
"""Seconds for which a request is not tried again at a provider whose cloud had no room for it."""


def begin(state: State, claim: Claim) -> None:
    """A pool of ours has taken a request."""
    state.claims[claim.request_id] = claim
    state.dirty.add(("request", claim.request_id))


def step(state: State, request_id: str) -> None:
    """Do what a claim needs next."""
    if ("request", request_id) in state.busy:
        return
    claim = state.claims[request_id]
    request = state.mirror.request(request_id)
    lock = state.our_request_lock(request_id)
    if request is None or request.state is not RequestState.PENDING or lock is None:
        _end(state, claim, request, lock)
        return
    failed = [launch for launch in _launches(state, claim) if launch.phase is Phase.FAILED]
    if failed:
        reason = failed[0].failure or LaunchFailure.UNKNOWN
        _decline(state, claim, request, lock, f"node {failed[0].node_id}: {reason.sentence}")
        return
    aborted = next((launch for launch in _launches(state, claim) if launch.phase is Phase.ABORTED), None)
    if aborted is not None:
        if aborted.failure is LaunchFailure.QUOTA:
            _back_off(state, request_id, aborted.provider)
        _give_back(state, claim, request, lock, aborted.failure)
        return
    ready = [_ready_record(state, request, node_id) for node_id in claim.slots]
    if all(ready):
        _fulfil(state, request, lock, [node for node in ready if node is not None])
        return
    if state.stopping or any(_missing(state, request_id, node_id) for node_id in claim.slots):
        _give_back(state, claim, request, lock)
        return
    for node_id in claim.slots:
        if node_id is not None and len(claim.slots) > 1:
            _store_ready(state, node_id)


def declined(state: State, request: NodeRequest, ours: Iterable[str], now: float) -> NodeRequest:
    """The record of a request that some of our pools decline (spec launcher 2.4)."""
    declined_by = (*request.declined_by, *(one for one in ours if one not in request.declined_by))
    end = RequestState.FAILED if state.known_pools() <= set(declined_by) else RequestState.REQUESTED
    return request.in_state(end, now, declined_by=declined_by)


def _launches(state: State, claim: Claim) -> list[Launch]:
    return [state.launches[node_id] for node_id in claim.slots if node_id is not None and node_id in state.launches]


def _ready_record(state: State, request: NodeRequest, node_id: str | None) -> Node | None:
    """The record with which a node can be handed over, None if it is not ready yet."""
    node = state.mirror.node(node_id) if node_id is not None else None
    if node is None or ("node", node.id) in state.busy:
        return None
    launch = state.launches.get(node.id)
    if launch is not None:
        good = launch.phase is Phase.DONE and may_follow(node.state, NodeState.READY)
        return launches.finished_record(state, launch, node) if good else None
    return node if node.state is NodeState.READY and node.allocated_to == request.id else None


def _missing(state: State, request_id: str, node_id: str | None) -> bool:
    """Whether nothing can come of a slot any more: its node went away under our hands."""
    if node_id is None:
        return True
    if node_id in state.launches:
        return False
    node = state.mirror.node(node_id)
    return node is None or node.state is not NodeState.READY or node.allocated_to != request_id


def _store_ready(state: State, node_id: str) -> None:
    """Store a good machine while its siblings are still on their way, so that it outlives us."""
    launch = state.launches.get(node_id)
    node = state.mirror.node(node_id)
    lock = state.our_node_lock(node_id)
    busy = ("node", node_id) in state.busy
    if launch is None or launch.phase is not Phase.DONE or node is None or lock is None or busy:
        return
    if not may_follow(node.state, NodeState.READY):
        return
    record = launches.finished_record(state, launch, node)
    operations = (SetData(paths.node(node_id), record.to_json(), state.node_version(node_id)), Delete(lock))
    state.commit(Purpose.STORE_NODE, ("node", node_id), operations)


def _fulfil(state: State, request: NodeRequest, lock: str, nodes: list[Node]) -> None:
    """Unlock the nodes and tell the requestor, in one transaction (spec launcher 2.5)."""
    operations: list[Operation] = []
    for node in nodes:
        operations.extend(_hand_over(state, node))
    record = request.in_state(RequestState.FULFILLED, state.now, nodes=tuple(node.id for node in nodes))
    operations.append(SetData(paths.request(request.id), record.to_json(), state.request_version(request.id)))
    operations.append(Delete(lock))
    state.commit(Purpose.FULFIL, ("request", request.id), operations, record)
    for node in nodes:
        state.busy[("node", node.id)] = 0.0


def _hand_over(state: State, node: Node) -> list[Operation]:
    version = state.node_version(node.id)
    node_lock = state.our_node_lock(node.id)
    if node_lock is None:
        return [Check(paths.node(node.id), version)]
    return [SetData(paths.node(node.id), node.to_json(), version), Delete(node_lock)]


def _decline(state: State, claim: Claim, request: NodeRequest, lock: str, why: str) -> None:
    """This pool cannot serve it: let the others try (spec launcher 2.4)."""
    record = declined(state, request, [claim.launcher_id], state.now)
    pool = state.setup.pools.get(claim.launcher_id)
    if pool is not None:
        state.measure(RequestDeclined(pool.provider.name, DeclineReason.LAUNCH_FAILED.name.lower()))
    state.say(
        Level.INFO,
        f"nodepool.driver.NodeRequestHandler[{claim.launcher_id}]",
        f"Declining node request: {DeclineReason.LAUNCH_FAILED.value} ({why}; {request.wish})",
        request,
    )
    _release(state, record, lock, Purpose.DECLINE)


def _give_back(
    state: State, claim: Claim, request: NodeRequest, lock: str, failure: LaunchFailure | None = None
) -> None:
    """No room in the cloud, a node went away, or we stop: the request waits again, without a mark against this pool."""
    why = "this launcher stops" if state.stopping else "not enough quota remaining to satisfy it"
    if failure in (LaunchFailure.AWAY, LaunchFailure.STUCK):
        why = failure.sentence
    text = f"Giving node request back: {why}"
    state.say(Level.INFO, f"nodepool.driver.NodeRequestHandler[{claim.launcher_id}]", text, request)
    record = request.in_state(RequestState.REQUESTED, state.now, nodes=())
    _release(state, record, lock, Purpose.GIVE_BACK)


def _back_off(state: State, request_id: str, provider: str) -> None:
    """Leave the provider to smaller requests for a while, longer each time."""
    refusals = state.refusals.get((request_id, provider), Refusals()).count + 1
    until = state.now + min(SHORTEST_BACK_OFF * 2 ** min(refusals - 1, 8), LONGEST_BACK_OFF)
    state.refusals[request_id, provider] = Refusals(refusals, until)
    state.wake(until, "admission")


def _release(state: State, record: NodeRequest, lock: str, purpose: Purpose) -> None:
    write = SetData(paths.request(record.id), record.to_json(), state.request_version(record.id))
    state.commit(purpose, ("request", record.id), (write, Delete(lock)))


def _end(state: State, claim: Claim, request: NodeRequest | None, lock: str | None) -> None:
    """The request is decided, gone or not ours any more: let go of what is left of it."""
    del state.claims[claim.request_id]
    for node_id in claim.slots:
        if node_id is None:
            continue
        launch = state.launches.get(node_id)
        node = state.mirror.node(node_id)
        if launch is None or node is None:
            continue
        launches.drop(state, node_id)
        node_lock = state.our_node_lock(node_id)
        if node.state is not NodeState.BUILDING or node_lock is None:
            continue
        if launch.failing and lifecycle.is_worth_keeping(launch) and ("node", node_id) not in state.busy:
            keeping.hold(state, launch, node, node_lock)
        else:
            deletions.begin(state, node, _reason(launch), doubtful=launch.phase in (Phase.CREATING, Phase.UNCERTAIN))
    if request is None and lock is not None:
        directory = paths.request_lock(claim.request_id)
        state.commit(Purpose.DROP_LOCK, ("request", claim.request_id), (Delete(lock), Delete(directory)))
    state.dirty.update({("request", claim.request_id), "admission"})


def _reason(launch: Launch) -> DeleteReason:
    if launch.phase is Phase.FAILED:
        return DeleteReason.FAILED
    if launch.failure is LaunchFailure.AWAY:
        return DeleteReason.AWAY
    return DeleteReason.ABORTED if launch.phase is Phase.ABORTED else DeleteReason.NOT_WANTED
