"""Taking a lock inside of a transaction, by the recipe of :mod:`nodepool.zk.contenders` (spec zookeeper 6.1). Pure.

A directory that can be deleted has no contenders: doing it in the transaction proves that nobody holds the lock.
"""

from __future__ import annotations

from nodepool.zk.contenders import PREFIX_END
from nodepool.zk.store import Create, Delete, Operation


def seize(directory: str, exists: bool) -> tuple[Operation, ...]:
    """Operations that succeed only if nobody holds or awaits a lock, and leave an empty directory.

    ``exists`` is whether the lock's directory is there. Its parent must be.
    """
    return (Delete(directory), Create(directory)) if exists else (Create(directory),)


def seize_and_hold(directory: str, exists: bool, prefix: str) -> tuple[Operation, ...]:
    """The same, and a contender of ours that begins with ``prefix`` (32 hex digits) and holds the lock from then on."""
    return (*seize(directory, exists), Create(f"{directory}/{prefix}{PREFIX_END}", ephemeral=True, sequence=True))
