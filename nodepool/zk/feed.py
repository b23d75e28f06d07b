"""A live copy of subtrees of a real ZooKeeper, as a stream of batches.

One persistent recursive watch per root. An event only marks its path as dirty; what a batch holds comes from reads, of
which one is on its way at a time, so that they take effect in ZooKeeper's order. The watches end with the connection:
after each reconnection they are added again, and then everything is read again, breadth first.
Everything here runs in the store's thread.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from nodepool.zk.calls import Answer, Done, Reply
from nodepool.zk.store import Batch, Datum, Uncertain
from nodepool.zk.wire import READ_LIMIT, Request, data_and_children_of, data_of, recursive_watch, sync

log = logging.getLogger("nodepool.zk.feed")

Send = Callable[[Request, Done], None]
After = Callable[[float, Callable[[], None]], None]

_LOAD_WINDOW = 8
"""Multi-reads on their way at a time during a full load."""
_MERGED_READS = 3
"""At most so many reads make one batch. ZooKeeper reports all events of a transaction before it shows its effect to a
read, so a batch after which nothing is dirty holds transactions as a whole."""
_PAUSE = 1.0
"""Seconds before something that failed while connected is tried again."""


class Feed:
    """The feed of one subscriber. ``chroot`` is put before and taken off all paths."""

    def __init__(
        self, chroot: str, roots: Sequence[str], publish: Callable[[Batch], None], send: Send, after: After
    ) -> None:
        self._chroot = chroot
        self._roots = [chroot + root for root in roots]
        self._publish = publish
        self._send = send
        self._after = after
        self._session = 0
        self._epoch = 0
        """Number of the present load and all that follows it; answers of an earlier one are ignored."""
        self._known: dict[str, int] = {}
        """Path to mzxid of all that was published."""
        self._dirty: dict[str, None] = {}
        self._batch: dict[str, Datum | None] = {}
        self._complete = False
        self._reads = 0
        """Reads that went into the present batch."""
        self._busy = False

    def connected(self, session: int) -> None:
        """Add the watches and read everything."""
        self.disconnected()
        self._session = session
        self._busy = True
        epoch = self._epoch
        for root in self._roots:
            self._send(recursive_watch(root), partial(self._watched, epoch, root))
        self._send(sync(), partial(self._ignore, epoch))
        Load(self._roots, self._send, partial(self._loaded, epoch)).go()

    def disconnected(self) -> None:
        """Forget what is on its way."""
        self._epoch += 1
        self._busy = False
        self._known.clear()
        self._dirty.clear()
        self._batch = {}
        self._complete = False
        self._reads = 0

    def changed(self, path: str) -> None:
        """An event: the znode was created, changed or deleted."""
        if not any(path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/") for root in self._roots):
            return
        self._dirty.pop(path, None)
        self._dirty[path] = None
        if not self._busy:
            self._read()

    def overtaken(self, paths: Iterable[str]) -> None:
        """A transaction of ours changed these paths, and its outcome is about to be told.

        What an unpublished batch holds of them was read before it: told after the outcome, it would show what is no
        more. They are dirty again by now, because events come before the answer.
        """
        if not self._complete:
            for path in paths:
                self._batch.pop(self._chroot + path, None)

    def _watched(self, epoch: int, root: str, reply: Reply) -> None:
        if epoch != self._epoch or isinstance(reply, Answer):
            return
        if isinstance(reply, Exception):
            log.error("ZooKeeper refuses to watch %s (it must be 3.6 or newer): %r", root, reply)
        self._begin_again(reply)

    def _ignore(self, epoch: int, reply: Reply) -> None:
        if epoch == self._epoch and isinstance(reply, Exception):
            log.error("ZooKeeper refuses to synchronise: %r", reply)

    def _loaded(self, epoch: int, reply: Reply, entries: dict[str, Datum]) -> None:
        if epoch != self._epoch:
            return
        if not isinstance(reply, Answer):
            self._begin_again(reply)
            return
        self._known = {path: datum.mzxid for path, datum in entries.items()}
        self._batch = dict(entries)
        self._complete = True
        if self._dirty:
            self._read()
        else:
            self._finish_batch()

    def _begin_again(self, reply: Reply) -> None:
        if reply not in (Uncertain.CONNECTION_LOST, Uncertain.SESSION_LOST):
            self._epoch += 1
            self._after(_PAUSE, partial(self._retry_load, self._epoch))

    def _retry_load(self, epoch: int) -> None:
        if epoch == self._epoch:
            self.connected(self._session)

    def _read(self) -> None:
        self._busy = True
        self._reads += 1
        paths = [path for path, _ in zip(self._dirty, range(READ_LIMIT), strict=False)]
        for path in paths:
            del self._dirty[path]
        self._send(data_of(paths), partial(self._have_read, self._epoch, paths))

    def _have_read(self, epoch: int, paths: Sequence[str], reply: Reply) -> None:
        if epoch != self._epoch:
            return
        if not isinstance(reply, Answer):
            self._begin_again(reply)
            return
        for path, datum in zip(paths, reply.value, strict=True):
            self._take(path, datum)
        if self._dirty and self._reads < _MERGED_READS:
            self._read()
        else:
            self._finish_batch()

    def _take(self, path: str, datum: Datum | None) -> None:
        known = self._known.get(path)
        if datum is None:
            # Told even if it was never published: the subscriber may have made it itself.
            self._known.pop(path, None)
            self._batch.pop(path, None)
            if not self._complete:
                self._batch[path] = None
        elif known is None or datum.mzxid > known:
            self._known[path] = datum.mzxid
            self._batch.pop(path, None)
            self._batch[path] = datum

    def _finish_batch(self) -> None:
        cut = len(self._chroot)
        batch = Batch(self._session, {path[cut:]: datum for path, datum in self._batch.items()}, self._complete)
        self._batch = {}
        self._complete = False
        self._reads = 0
        self._busy = False
        if batch.entries or batch.complete:
            self._publish(batch)
        if self._dirty and not self._busy:
            self._read()


class Load:
    """Reads all at and below some roots, breadth first, once. What vanishes meanwhile is left out.

    ``done`` gets an answer of ZooKeeper and the entries, or what went wrong and nothing.
    """

    def __init__(self, roots: Sequence[str], send: Send, done: Callable[[Reply, dict[str, Datum]], None]) -> None:
        self._todo = deque(roots)
        self._send = send
        self._done = done
        self._entries: dict[str, Datum] = {}
        self._flying = 0
        self._failed = False

    def go(self) -> None:
        """Begin; and go on, after each answer."""
        while self._todo and self._flying < _LOAD_WINDOW:
            paths = [self._todo.popleft() for _ in range(min(READ_LIMIT // 2, len(self._todo)))]
            self._flying += 1
            self._send(data_and_children_of(paths), partial(self._answered, paths))

    def _answered(self, paths: Sequence[str], reply: Reply) -> None:
        self._flying -= 1
        if self._failed:
            return
        if not isinstance(reply, Answer):
            self._failed = True
            self._done(reply, {})
            return
        for path, datum, names in zip(paths, reply.value, reply.value[len(paths) :], strict=False):
            if datum is not None:
                self._entries[path] = datum
                self._todo.extend(f"{path}/{name}" for name in names or ())
        self.go()
        if not self._flying:
            self._done(reply, self._entries)
