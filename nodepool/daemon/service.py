"""A daemon as a running service: how it starts, what its main thread does, and how it ends."""

from __future__ import annotations

import enum
import logging
import os
import queue
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from nodepool import __version__
from nodepool.daemon.configuration import LiveConfiguration
from nodepool.daemon.decisions import DecisionThread
from nodepool.daemon.events import News, SessionChanged
from nodepool.zk.ensure import ensure
from nodepool.zk.session import KazooStore
from nodepool.zk.store import Connection, SessionChange

RELOAD_INTERVAL = 1.0
"""Seconds between two looks at the configuration files (spec launcher 1.4)."""


log = logging.getLogger("nodepool.NodePool")


class Order(enum.Enum):
    """What the main thread is told, by signal handlers and by the decision thread."""

    STOP = "end in order"
    STOP_NOW = "end at once"
    IDLE = "nothing is under way any more that is waited for"


class DaemonService(ABC):
    """One process. Nothing runs before :meth:`run`, so that the process may fork until then.

    :meth:`run` blocks; the ``stop`` methods may be called from signal handlers. What is particular to a daemon is in
    the three methods that it has to have: :meth:`_begin`, :meth:`_wind_up` and :meth:`_close`.
    """

    def __init__(
        self,
        log: logging.Logger,
        title: str,
        store: KazooStore,
        roots: Sequence[str],
        configuration: LiveConfiguration[Any],
        decisions: DecisionThread[Any, Any],
    ) -> None:
        """``roots`` are the parts of ZooKeeper's tree that the daemon is told of."""
        self._log = log
        self._title = title
        self._store = store
        self._roots = roots
        self._configuration = configuration
        self._decisions = decisions
        # Not a threading.Event: a signal handler that sets one deadlocks with the wait that it interrupts.
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()

    def run(self) -> None:
        """Work until a stop is asked for, then end."""
        start = "%s %s starts as process %d with %s"
        self._log.info(start, self._title, __version__, os.getpid(), self._configuration.source)
        try:
            self._start()
            self._wind_up(self._work())
        finally:
            self._end()

    def stop(self) -> None:
        """Orderly: bring to an end what has begun, then end. Asked for a second time: end now."""
        self._orders.put(Order.STOP)

    def stop_now(self) -> None:
        """End without waiting for what could go on elsewhere or later."""
        self._orders.put(Order.STOP_NOW)

    @abstractmethod
    def _begin(self) -> None:
        """Do what must be done before anything is decided."""

    @abstractmethod
    def _wind_up(self, order: Order) -> None:
        """Bring to an end what has begun, as far as ``order`` allows; the core still decides."""

    @abstractmethod
    def _close(self) -> None:
        """Give back what is held, after the last decision and without ZooKeeper."""

    def _next_order(self, seconds: float | None = None) -> Order | None:
        """The next order, None if there is none within so many seconds."""
        try:
            return self._orders.get(timeout=seconds)
        except queue.Empty:
            return None

    def _start(self) -> None:
        self._begin()
        self._configuration.use()
        self._decisions.start(lambda: self._orders.put(Order.IDLE))
        self._store.listen(self._session_changed)
        self._store.feed(self._roots, lambda batch: self._decisions.inbox.put(News(batch)))
        self._store.start()

    def _session_changed(self, change: SessionChange) -> None:
        if change.connection is Connection.CONNECTED:
            for root in self._roots:
                ensure(self._store, root, lambda _: None)
        self._decisions.inbox.put(SessionChanged(change))

    def _work(self) -> Order:
        """Watch the configuration until there is an order."""
        while (order := self._next_order(RELOAD_INTERVAL)) is None:
            try:
                self._configuration.look()
            except Exception:  # the last line of defence: the daemon goes on with what it has
                log.exception("The configuration could not be taken over")
        return order

    def _end(self) -> None:
        self._log.info("Ending")
        self._decisions.end()
        # Before all that may take its time: whoever waits for our locks waits for this.
        self._store.close()
        self._close()
        self._log.info("Ended")
