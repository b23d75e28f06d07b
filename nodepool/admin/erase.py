"""Removing what ZooKeeper holds of a provider, without touching its cloud (``erase``, spec cli 2)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from nodepool.admin.failure import CommandFailed
from nodepool.admin.snapshot import decoded
from nodepool.zk import paths
from nodepool.zk.client import Client, TransactionRefused
from nodepool.zk.store import Delete

BATCH = 100
"""Znodes deleted in one transaction (facts of ZooKeeper: a hundred at once cost little more than one)."""
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Holdings:
    """What there is of a provider: znodes to delete, children before parents, and how many records they are."""

    uploads: int
    upload_paths: tuple[str, ...]
    nodes: int
    node_paths: tuple[str, ...]


def holdings(client: Client, provider: str) -> Holdings:
    """All of a provider. Node records that cannot be read belong to nobody that we know, and are not in it."""
    tree = client.tree([paths.NODES, paths.IMAGES])
    mirror = decoded(tree)
    node_ids = {key for key, entry in mirror.nodes.items() if entry.record and entry.record.provider == provider}
    uploads = sum(1 for key in mirror.uploads if key[2] == provider)
    upload_paths = _children_first(path for path in tree if _is_upload_data(path, provider))
    node_paths = _children_first(path for path in tree if _is_node_data(path, node_ids))
    return Holdings(uploads, upload_paths, len(node_ids), node_paths)


def erase(client: Client, doomed: Sequence[str]) -> bool:
    """Delete these znodes in transactions of a hundred. False if others changed some of them meanwhile: look again."""
    undisturbed = True
    for start in range(0, len(doomed), BATCH):
        try:
            client.commit([Delete(path) for path in doomed[start : start + BATCH]])
        except TransactionRefused:
            undisturbed = False
    return undisturbed


def erase_all(client: Client, provider: str, found: Holdings, tell: Callable[[str], None]) -> None:
    """Delete all of a provider, and ``tell`` how far it is.

    Raises :class:`CommandFailed` when others make more of it all the time.
    """
    for _ in range(_ATTEMPTS):
        tell(f"Erasing build data for {provider}: {found.uploads} upload records")
        undisturbed = erase(client, found.upload_paths)
        tell(f"Erasing node data for {provider}: {found.nodes} node records")
        if erase(client, found.node_paths) and undisturbed:
            return
        found = holdings(client, provider)
    raise CommandFailed(
        f"Not all data of provider {provider} could be erased: daemons keep changing it. "
        f"Stop the launchers and builders of {provider}, or take it out of their configuration, and try again"
    )


def _is_node_data(path: str, node_ids: Collection[str]) -> bool:
    """Whether a path is the record of one of these nodes or below it."""
    parts = path.split("/")
    return len(parts) >= 4 and parts[2] == "nodes" and parts[3] in node_ids


def _is_upload_data(path: str, provider: str) -> bool:
    """Whether a path is ``/nodepool/images/IMAGE/builds/BUILD/providers/PROVIDER`` or below it."""
    parts = path.split("/")
    return len(parts) >= 8 and parts[2] == "images" and parts[6:8] == ["providers", provider]


def _children_first(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(found, reverse=True))
