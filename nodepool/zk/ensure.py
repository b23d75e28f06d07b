"""Creating a znode with all its parents: for roots and lock directories outside of records, never for records."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nodepool.zk.paths import parents
from nodepool.zk.store import Committed, Create, Outcome, Refused, RefusedBy, Store


def ensure(store: Store, path: str, done: Callable[[Outcome], None]) -> None:
    """Create ``path`` and the parents that it lacks, empty; whatever exists is left as it is.

    ``done`` gets Committed if the znode is there now. One round trip: all levels are sent one after the other.
    """
    for parent in parents(path):
        store.commit([Create(parent)], _ignore)
    store.commit([Create(path)], partial(_finish, path, done))


def _ignore(_: Outcome) -> None:
    """The last level tells."""


def _finish(path: str, done: Callable[[Outcome], None], outcome: Outcome) -> None:
    if isinstance(outcome, Refused) and outcome.reason is RefusedBy.NODE_EXISTS:
        outcome = Committed((path,))
    done(outcome)
