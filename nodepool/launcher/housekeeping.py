"""Looks at single records: hands them to whoever works on them, or does what becomes of those nobody works on.

Runs on the decision thread; no I/O. What any launcher could do, the first by rendezvous hashing does at once, and the
others after :data:`~nodepool.launcher.stocking.STEP_IN_AFTER`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

from nodepool.daemon.instructions import Level
from nodepool.launcher import claims, deletions, keeping, launches, losses, stocking, sweep
from nodepool.launcher.instructions import DeleteServer, Purpose
from nodepool.launcher.state import State
from nodepool.launcher.stocking import STEP_IN_AFTER
from nodepool.model import rendezvous
from nodepool.model.node import Node
from nodepool.model.reasons import DeleteReason
from nodepool.model.request import NodeRequest
from nodepool.model.states import NodeState, RequestState
from nodepool.zk import paths
from nodepool.zk.contenders import sequence_of
from nodepool.zk.mirror import Entry
from nodepool.zk.store import Check, Delete, Operation, SetData

SIGHT_GRACE = 0.25
"""Seconds in which a request comes into our view for which a node in it is reserved."""
LOCKER_GRACE = 1.0
"""Seconds for which an empty record stands: kazoo's lock makes it before its contender, and fails if it is gone."""


def look_at_node(state: State, node_id: str) -> None:
    """Decide what a node needs."""
    if ("node", node_id) in state.busy:
        return
    if node_id in state.launches:
        launches.step(state, node_id)
    elif node_id in state.deletions:
        deletions.step(state, node_id)
    else:
        entry = state.mirror.nodes.get(node_id)
        if entry is None:
            _delete_unclaimed(state, node_id)
            state.noticed.pop(("node", node_id), None)
            state.hosts.answered.pop(node_id, None)
        else:
            _look_at_free_node(state, node_id, entry)


def look_at_request(state: State, request_id: str) -> None:
    """Decide what a request needs, other than admission."""
    entry = state.mirror.requests.get(request_id)
    request = entry.record if entry else None
    _sort(state, request_id, request)
    if ("request", request_id) in state.busy:
        return
    if request_id in state.claims:
        claims.step(state, request_id)
        return
    contenders = state.mirror.request_locks.get(request_id)
    if state.our_contender(contenders or ()):
        _unlock(state, ("request", request_id), paths.request_lock(request_id), contenders or ())
    elif entry is None:
        _clear_lock(state, request_id, contenders)
    elif request is None:
        _report(state, paths.request(request_id), entry.problem)
    else:
        _look_at_open_request(state, request, entry)


def report_broken(state: State, paths_of_news: Iterable[str]) -> None:
    """Report what cannot be read among components, images and locks; nodes and requests are when they are looked at."""
    mirror = state.mirror
    for path in paths_of_news:
        entry: Entry[Any] | None = None
        match path.split("/")[2:]:
            case ["components", kind, name]:
                entry = mirror.components.get(f"{kind}/{name}")
            case ["images", image, "builds", build]:
                entry = mirror.builds.get((image, build))
            case ["images", image, "builds", build, "providers", provider, "images", upload]:
                entry = mirror.uploads.get((image, build, provider, upload))
            case ["nodes", _, "lock", contender] | ["requests-lock", _, contender] if sequence_of(contender) is None:
                _report(state, path, "its name is not a contender's, and nobody can have the lock while it is there")
        if entry is not None and entry.problem:
            _report(state, path, entry.problem)


def _sort(state: State, request_id: str, request: NodeRequest | None) -> None:
    """Keep the sets of requests, and wake the nodes of one that wants them no more."""
    if request is not None and request.state is RequestState.REQUESTED:
        state.first_seen.setdefault(request_id, state.now)
        if state.open_requests.put(request):
            state.dirty.add("admission")
    elif state.open_requests.remove(request_id):
        state.waiting.pop(request_id, None)
        state.dirty.add("admission")
    if request is not None and request.is_min_ready:
        state.stock.requests.add(request_id)
    if request is None:
        state.stock.requests.discard(request_id)
        state.first_seen.pop(request_id, None)
        for provider in state.setup.providers:
            state.refusals.pop((request_id, provider), None)
    if request is None or request.state is not RequestState.PENDING:
        state.dirty.update(("node", node_id) for node_id in state.index.of_request(request_id))


def _delete_unclaimed(state: State, node_id: str) -> None:
    """The node is gone: so must be the server that we made for it.

    Whoever removed the node may have looked for its servers before this one was there.
    """
    provider, external_id = state.unclaimed.pop(node_id, ("", None))
    if external_id is not None:
        state.out.append(DeleteServer(provider, node_id, external_id))


def _look_at_free_node(state: State, node_id: str, entry: Entry[Node]) -> None:
    contenders = state.mirror.node_locks.get(node_id)
    if contenders:
        if state.our_contender(contenders):
            _unlock(state, ("node", node_id), paths.node_lock(node_id), contenders)
        return
    if entry.record is None:
        if entry.empty:
            _erase_empty(state, node_id, entry)
        else:
            _report(state, paths.node(node_id), entry.problem)
        return
    _do_fate(state, entry.record)


def _is_drained(state: State, node: Node) -> bool:
    """Whether nobody has a node, and its cloud is to be emptied. Hosts that are registered stay so."""
    setup = state.setup.providers.get(node.provider or "")
    free = node.state is NodeState.READY and not node.allocated_to
    return free and setup is not None and setup.stock is None and f"provider/{node.provider}" in state.mirror.drained


def _do_fate(state: State, node: Node) -> None:
    fate = sweep.fate_of_node(
        node,
        request=state.mirror.request(node.allocated_to) if node.allocated_to else None,
        launcher_alive=any(pool.id == node.launcher for pool in state.mirror.pools()),
        max_ready_age=max(
            (state.setup.labels[label].max_ready_age for label in node.type if label in state.setup.labels), default=0
        ),
        max_hold_age=state.setup.max_hold_age,
        now=state.now,
        lost=losses.is_lost(state, node.id, node.provider or ""),
    )
    key = ("node", node.id)
    if fate.task is sweep.Task.NOTHING and keeping.is_replaced(state, node):
        fate = sweep.Fate(sweep.Task.DELETE, DeleteReason.REPLACED)
    if fate.task is sweep.Task.NOTHING and _is_drained(state, node):
        fate = sweep.Fate(sweep.Task.DELETE, DeleteReason.DRAINED)
    if fate.task is sweep.Task.NOTHING:
        state.noticed.pop(key, None)
        if fate.at is not None:
            state.wake(fate.at, key)
        return
    ours = node.provider in state.setup.providers
    if not ours and (fate.task is sweep.Task.DELETE or state.registered_pools_of(node.provider or "")):
        return
    candidates = state.registered_pools_of(node.provider or "") if ours else _all_pools(state)
    if not _our_turn(state, key, node.id, candidates):
        return
    if fate.task is sweep.Task.FREE:
        _free(state, node)
    elif fate.reason is not None:
        deletions.begin(state, node, fate.reason)


def _free(state: State, node: Node) -> None:
    """Make a node available again whose request does not want it, by a view of the request that is not an old one.

    Our view may have a part of a transaction before the rest of it. That a request is as we know it can be proved; that
    it is gone cannot, so that one which we do not know gets a moment to come into sight.
    """
    key, request_id = ("node", node.id), node.allocated_to or ""
    proof: tuple[Operation, ...] = ()
    if request_id in state.mirror.requests:
        proof = (Check(paths.request(request_id), state.request_version(request_id)),)
    elif state.now < state.noticed[key] + SIGHT_GRACE:
        state.wake(state.noticed[key] + SIGHT_GRACE, key)
        return
    state.commit(Purpose.FREE, key, (*proof, *stocking.free(state, node)))


def _look_at_open_request(state: State, request: NodeRequest, entry: Entry[NodeRequest]) -> None:
    key = ("request", request.id)
    if sweep.is_lost(request, bool(state.mirror.request_locks.get(request.id))):
        if _our_turn(state, key, request.id, _all_pools(state)):
            _reset(state, request)
        return
    state.noticed.pop(key, None)
    finished = request.state in (RequestState.FULFILLED, RequestState.FAILED)
    if finished and request.is_min_ready and entry.ephemeral_owner == state.session:
        stocking.ended(state, request)


def _reset(state: State, request: NodeRequest) -> None:
    """Somebody took the request and is gone: let it be taken again."""
    state.say(Level.INFO, "nodepool.CleanupWorker", "Unlocking lost request", request)
    record = request.in_state(RequestState.REQUESTED, state.now, nodes=())
    write = SetData(paths.request(request.id), record.to_json(), state.request_version(request.id))
    state.commit(Purpose.RESET, ("request", request.id), (*state.seize_request(request.id), write))


def _clear_lock(state: State, request_id: str, contenders: set[str] | None) -> None:
    """Remove the lock directory of a request that is gone (spec zookeeper 6.4)."""
    key = ("request", request_id)
    if contenders is None:
        state.noticed.pop(key, None)
    elif not contenders and _our_turn(state, key, request_id, _all_pools(state)):
        state.commit(Purpose.REMOVE_LOCK, key, (Delete(paths.request_lock(request_id)),))


def _erase_empty(state: State, node_id: str, entry: Entry[Node]) -> None:
    """Remove what a late locker left behind (spec zookeeper 6.4)."""
    key = ("node", node_id)
    settled = state.noticed.setdefault(key, state.now) + LOCKER_GRACE
    if state.now < settled:
        state.wake(settled, key)
        return
    if not _our_turn(state, key, node_id, _all_pools(state)):
        return
    directory = (Delete(paths.node_lock(node_id)),) if node_id in state.mirror.node_locks else ()
    operations: tuple[Operation, ...] = (*directory, Delete(paths.node(node_id), entry.version))
    state.commit(Purpose.ERASE_EMPTY, key, operations)


def _unlock(state: State, key: Hashable, directory: str, contenders: Iterable[str]) -> None:
    """Remove a contender of ours that nothing uses: its transaction's outcome was in doubt."""
    ours = state.our_contender(contenders)
    state.commit(Purpose.UNLOCK, key, (Delete(f"{directory}/{ours}"),))


def _our_turn(state: State, key: Hashable, subject: str, candidates: Iterable[str]) -> bool:
    """Whether we do something that others could do as well."""
    winner = rendezvous.first(subject, candidates)
    since = state.noticed.setdefault(key, state.now)
    if winner is None or winner in state.setup.pools or state.now >= since + STEP_IN_AFTER:
        return True
    state.wake(since + STEP_IN_AFTER, key)
    return False


def _all_pools(state: State) -> list[str]:
    return [pool.id for pool in state.mirror.pools() if pool.id]


def _report(state: State, path: str, problem: str) -> None:
    if f"{path}: {problem}" not in state.reported:
        state.reported.add(f"{path}: {problem}")
        state.say(Level.ERROR, "nodepool.zk.ZooKeeper", f"{path} cannot be read and is left alone: {problem}")
