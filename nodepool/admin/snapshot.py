"""What ZooKeeper holds at one moment, read in bulk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nodepool.admin.failure import CommandFailed
from nodepool.admin.table import printable
from nodepool.model.node import Node
from nodepool.zk import paths
from nodepool.zk.client import Client
from nodepool.zk.contenders import queue
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Batch, Datum


def snapshot(client: Client, *roots: str) -> Mirror:
    """All records and locks at and below ``roots``."""
    return decoded(client.tree(roots))


def decoded(tree: Mapping[str, Datum]) -> Mirror:
    """The records and locks among these znodes."""
    mirror = Mirror()
    mirror.apply(Batch(0, tree, complete=True))
    return mirror


def find_node(mirror: Mirror, node_id: str) -> tuple[Node, int]:
    """The record of a node and its version. Raises :class:`CommandFailed` if it is missing or cannot be read."""
    entry = mirror.nodes.get(node_id)
    if entry is None:
        raise CommandFailed(f"Node id {printable(node_id)} not found")
    if entry.record is None:
        advice = (
            "a launcher removes such a leftover within a minute"
            if entry.empty
            else f"look for its machine, then correct or remove {paths.node(node_id)} with a ZooKeeper client"
        )
        raise CommandFailed(f"Node {node_id} cannot be read: {printable(entry.problem)}; it is left alone ({advice})")
    return entry.record, entry.version


def holder(tree: Mapping[str, Datum], directory: str, names: Sequence[str]) -> str | None:
    """Who has the lock with these contenders, in words: the name it gave, and its daemon; None if nobody has."""
    waiting = queue(names)
    if not waiting:
        return None
    datum = tree[f"{directory}/{waiting[0]}"]
    components = decoded({path: value for path, value in tree.items() if path.startswith("/nodepool/components/")})
    owners = {
        f"{entry.record.kind} on {entry.record.hostname}"
        for entry in components.components.values()
        if entry.record is not None and entry.ephemeral_owner == datum.ephemeral_owner != 0
    }
    name = printable(datum.data.decode("utf-8", "replace"))
    return ", ".join(filter(None, [name, *sorted(owners)])) or "a client that gives no name"


def is_name(text: str) -> bool:
    """Whether a text can be the name of a znode, so that a path made with it stays below its parent."""
    return bool(text) and "/" not in text and text not in (".", "..") and text.isprintable()
