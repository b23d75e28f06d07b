"""The feed of a store in memory: changes of an ensemble below some roots, late, in order, several in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from nodepool.zk.memory_ensemble import Changes, MemoryEnsemble
from nodepool.zk.store import Batch, Datum

Action = Callable[[], None]


class MemoryFeed:
    """The feed of one subscriber.

    ``later`` runs an action of the network after a while, ``deliver`` runs one of the process. Changes are collected
    until they are due, so that several may become one batch.
    """

    def __init__(
        self,
        ensemble: MemoryEnsemble,
        roots: Sequence[str],
        publish: Callable[[Batch], None],
        later: Callable[[Action], object],
        deliver: Callable[[Action], None],
    ) -> None:
        self._later = later
        self._deliver = deliver
        self._ensemble = ensemble
        self._roots = roots
        self._publish = publish
        self._session = 0
        self._epoch = 0
        self._subscribed = False
        self._pending: dict[str, Datum | None] = {}
        self._complete = False
        self._due = False

    def connected(self, session: int) -> None:
        """Begin with a complete batch."""
        self.disconnected()
        self._session = session
        self._later(partial(self._load, self._epoch))

    def disconnected(self) -> None:
        """Forget what was not published yet."""
        self._epoch += 1
        if self._subscribed:
            self._ensemble.unsubscribe(self._changed)
        self._subscribed = False
        self._pending = {}
        self._complete = False
        self._due = False

    def _load(self, epoch: int) -> None:
        if epoch == self._epoch:
            self._subscribed = True
            self._ensemble.subscribe(self._changed)
            self._pending = dict(self._ensemble.tree(self._roots))
            self._complete = True
            self._schedule()

    def _changed(self, changes: Changes) -> None:
        for path, datum in changes.items():
            if any(path == root or path.startswith(f"{root}/") for root in self._roots):
                self._pending.pop(path, None)
                if datum is not None or not self._complete:
                    self._pending[path] = datum
        if self._pending:
            self._schedule()

    def _schedule(self) -> None:
        if not self._due:
            self._due = True
            self._later(partial(self._flush, self._epoch))

    def _flush(self, epoch: int) -> None:
        if epoch != self._epoch:
            return
        batch = Batch(self._session, self._pending, self._complete)
        self._pending = {}
        self._complete = False
        self._due = False
        self._deliver(partial(self._publish_if_current, epoch, batch))

    def _publish_if_current(self, epoch: int, batch: Batch) -> None:
        if epoch == self._epoch:
            self._publish(batch)
