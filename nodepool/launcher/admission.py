"""Gives the admission pass what it looks at, and turns its decisions into transactions.

Runs on the decision thread; no I/O. Taking a request is one transaction: its lock, its state, its reserved nodes and
the records of the nodes to launch. A request that ready nodes can serve is taken and fulfilled in the same transaction.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace

from nodepool.daemon.instructions import Level
from nodepool.launcher import deletions, launches, room, session, zones
from nodepool.launcher.admit import Admission, Decision, Decline, MakeRoom, Probe, Take, Wait
from nodepool.launcher.capacity import Allocation, PoolCapacity
from nodepool.launcher.claims import declined
from nodepool.launcher.instructions import Purpose, StartScan
from nodepool.launcher.open_requests import Kind
from nodepool.launcher.setup import PoolSetup
from nodepool.launcher.state import State
from nodepool.launcher.work import Claim, Planned, Refusals
from nodepool.model.node import Node
from nodepool.model.reasons import DeclineReason, DeleteReason, WaitReason
from nodepool.model.request import NodeRequest
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState, RequestState
from nodepool.telemetry.facts import RequestDeclined
from nodepool.zk import paths
from nodepool.zk.store import Create, Operation, SetData

ANSWER_HOLDS = 5.0
"""Seconds for which a host that answered need not be looked at again."""
PAUSED_AT_LEAST = 2.0
"""Seconds for which others are told that a pool is full: one at its limit is so, and is not, many times a second."""
_NO_QUOTA = "Not enough quota remaining to satisfy request"
_AS_KNOWN = {
    WaitReason.AT_POOL_LIMIT: _NO_QUOTA,
    WaitReason.AT_PROVIDER_QUOTA: _NO_QUOTA,
    WaitReason.CLOUD_REFUSES: _NO_QUOTA,
    WaitReason.BETTER_PRIORITY: "Yielding request to higher priority providers",
}
"""What operators of Nodepool 11 search for (spec operation 4)."""
_GOING = (NodeState.DELETING, NodeState.USED, NodeState.ABORTED, NodeState.FAILED)
"""States in which a node will soon use nothing any more."""


def run(state: State) -> None:
    """One pass over all open requests."""
    capacities = room.capacities_of_pools(state) if state.open_requests else {}
    admission = Admission(
        now=state.now,
        capacities=capacities,
        registered=state.mirror.pools(),
        known=state.known_pools(),
        labels=state.setup.labels,
        label_problem=lambda pool, label: room.label_problem(state, pool, label),
        limits_of=lambda pool: room.limits_of(state, pool),
        tenant_room=lambda tenant: _tenant_room(state, tenant),
        answered={node_id for node_id, until in state.hosts.answered.items() if until > state.now},
        first_seen=state.first_seen,
        refused_until=lambda request_id, provider: state.refusals.get((request_id, provider), Refusals()).until,
        choose_zone=lambda pool, labels, zone: zones.choose(state, pool, labels, zone),
    )
    for decision in admission.run(_open_requests(state, admission.hopeless)):
        _carry_out(state, decision)
    state.hopeless = admission.hopeless
    _publish_crowding(state, capacities)


def _open_requests(state: State, hopeless: Container[Kind]) -> Iterator[NodeRequest]:
    """Those that nobody works on, in order, without the rest of a kind that turns out to be hopeless meanwhile."""
    for request_id in state.open_requests.in_order(hopeless.__contains__):
        request = state.mirror.request(request_id)
        if request is None or request_id in state.claims or ("request", request_id) in state.busy:
            continue
        if state.mirror.request_locks.get(request_id):
            state.waiting[request_id] = WaitReason.REQUEST_LOCKED
            continue
        yield request


def _tenant_room(state: State, tenant: str) -> Resources:
    limits = state.setup.tenant_limits.get(tenant)
    if limits is None:
        return Resources.limit({})
    planned = Resources.total(plan.tenant_need for plan in state.planned.values() if plan.tenant == tenant)
    return limits.remaining(state.index.used_by_tenant(tenant)).remaining(planned)


def _carry_out(state: State, decision: Decision) -> None:
    match decision:
        case Take():
            _take(state, decision)
        case Decline(request, reasons):
            _decline(state, request, reasons)
        case Wait(request, reason, until):
            _wait(state, request, reason, until)
        case Probe(request, nodes, pool):
            state.waiting[request.id] = WaitReason.CHECKING_HOST
            _probe(state, nodes, pool)
        case MakeRoom():
            _make_room(state, decision)


def _take(state: State, take: Take) -> None:
    request, pool, allocation = take.request, take.pool, take.allocation
    state.waiting.pop(request.id, None)
    logger = f"nodepool.PoolWorker.{pool.provider.name}-{pool.settings.name}"
    state.say(Level.INFO, logger, f"Assigning node request to pool {pool.settings.name}: {request.wish}", request)
    launched = sum(node is None for node in allocation.nodes)
    state.planned[request.id] = Planned(pool.key, take.need, launched, request.tenant_name, take.tenant_need)
    reused = [node for node in allocation.nodes if node is not None]
    reserve = [operation for node in reused for operation in _reserve(state, node, request)]
    if allocation.complete:
        _hand_over(state, request, reused, reserve)
    else:
        _start_work(state, request, pool, allocation, reserve)
    for node in reused:
        state.busy[("node", node.id)] = 0.0
    state.reserving[request.id] = [node.id for node in reused]


def _hand_over(state: State, request: NodeRequest, nodes: list[Node], reserve: list[Operation]) -> None:
    """Ready nodes serve it: one transaction takes and fulfils it."""
    record = request.in_state(RequestState.PENDING, state.now)
    record = record.in_state(RequestState.FULFILLED, state.now, nodes=tuple(node.id for node in nodes))
    operations = (*reserve, *state.seize_request(request.id), _store(state, record))
    state.commit(Purpose.HAND_OVER, ("request", request.id), operations, record)


def _start_work(
    state: State, request: NodeRequest, pool: PoolSetup, allocation: Allocation, reserve: list[Operation]
) -> None:
    """Something has to be launched: one transaction takes the request and makes the records."""
    record = request.in_state(RequestState.PENDING, state.now)
    new_nodes = _new_nodes(state, request, pool, allocation)
    operations = (*reserve, *state.lock_request(request.id), _store(state, record), *new_nodes)
    state.commit(Purpose.TAKE, ("request", request.id), operations, record)
    slots = [node.id if node is not None else None for node in allocation.nodes]
    state.taking[request.id] = Claim(request.id, pool.launcher_id, slots, allocation.zone)


def _store(state: State, record: NodeRequest) -> Operation:
    return SetData(paths.request(record.id), record.to_json(), state.request_version(record.id))


def _reserve(state: State, node: Node, request: NodeRequest) -> tuple[Operation, ...]:
    """Allocate a free node: proves that nobody has its lock, and changes the record that we know."""
    record = node.replace(allocated_to=request.id, tenant_name=request.tenant_name, requestor=request.requestor)
    write = SetData(paths.node(node.id), record.to_json(), state.node_version(node.id))
    return (*state.seize_node(node.id), write)


def _new_nodes(state: State, request: NodeRequest, pool: PoolSetup, allocation: Allocation) -> list[Operation]:
    operations: list[Operation] = []
    for label, chosen in zip(request.node_types, allocation.nodes, strict=True):
        if chosen is not None:
            continue
        record = Node(
            id="",
            state=NodeState.INIT,
            state_time=state.now,
            created_time=state.now,
            provider=pool.provider.name,
            pool=pool.settings.name,
            type=(label,),
            allocated_to=request.id,
            launcher=pool.launcher_id,
            attributes=pool.settings.node_attributes,
            tenant_name=request.tenant_name,
            requestor=request.requestor,
        )
        operations.append(Create(paths.NODES + "/", record.to_json(), sequence=True))
    return operations


def taken(state: State, request: NodeRequest, created: Iterable[str]) -> Claim:
    """The request is ours: ``created`` are the paths of the new nodes, in the order of the missing labels."""
    claim = state.taking.pop(request.id)
    new_ids = iter(path.rsplit("/", 1)[1] for path in created)
    pool = state.setup.pools.get(claim.launcher_id)
    for index, label in enumerate(request.node_types):
        if claim.slots[index] is None:
            node_id = next(new_ids)
            claim.slots[index] = node_id
            if pool is not None:
                launches.begin(state, pool, request, node_id, label)
    return claim


def _decline(state: State, request: NodeRequest, reasons: Mapping[str, DeclineReason]) -> None:
    for launcher_id, reason in reasons.items():
        provider = state.setup.pools[launcher_id].provider.name
        state.measure(RequestDeclined(provider, reason.name.lower()))
        if reason in (DeclineReason.LABEL_BROKEN, DeclineReason.OVER_QUOTA):
            session.look_again(state, provider)
        why = request.wish
        if reason is DeclineReason.LABEL_BROKEN:
            broken = room.what_is_broken(state.setup.pools[launcher_id], request.node_types)
            why = f"{why}; {broken}" if broken else why
        logger = f"nodepool.driver.NodeRequestHandler[{launcher_id}]"
        state.say(Level.INFO, logger, f"Declining node request: {reason.value} ({why})", request)
    record = declined(state, request, reasons, state.now)
    operations = (*state.seize_request(request.id), _store(state, record))
    state.commit(Purpose.DECLINE, ("request", request.id), operations)


def _wait(state: State, request: NodeRequest, reason: WaitReason, until: float | None) -> None:
    if state.waiting.get(request.id) is not reason:
        state.waiting[request.id] = reason
        text = f"{_AS_KNOWN.get(reason, 'Request waits')}: {reason.value}"
        state.say(Level.INFO, "nodepool.launcher.admission", text, request)
    if until is not None:
        state.wake(until, "admission")


def _probe(state: State, nodes: Iterable[Node], pool: PoolSetup) -> None:
    stock = pool.provider.stock
    assert stock is not None, "only registered hosts are probed"
    for node in nodes:
        scan = stock.check_before_use(node)
        if scan is not None and node.id not in state.hosts.probing:
            state.hosts.probing[node.id] = scan.key
            state.out.append(StartScan(replace(scan, key=("probe", node.id))))


def _make_room(state: State, order: MakeRoom) -> None:
    """Remove the oldest ready nodes that nobody asked for, unless enough is going already (spec launcher 2.3).

    None is removed while all of them would not be enough: then they may still serve others until something else goes.
    """
    provider, pool = order.pool.key
    free = [
        node
        for node in state.index.free_nodes(provider, None if order.anywhere else pool)
        if node.id not in order.wanted and ("node", node.id) not in state.busy and node.id not in state.deletions
    ]
    if not free:
        return
    nodes = (state.mirror.node(node_id) for node_id in state.index.of_provider(provider))
    coming = Resources.total(
        node.quota or state.cost_of(node)
        for node in nodes
        if node is not None
        and (node.state in _GOING or node.id in state.deletions)
        and (order.anywhere or node.pool == pool)
    )
    for node in _oldest_that_suffice(state, free, order.missing.remaining(coming)):
        deletions.begin(state, node, DeleteReason.MAKE_ROOM)


def _oldest_that_suffice(state: State, nodes: list[Node], missing: Resources) -> list[Node]:
    """The oldest of the nodes that make up for what is missing; none if all of them together do not."""
    freed = Resources()
    chosen: list[Node] = []
    for node in sorted(nodes, key=lambda node: node.state_time or 0.0):
        if _makes_up(freed, missing):
            break
        freed = freed + (node.quota or state.cost_of(node))
        chosen.append(node)
    return chosen if _makes_up(freed, missing) else []


def _makes_up(freed: Resources, missing: Resources) -> bool:
    return all(freed[name] >= missing[name] for name in missing.names())


def _publish_crowding(state: State, capacities: dict[str, PoolCapacity]) -> None:
    """Tell others which pools have a request that waits for room, so that pools of worse priority step in."""
    state.crowded = frozenset(launcher_id for launcher_id, capacity in capacities.items() if capacity.crowded)
    state.short_of_quota = {one.pool.provider.name for one in capacities.values() if one.provider.crowded}
    before = state.paused.keys() & state.setup.pools.keys()
    paused = {one: until for one, until in state.paused.items() if until > state.now and one in before}
    paused |= dict.fromkeys(state.crowded, state.now + PAUSED_AT_LEAST)
    state.paused = paused
    if paused.keys() != before:
        state.dirty.add("pools")
    if paused:
        state.wake_by(min(paused.values()), "admission")
