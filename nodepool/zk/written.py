"""What a transaction of our own has left in ZooKeeper, so that it counts before the feed tells of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nodepool.zk.mirror import Entry
from nodepool.zk.store import Check, Committed, Create, Datum, Delete, Operation, SetData

Known = Callable[[str], Entry[Any] | None]
"""What is known of the record at a path."""


def written(
    operations: Sequence[Operation], outcome: Committed, known: Known, now: float, session: int
) -> dict[str, Datum | None]:
    """By path, what is there after a transaction of ``session`` that was done ``now`` (epoch); None is gone."""
    entries: dict[str, Datum | None] = {}
    for operation, result in zip(operations, outcome.results, strict=True):
        match operation:
            case Create(_, data, ephemeral, _):
                owner = session if ephemeral else 0
                entries[str(result)] = Datum(data, 0, outcome.zxid, outcome.zxid, now, now, owner)
            case SetData(path, data, version):
                before = known(path)
                owner, czxid = (before.ephemeral_owner, before.czxid) if before else (0, 0)
                ctime = before.ctime if before else now
                new = result if isinstance(result, int) else version + 1
                entries[path] = Datum(data, new, czxid, outcome.zxid, ctime, now, owner)
            case Delete(path, _):
                entries[path] = None
            case Check():
                pass
    return entries
