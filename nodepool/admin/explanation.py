"""What an explanation is made of and made from (``nodepool explain``). Pure.

Explanations come from records, from who holds which lock, and from this machine's configuration. What only a daemon
knows (the limits of a cloud, its last error) is in none of them, and is said to be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nodepool.admin.snapshot import decoded, holder
from nodepool.admin.table import printable
from nodepool.config.settings import Config
from nodepool.driver.adapter import PoolSettings
from nodepool.model.component import Component
from nodepool.model.resources import Resources
from nodepool.zk.store import Datum


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something is as it is."""

    kind: str
    """``request``, ``node`` or ``image``."""
    id: str
    state: str
    summary: str
    """One sentence."""
    details: Sequence[str] = ()
    """One line each."""
    pools: Sequence[Mapping[str, Any]] = ()
    """For a request: what each pool says."""

    def as_json(self) -> dict[str, Any]:
        """The JSON object."""
        values = {"kind": self.kind, "id": self.id, "state": self.state, "summary": self.summary}
        return {**values, "details": list(self.details), "pools": list(self.pools)}


class Site:
    """All that ZooKeeper holds, and this machine's configuration, at one moment (epoch seconds)."""

    def __init__(self, tree: Mapping[str, Datum], config: Config, now: float) -> None:
        self.tree = tree
        self.mirror = decoded(tree)
        self.config = config
        self.now = now
        self._locks: dict[str, list[str]] = {}
        for path in tree:
            parent, _, name = path.rpartition("/")
            self._locks.setdefault(parent, []).append(name)

    def since(self, time: float | None) -> str:
        """`` for 5 min``; nothing if the time is not known."""
        return "" if time is None else f" for {duration(self.now - time)}"

    def holder(self, directory: str) -> str | None:
        """Who has a lock, in words; None if nobody has."""
        return holder(self.tree, directory, self._locks.get(directory, ()))

    def pool_settings(self, provider: str | None, pool: str | None) -> PoolSettings | None:
        """What this machine's configuration says of a pool; None if it has no such pool."""
        entry = self.config.providers.get(provider or "")
        return None if entry is None else entry.settings().pools.get(pool or "")

    def used(self, provider: str | None, pool: str | None) -> Resources:
        """What the nodes of a pool use, by their records."""
        records = [entry.record for entry in self.mirror.nodes.values() if entry.record]
        ours = [node for node in records if (node.provider, node.pool) == (provider, pool)]
        return Resources.total(node.quota or Resources(instances=1) for node in ours)


def pool_name(pool: Component) -> str:
    """``PROVIDER/POOL on HOST``."""
    host = f" on {pool.hostname}" if pool.hostname else ""
    return printable(f"{pool.provider_name}/{pool.name}{host}")


def duration(seconds: float) -> str:
    """A time span with its two largest units: ``2 h 5 min``; a time to come (clocks differ) counts as now."""
    parts: list[str] = []
    left = max(int(seconds), 0)
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
        elif parts:
            break
    return " ".join(parts[:2])
