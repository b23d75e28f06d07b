"""The launcher as a running service: the decision thread, and what feeds it.

Wires the decision core to ZooKeeper, providers, hosts and the configuration file. Threads: the decision thread, the
store's, the scanner's, those of each provider, and the caller's, which watches the configuration.
"""

from __future__ import annotations

import enum
import logging
import os
import queue
import random
import socket
import threading
import time
from collections.abc import Callable

from nodepool import __version__
from nodepool.config.compare import compare
from nodepool.config.connection import hosts_of, store_of
from nodepool.config.files import ConfigurationFiles
from nodepool.config.settings import Config
from nodepool.driver.nodescan.scanner import Scanner
from nodepool.driver.readycheck.checker import Checker
from nodepool.launcher.components import Components
from nodepool.launcher.events import Configured, Event, News, SessionChanged, Stopping
from nodepool.launcher.executor import Executor
from nodepool.launcher.providers import Providers
from nodepool.launcher.reconciler import Reconciler
from nodepool.launcher.setup import Setup
from nodepool.zk import paths
from nodepool.zk.ensure import ensure
from nodepool.zk.registry import Registry
from nodepool.zk.store import Connection, SessionChange

log = logging.getLogger("nodepool.NodePool")

ROOTS = (paths.NODES, paths.REQUESTS, paths.REQUEST_LOCKS, paths.IMAGES, paths.COMPONENTS, paths.ELECTIONS)
RELOAD_INTERVAL = 1.0
"""Seconds between two looks at the configuration files (spec launcher 1.4)."""
PROVIDER_RETRY_INTERVAL = 30.0
"""Seconds between two tries to start a provider that failed."""
GIVE_BACK_LIMIT = 10.0
"""Most seconds that an orderly stop takes to give back what is not done."""
END_LIMIT = 2.0
"""Most seconds that the decision thread is waited for; it never blocks."""


class _Order(enum.Enum):
    """What the main thread is told, by signal handlers and by the decision thread."""

    STOP = "give back what is not done, then end"
    STOP_NOW = "end"
    IDLE = "all is given back"


class LauncherService:
    """One launcher process. Nothing runs before :meth:`run`, so that the process may fork until then.

    :meth:`run` blocks; the ``stop`` methods may be called from signal handlers. Raises :class:`ValueError` for TLS
    files that cannot be used.
    """

    def __init__(self, files: ConfigurationFiles, config: Config) -> None:
        self._files = files
        self._config = config
        self._inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        # Not a threading.Event: a signal handler that sets one deadlocks with the wait that it interrupts.
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._setup: Setup | None = None
        self._next_retry = 0.0
        self._store = store_of(config)
        self._providers = Providers(socket.getfqdn(), self._inbox.put)
        self._scanner = Scanner()
        self._checker = Checker()
        self._reconciler = Reconciler(random.Random())
        hostname = socket.gethostname().partition(".")[0]
        components = Components(Registry(self._store, hostname), hostname, __version__)
        links, publish = self._providers.links, self._inbox.put
        self._executor = Executor(self._store, links, self._scanner, self._checker, components, publish)
        self._decider = threading.Thread(target=self._decide, name="decision", daemon=True)

    def run(self) -> None:
        """Work until a stop is asked for, then end."""
        log.info("Nodepool %s starts as process %d with %s", __version__, os.getpid(), self._files.main)
        try:
            self._start()
            if self._work() is _Order.STOP:
                self._give_back()
        finally:
            self._end()

    def stop(self) -> None:
        """Orderly: give back what is not done, then end. Asked for a second time: end now."""
        self._orders.put(_Order.STOP)

    def stop_now(self) -> None:
        """Close the session, so that all locks are free at once, and end."""
        self._orders.put(_Order.STOP_NOW)

    @property
    def ready(self) -> bool:
        """Whether the launcher is connected, in step with ZooKeeper and works with a configuration."""
        return self._reconciler.state.working

    # Start and end

    def _start(self) -> None:
        self._use(self._config)
        self._scanner.start()
        self._decider.start()
        self._store.listen(self._session_changed)
        self._store.feed(ROOTS, lambda batch: self._inbox.put(News(batch)))
        self._store.start()

    def _session_changed(self, change: SessionChange) -> None:
        if change.connection is Connection.CONNECTED:
            for root in ROOTS:
                ensure(self._store, root, _ignore)
        self._inbox.put(SessionChanged(change))

    def _give_back(self) -> None:
        """Have the decision thread give back what is not done, unless another signal comes."""
        log.info("Stopping: giving back what is not done")
        self._inbox.put(Stopping())
        order = self._next_order(GIVE_BACK_LIMIT)
        if order is None:
            log.warning("Not everything was given back within %g s; others will find it", GIVE_BACK_LIMIT)

    def _end(self) -> None:
        log.info("Ending")
        self._inbox.put(None)
        if self._decider.ident is not None:
            self._decider.join(END_LIMIT)
        # Before all that may take its time: whoever waits for our locks waits for this.
        self._store.close()
        self._providers.stop()
        self._scanner.stop()
        self._checker.stop()
        log.info("Ended")

    # The main thread

    def _work(self) -> _Order:
        """Watch the configuration until there is an order."""
        while (order := self._next_order(RELOAD_INTERVAL)) is None:
            try:
                self._look_at_configuration()
            except Exception:  # the last line of defence: the launcher goes on with what it has
                log.exception("The configuration could not be taken over")
        return order

    def _next_order(self, seconds: float) -> _Order | None:
        try:
            return self._orders.get(timeout=seconds)
        except queue.Empty:
            return None

    def _look_at_configuration(self) -> None:
        config = self._files.reload()
        if config is not None:
            self._take_over(config)
        elif self._providers.failed and time.monotonic() >= self._next_retry:
            self._use(self._config)

    def _take_over(self, config: Config) -> None:
        difference = compare(self._config, config)
        for name in difference.restart:
            log.warning("The change of %s takes effect after a restart", name)
        if difference.zookeeper_servers:
            self._store.set_hosts(hosts_of(config))
        self._config = config
        self._use(config)
        log.info("Configuration taken over from %s", self._files.main)

    def _use(self, config: Config) -> None:
        setup = self._providers.apply(config)
        if setup != self._setup:
            self._setup = setup
            self._inbox.put(Configured(setup))
        self._next_retry = time.monotonic() + PROVIDER_RETRY_INTERVAL

    # The decision thread

    def _decide(self) -> None:
        told = False
        while True:
            events = self._next_events()
            if None in events:
                return
            try:
                self._executor.carry_out(self._reconciler.handle(events, time.time()))  # type: ignore[arg-type]
            except Exception:  # the last line of defence: a defect must not end the service
                log.exception("A decision failed; %d events were involved", len(events))
                self._reconciler.failed(time.time())
            if self._reconciler.stopped and not told:
                told = True
                self._orders.put(_Order.IDLE)

    def _next_events(self) -> list[Event | None]:
        """All that has come, after waiting for the first or for the next timer."""
        wake = self._reconciler.next_wake()
        timeout = None if wake is None else max(wake - time.time(), 0.0)
        events: list[Event | None] = []
        try:
            events.append(self._inbox.get(timeout=timeout))
            while True:
                events.append(self._inbox.get_nowait())
        except queue.Empty:
            return events


_ignore: Callable[[object], None] = lambda _: None  # noqa: E731
