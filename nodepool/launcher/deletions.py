"""Removes nodes: marks the record, has every server of the node deleted, sees that they are gone, erases the record.

Runs on the decision thread; no I/O. A deletion is tried for ever, with growing pauses between the calls; the record
stays until a list of the cloud shows nothing of the node any more (spec launcher 4.2).
"""

from __future__ import annotations

from nodepool.daemon.instructions import Level
from nodepool.driver.adapter import ServerState
from nodepool.launcher.clouds import Cloud, servers_of
from nodepool.launcher.instructions import DeleteServer, Purpose
from nodepool.launcher.state import State
from nodepool.launcher.work import Deletion
from nodepool.model.node import Node
from nodepool.model.reasons import DeleteReason
from nodepool.model.states import NodeState, may_follow
from nodepool.zk import paths
from nodepool.zk.store import Check, Delete, Operation, SetData

REPEAT_AFTER = 30.0
"""Seconds until a server is asked to go again that is still there though the cloud has agreed; longer each time."""
LONGEST_PAUSE = 300.0
"""Longest such pause in seconds."""
LONGEST_AFTER_ERROR = 60.0
"""Longest pause in seconds after a call that failed. While the cloud fails at everything, the circuit breaker waits."""


def begin(state: State, node: Node, reason: DeleteReason, doubtful: bool | None = None) -> None:
    """Start removing a node that nobody, or only we, have locked.

    ``doubtful`` is whether it may have a server whose id nobody knows; by default, one that was being made may.
    """
    provider = node.provider or ""
    deletion = Deletion(node.id, provider, reason, state.now, state.node_version(node.id))
    deletion.doubtful = node.state is NodeState.BUILDING if doubtful is None else doubtful
    state.deletions[node.id] = deletion
    state.dirty.add(("node", node.id))
    state.say(
        Level.INFO,
        "nodepool.DeletedNodeWorker",
        f"Deleting node {node.id} of provider {provider} ({node.state}): {reason.value}",
        node=node.id,
    )


def step(state: State, node_id: str) -> None:
    """Do what a deletion needs next."""
    if ("node", node_id) in state.busy:
        return
    deletion = state.deletions[node_id]
    node = state.mirror.node(node_id)
    lock = state.our_node_lock(node_id)
    if node is None or (lock is None and _is_stale(state, deletion)):
        _forget(state, node_id)
    elif lock is None or node.state is not NodeState.DELETING:
        _mark(state, deletion, node, lock)
    elif _gone(state, deletion, node):
        _erase(state, node, lock)
    else:
        _call(state, deletion, node)


def call_ended(state: State, deletion: Deletion, error: Exception | None, ended: float) -> None:
    """A call that deletes a server of the node ended."""
    deletion.calling = False
    deletion.calls_ended = max(deletion.calls_ended, ended)
    if error is None:
        deletion.accepted += 1
        deletion.next_call = state.now + min(REPEAT_AFTER * 2 ** min(deletion.accepted - 1, 20), LONGEST_PAUSE)
    else:
        deletion.failures += 1
        pause = min(2.0 ** min(deletion.failures - 1, 20), LONGEST_AFTER_ERROR)
        deletion.next_call = state.now + pause
        state.say(
            Level.WARNING,
            f"nodepool.StateMachineNodeDeleter.{deletion.provider}",
            f"Server of node {deletion.node_id} could not be deleted ({error}); next try in {pause:g} s",
            node=deletion.node_id,
        )
    state.wake(deletion.next_call, ("node", deletion.node_id))


def _is_stale(state: State, deletion: Deletion) -> bool:
    """Whether the reason for a deletion that has not begun may be gone: somebody has locked or changed the node."""
    locked = bool(state.mirror.node_locks.get(deletion.node_id))
    return locked or state.node_version(deletion.node_id) != deletion.version


def _forget(state: State, node_id: str) -> None:
    deletion = state.deletions.pop(node_id)
    if deletion.provider in state.clouds:
        state.clouds[deletion.provider].waiting.discard(node_id)
    state.dirty.update({("node", node_id), ("stock", deletion.provider)})


def _mark(state: State, deletion: Deletion, node: Node, lock: str | None) -> None:
    """Take the lock, unless we have it, and store that the node is being removed."""
    if node.state is NodeState.DELETED:
        record = node
    elif node.state is NodeState.DELETING or may_follow(node.state, NodeState.DELETING):
        record = node if node.state is NodeState.DELETING else node.in_state(NodeState.DELETING, state.now)
    else:
        _forget(state, node.id)
        return
    take: tuple[Operation, ...] = (Check(lock),) if lock else state.lock_node(node.id)
    store = SetData(paths.node(node.id), record.to_json(), state.node_version(node.id))
    deletion.calls_ended = state.now
    if node.state is NodeState.DELETED and lock:
        _erase(state, node, lock)
        return
    state.commit(Purpose.MARK, ("node", node.id), (*take, store))


def _gone(state: State, deletion: Deletion, node: Node) -> bool:
    """Whether a list that began after all our calls shows no server of the node."""
    cloud = state.clouds.get(deletion.provider)
    provider = state.setup.providers.get(deletion.provider)
    if provider is not None and provider.stock is not None:
        return True
    if cloud is None or provider is None:
        return False
    lag = provider.list_lag
    if deletion.doubtful:
        lag = max(lag, provider.doubt)
    settled = cloud.list_began > deletion.calls_ended + lag and not deletion.calling
    if node.id in state.creating:
        return False
    return settled and not servers_of(cloud, node)


def _call(state: State, deletion: Deletion, node: Node) -> None:
    cloud = state.clouds.setdefault(deletion.provider, Cloud())
    cloud.waiting.add(node.id)
    if deletion.calling or state.now < deletion.next_call:
        return
    # A cloud may lose a deletion that it has begun: nothing moves it then but being asked again.
    patient = state.now < deletion.began + REPEAT_AFTER
    servers = (one for one in servers_of(cloud, node) if not (patient and one.state is ServerState.DELETING))
    doomed = {str(server.external_id): server.external_id for server in servers}
    if node.external_id is not None and cloud.list_began <= deletion.began:
        doomed.setdefault(str(node.external_id), node.external_id)
    for external_id in doomed.values():
        deletion.calling = True
        state.out.append(DeleteServer(deletion.provider, node.id, external_id))


def _erase(state: State, node: Node, lock: str) -> None:
    """Remove the record, its lock directory and every contender in it, in one transaction."""
    directory = paths.node_lock(node.id)
    others = [f"{directory}/{name}" for name in state.mirror.node_locks.get(node.id, ())]
    operations = [Delete(path) for path in sorted({lock, *others})]
    operations += [Delete(directory), Delete(paths.node(node.id), state.node_version(node.id))]
    text = f"Deleting ZK node id={node.id}, state={node.state}, external_id={node.external_id}"
    state.say(Level.INFO, "nodepool.DeletedNodeWorker", text, node=node.id)
    state.commit(Purpose.ERASE, ("node", node.id), operations)
