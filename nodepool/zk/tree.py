"""Which znodes there are below some root, whatever they hold: for locks, parents and removing whole records. Pure.

Belongs to one thread, which applies to it what it applies to its :class:`~nodepool.zk.mirror.Mirror`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from nodepool.zk.contenders import queue
from nodepool.zk.store import Batch, Create, Datum


class Tree:
    """All paths at and below ``root``."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._children: dict[str, set[str]] = {}
        """Names of the children of each znode that is there."""

    def apply(self, batch: Batch) -> None:
        """Take over a batch of a feed."""
        if batch.complete:
            self._children.clear()
        self.apply_entries(batch.entries)

    def apply_entries(self, entries: Mapping[str, Datum | None]) -> None:
        """Take over what is, or is no more."""
        for path, datum in entries.items():
            if path == self.root or path.startswith(f"{self.root}/"):
                self._apply_one(path, datum is not None)

    def __contains__(self, path: str) -> bool:
        return path in self._children

    def children(self, path: str) -> list[str]:
        """Names of the children of a znode, sorted; none if it is not there."""
        return sorted(self._children.get(path, ()))

    def contenders(self, directory: str) -> tuple[str, ...]:
        """Contenders in a lock directory, the holder first; other names that are in it come last."""
        names = self._children.get(directory, ())
        order = queue(names)
        return (*order, *sorted(set(names) - set(order)))

    def below(self, path: str) -> Iterator[str]:
        """The znode and all below it, children before their parents."""
        for name in self.children(path):
            yield from self.below(f"{path}/{name}")
        if path in self._children:
            yield path

    def missing(self, paths: Iterable[str]) -> list[Create]:
        """Operations that create those of some znodes, parents first, that are not there."""
        return [Create(path) for path in paths if path not in self._children]

    def _apply_one(self, path: str, there: bool) -> None:
        parent, _, name = path.rpartition("/")
        if there:
            self._children.setdefault(path, set())
            # News may come in any order: a parent is there if its child is.
            if path != self.root:
                self._children.setdefault(parent, set()).add(name)
            return
        self._children.pop(path, None)
        if parent in self._children:
            self._children[parent].discard(name)
