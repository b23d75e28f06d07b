"""Changing node records as an operator: under the node's lock, fenced, and only where the state allows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from nodepool.admin.failure import CommandFailed
from nodepool.admin.snapshot import decoded, find_node, holder, snapshot
from nodepool.model.node import Node
from nodepool.zk import paths
from nodepool.zk.client import Client, LockLost, LockTimeout, RecordMissing, TransactionRefused
from nodepool.zk.contenders import queue
from nodepool.zk.store import Check, Contended, Delete, Operation, RefusedBy, SetData

LOCK_WAIT = 5.0
"""Seconds that ``delete`` and ``hold`` wait for a lock (spec cli 2)."""
_ATTEMPTS = 5


@contextlib.contextmanager
def locked_node(client: Client, node_id: str, who: str, wait_seconds: float = LOCK_WAIT) -> Iterator[Contended]:
    """Hold the lock of a node; ``who`` is what others see as its holder. Raises :class:`CommandFailed`."""
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(client.lock(paths.node_lock(node_id), who.encode(), wait_seconds))
        except RecordMissing:
            raise CommandFailed(f"Node id {node_id} not found") from None
        except LockTimeout:
            raise CommandFailed(_who_holds(client, node_id, wait_seconds)) from None
        except LockLost:
            raise CommandFailed(f"Node {node_id} went away while its lock was awaited") from None
        yield held


def change(client: Client, node_id: str, who: str, decide: Callable[[Node], Node]) -> Node:
    """Lock a node, write what ``decide`` makes of its record, unlock it.

    ``decide`` is asked before the lock is taken and again under it, each time about the present record; it returns
    that record itself when nothing is to be written, and raises :class:`CommandFailed` to refuse.
    """
    decide(find_node(snapshot(client, paths.node(node_id)), node_id)[0])
    with locked_node(client, node_id, who) as held:
        for _ in range(_ATTEMPTS):
            node, version = find_node(snapshot(client, paths.node(node_id)), node_id)
            wanted = decide(node)
            if wanted is node or write(client, [(held, wanted, version)]):
                return wanted
    raise CommandFailed(f"Node {node_id} is changed all the time by somebody who does not lock it; try again")


def write(client: Client, changes: Sequence[tuple[Contended, Node, int]]) -> bool:
    """Write records (with the version that was read) under their locks: all of them or none.

    False if one was changed meanwhile by somebody without the lock, as the Jenkins plug-in does: read again, decide
    again. Raises :class:`CommandFailed` if a lock is lost.
    """
    operations: list[Operation] = []
    for held, node, version in changes:
        operations += [Check(contender_path(held)), SetData(paths.node(node.id), node.to_json(), version)]
    try:
        client.commit(operations)
    except TransactionRefused as error:
        if error.refused.reason is RefusedBy.BAD_VERSION:
            return False
        node = changes[error.refused.index // 2][1]
        raise CommandFailed(f"Node {node.id}: the lock was lost before the record was written; try again") from None
    return True


def remove(client: Client, held: Contended, node_id: str) -> None:
    """Remove a node's record, its lock included, at once. Raises :class:`CommandFailed` if the lock is lost."""
    own = contender_path(held)
    for _ in range(_ATTEMPTS):
        below = client.tree([paths.node(node_id)])
        others = sorted((path for path in below if path != own), key=lambda path: path.count("/"), reverse=True)
        try:
            client.commit([Delete(own), *(Delete(path) for path in others)])
        except TransactionRefused as error:
            if error.refused.index == 0:
                raise CommandFailed(f"Node {node_id}: the lock was lost before the record was removed") from None
            continue
        return
    raise CommandFailed(
        f"The record of node {node_id} could not be removed: others keep asking for its lock; try again"
    )


def contender_path(held: Contended) -> str:
    """The znode that stands for our place in a lock's queue."""
    return f"{held.directory}/{held.contender}"


def _who_holds(client: Client, node_id: str, waited: float) -> str:
    """Why the lock could not be had: who has it, as far as ZooKeeper tells."""
    found = client.tree([paths.node(node_id), paths.COMPONENTS])
    mirror = decoded(found)
    directory = paths.node_lock(node_id)
    names = queue(path.rpartition("/")[2] for path in found if path.startswith(f"{directory}/"))
    node, who = mirror.node(node_id), holder(found, directory, names)
    if node is None or who is None:
        return f"Node {node_id} was locked for {waited:g} s; nothing was changed (try again)"
    owner = found[f"{directory}/{names[0]}"].ephemeral_owner
    session = f"ZooKeeper session {owner:#x}" if owner else "no session"
    use = f", allocated to {node.allocated_to}" if node.allocated_to else ""
    return (
        f"Node {node_id} is locked by {who} ({session}); its state is {node.state}{use}. It was not unlocked within "
        f"{waited:g} s, and nothing was changed (try again when its lock is gone)"
    )
