"""What ZooKeeper holds, as the web server shows it: a mirror that is brought up to date when somebody asks.

The store's thread only puts aside what is new, the latest of each path; it is decoded by the web server's thread, to
which the mirror belongs. So nobody pays for pages that nobody looks at, and the decision thread is not asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Batch, Connection, Datum, SessionChange

MOST_PUT_ASIDE = 20_000
"""Paths that may be put aside before the mirror is brought up to date though nobody asks."""


class LiveView:
    """See the module's description. ``kind`` is the daemon's own kind of component: ``launcher`` or ``builder``."""

    def __init__(self, kind: str, post: Callable[[Callable[[], object]], None]) -> None:
        """``post`` has something called in the web server's thread; any thread may call it."""
        self._kind = kind
        self._post = post
        self._gate = threading.Lock()
        self._complete: Batch | None = None
        self._news: dict[str, Datum | None] = {}
        self._connected = False
        self._session = 0
        self._synced = False
        """Whether a complete batch of this connection has come."""
        self._mirror = Mirror()
        self._was_read = False
        self.version = 0
        """Grows whenever :meth:`mirror` finds something new."""

    # From the store's thread

    def session_changed(self, change: SessionChange) -> None:
        """The connection to ZooKeeper changed."""
        with self._gate:
            self._connected = change.connection is Connection.CONNECTED
            self._session = change.session
            self._synced = False

    def news(self, batch: Batch) -> None:
        """There is something new in ZooKeeper."""
        with self._gate:
            if batch.complete:
                self._complete, self._news = batch, {}
                self._synced = self._connected and batch.session == self._session
                return
            before = len(self._news)
            for path, datum in batch.entries.items():
                self._news.pop(path, None)
                self._news[path] = datum
            full = before < MOST_PUT_ASIDE <= len(self._news)
        if full:
            self._post(self.mirror)

    # In the web server's thread

    def mirror(self) -> Mirror | None:
        """All that there is, as new as ZooKeeper has told; while it is away, as it was last. None if it never came."""
        with self._gate:
            complete, self._complete = self._complete, None
            news, self._news = self._news, {}
        self.version += complete is not None or bool(news)
        if complete is not None:
            self._mirror.apply(complete)
            self._was_read = True
        if news:
            self._mirror.apply(Batch(0, news, complete=False))
        return self._mirror if self._was_read else None

    def trouble(self) -> str:
        """Why the daemon is not ready for work, empty if it is.

        It is ready while it is connected to ZooKeeper, has read what is there, and stands there with its component,
        which the decision core registers after its first round.
        """
        with self._gate:
            connected, synced, session = self._connected, self._synced, self._session
        if not connected:
            return "there is no connection to ZooKeeper"
        mirror = self.mirror() if synced else None
        if mirror is None:
            return "what ZooKeeper holds is being read"
        ours = (
            entry.ephemeral_owner == session
            for name, entry in mirror.components.items()
            if name.startswith(f"{self._kind}/")
        )
        return "" if any(ours) else f"the {self._kind} is not registered in ZooKeeper yet"
