"""A daemon as a running service: how it starts, what its main thread does, and how it ends."""

from __future__ import annotations

import enum
import logging
import os
import queue
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from nodepool import __version__
from nodepool.daemon.configuration import LiveConfiguration
from nodepool.daemon.decisions import DecisionThread
from nodepool.daemon.events import CensusAsked, News, SessionChanged
from nodepool.telemetry.facts import Fact, QueueSizes, SessionHeld
from nodepool.telemetry.metrics import Metrics
from nodepool.zk.ensure import ensure
from nodepool.zk.session import KazooStore
from nodepool.zk.store import Batch, Connection, SessionChange

RELOAD_INTERVAL = 1.0
"""Seconds between two looks at the configuration files (spec launcher 1.4)."""


CENSUS_INTERVAL = 5.0
"""Seconds between two looks at all that there is, for the metrics."""

log = logging.getLogger("nodepool.NodePool")


class Order(enum.Enum):
    """What the main thread is told, by signal handlers and by the decision thread."""

    STOP = "end in order"
    STOP_NOW = "end at once"
    IDLE = "nothing is under way any more that is waited for"


class Onlooker(Protocol):
    """Who is told what the decision core is told of ZooKeeper, and has no say in it: the web server."""

    def start(self) -> None:
        """Begin, before anything is told."""

    def session_changed(self, change: SessionChange) -> None:
        """The connection to ZooKeeper changed; called by the store's thread, and must return at once."""

    def news(self, batch: Batch) -> None:
        """There is something new in ZooKeeper; called by the store's thread, and must return at once."""

    def measured(self, fact: Fact) -> None:
        """Something has happened, or is so; called by any thread, and must return at once."""

    def stop(self) -> None:
        """End, also if it never began."""


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
        metrics: Metrics,
    ) -> None:
        """``roots`` are the parts of ZooKeeper's tree that the daemon is told of."""
        self._log = log
        self._title = title
        self._store = store
        self._roots = roots
        self._configuration = configuration
        self._decisions = decisions
        self._metrics = metrics
        self._next_census = 0.0
        self._onlooker: Onlooker | None = None
        # Not a threading.Event: a signal handler that sets one deadlocks with the wait that it interrupts.
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()

    def shown_to(self, onlooker: Onlooker) -> None:
        """Have somebody look on. To be called before :meth:`run`."""
        self._onlooker = onlooker
        self._metrics.show_to(onlooker.measured)

    def stuck_for(self) -> float:
        """For how many seconds the decision thread has not come back from its work; from any thread."""
        return self._decisions.stuck_for()

    def exposition(self) -> tuple[str, bytes]:
        """The metrics for Prometheus: content type and body. From any thread."""
        return self._metrics.exposition()

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
        self._metrics.start()
        self._begin()
        if self._onlooker is not None:
            self._onlooker.start()
        self._configuration.use()
        self._decisions.start(lambda: self._orders.put(Order.IDLE))
        self._store.listen(self._session_changed)
        self._store.feed(self._roots, self._have_news)
        self._store.start()

    def _session_changed(self, change: SessionChange) -> None:
        if change.connection is Connection.CONNECTED:
            for root in self._roots:
                ensure(self._store, root, lambda _: None)
        self._decisions.inbox.put(SessionChanged(change))
        connected = change.connection is Connection.CONNECTED
        self._metrics.take(SessionHeld(connected, change.session if connected else 0))
        if self._onlooker is not None:
            self._onlooker.session_changed(change)

    def _have_news(self, batch: Batch) -> None:
        self._decisions.inbox.put(News(batch))
        if self._onlooker is not None:
            self._onlooker.news(batch)

    def _work(self) -> Order:
        """Watch the configuration until there is an order."""
        while (order := self._next_order(RELOAD_INTERVAL)) is None:
            try:
                self._configuration.look()
            except Exception:  # the last line of defence: the daemon goes on with what it has
                log.exception("The configuration could not be taken over")
            self._look_round()
        return order

    def _look_round(self) -> None:
        """Have the metrics told what there is, if it is time."""
        now = time.monotonic()
        if now < self._next_census:
            return
        self._next_census = now + CENSUS_INTERVAL
        inbox = self._decisions.inbox
        self._metrics.take(QueueSizes(self._metrics.daemon, self._store.pending_calls, inbox.qsize()))
        reporter = f"{socket.gethostname()}-{os.getpid()}" if self._metrics.wants_reporter else None
        inbox.put(CensusAsked(time.time(), reporter))

    def _end(self) -> None:
        self._log.info("Ending")
        self._decisions.end()
        # Before all that may take its time: whoever waits for our locks waits for this.
        self._store.close()
        self._close()
        if self._onlooker is not None:
            self._onlooker.stop()
        self._metrics.stop()
        self._log.info("Ended")
