"""The builder as a running service: the decision thread, and what feeds it.

Wires the decision core to ZooKeeper, the build tool, the providers, the images directory and the configuration file.
Threads: the decision thread, the store's, one per build, those of each provider, one for the disk, and the caller's,
which watches the configuration.
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
from nodepool.builder.crew import Crew
from nodepool.builder.dib.runner import DibRunner
from nodepool.builder.events import Configured, Event, News, SessionChanged, Stopping
from nodepool.builder.executor import Executor
from nodepool.builder.files import ImageFiles
from nodepool.builder.providers import Providers
from nodepool.builder.reconciler import Reconciler
from nodepool.builder.setup import Setup
from nodepool.builder.state import Identity, Workers
from nodepool.config.compare import compare
from nodepool.config.connection import hosts_of, store_of
from nodepool.config.files import ConfigurationFiles
from nodepool.config.settings import Config
from nodepool.model.component import BUILDER, Component
from nodepool.zk import paths
from nodepool.zk.ensure import ensure
from nodepool.zk.registry import Registry
from nodepool.zk.store import Connection, SessionChange

log = logging.getLogger("nodepool.builder.NodePoolBuilder")

ROOTS = (paths.IMAGES, paths.components(BUILDER))
RELOAD_INTERVAL = 1.0
"""Seconds between two looks at the configuration files."""
PROVIDER_RETRY_INTERVAL = 30.0
"""Seconds between two tries to use a provider that failed."""
STOP_NOW_LIMIT = 100.0
"""Most seconds that builds have to end and to clean up, and their ends to be stored, when the builder ends at once."""
END_LIMIT = 2.0
"""Most seconds that the decision thread is waited for; it never blocks."""


class _Order(enum.Enum):
    """What the main thread is told, by signal handlers and by the decision thread."""

    STOP = "begin nothing new; end when all that runs has ended"
    STOP_NOW = "end what runs, then end"
    IDLE = "nothing runs any more"


class BuilderService:
    """One builder process. Nothing runs before :meth:`run`, so that the process may fork until then.

    :meth:`run` blocks; the ``stop`` methods may be called from signal handlers.

    :raises ValueError: TLS files cannot be used
    :raises OSError: the images directory cannot be used
    :raises nodepool.builder.files.ImagesDirectoryInUse: another builder uses it
    """

    def __init__(self, files: ConfigurationFiles, config: Config, workers: Workers) -> None:
        self._configuration = files
        self._config = config
        self._workers = workers
        self._inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        # Not a threading.Event: a signal handler that sets one deadlocks with the wait that it interrupts.
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._setup: Setup | None = None
        self._next_retry = 0.0
        assert config.images_dir is not None, "checked at start"
        self._files = ImageFiles(os.path.abspath(config.images_dir))
        self._files.claim()
        self._runner = DibRunner(self._files.directory)
        self._store = store_of(config)
        self._providers = Providers(self._files, workers.uploads, self._inbox.put)
        self._reconciler = Reconciler(random.Random(), Identity(self._files.identity(), socket.getfqdn()), workers)
        hostname = socket.gethostname().partition(".")[0]
        self._executor = Executor(
            self._store,
            self._runner,
            self._providers.calls,
            self._files,
            Crew("images-dir", 1).submit,
            _Component(Registry(self._store, hostname), hostname).register,
            self._inbox.put,
        )
        self._decider = threading.Thread(target=self._decide, name="decision", daemon=True)

    def run(self) -> None:
        """Work until a stop is asked for, then end."""
        log.info("Nodepool builder %s starts as process %d with %s", __version__, os.getpid(), self._configuration.main)
        try:
            self._start()
            order = self._work()
            if order is _Order.STOP:
                order = self._finish()
            if order is _Order.STOP_NOW:
                self._end_builds()
        finally:
            self._end()

    def stop(self) -> None:
        """Orderly: begin nothing new, and end when all builds and uploads have ended. For a second time: end now."""
        self._orders.put(_Order.STOP)

    def stop_now(self) -> None:
        """End all builds, store that, and end; uploads are cut off, and cleaned up by whoever comes next."""
        self._orders.put(_Order.STOP_NOW)

    @property
    def ready(self) -> bool:
        """Whether the builder is connected, in step with ZooKeeper and works with a configuration."""
        return self._reconciler.state.working

    # Start and end

    def _start(self) -> None:
        self._runner.recover()
        self._use(self._config)
        self._decider.start()
        self._store.listen(self._session_changed)
        self._store.feed(ROOTS, lambda batch: self._inbox.put(News(batch)))
        self._store.start()

    def _session_changed(self, change: SessionChange) -> None:
        if change.connection is Connection.CONNECTED:
            for root in ROOTS:
                ensure(self._store, root, _ignore)
        self._inbox.put(SessionChanged(change))

    def _finish(self) -> _Order:
        """Wait until nothing runs any more, or another signal comes."""
        log.info("Stopping: waiting for the builds and uploads that run; a second signal ends them")
        self._inbox.put(Stopping(now=False))
        order = self._orders.get()
        return _Order.STOP_NOW if order is _Order.STOP else order

    def _end_builds(self) -> None:
        """Have the decision thread end all builds."""
        log.info("Stopping: ending the builds that run")
        self._inbox.put(Stopping(now=True))
        deadline = time.monotonic() + STOP_NOW_LIMIT
        while (left := deadline - time.monotonic()) > 0:
            if self._next_order(left) is _Order.IDLE:
                return
        log.warning("Not all builds have ended within %g s; the next start cleans up", STOP_NOW_LIMIT)

    def _end(self) -> None:
        log.info("Ending")
        self._inbox.put(None)
        if self._decider.ident is not None:
            self._decider.join(END_LIMIT)
        self._store.close()
        self._providers.stop()
        self._files.release()
        log.info("Ended")

    # The main thread

    def _work(self) -> _Order:
        """Watch the configuration until there is an order."""
        while (order := self._next_order(RELOAD_INTERVAL)) is None:
            try:
                self._look_at_configuration()
            except Exception:  # the last line of defence: the builder goes on with what it has
                log.exception("The configuration could not be taken over")
        return order

    def _next_order(self, seconds: float) -> _Order | None:
        try:
            return self._orders.get(timeout=seconds)
        except queue.Empty:
            return None

    def _look_at_configuration(self) -> None:
        config = self._configuration.reload()
        if config is not None:
            self._take_over(config)
        elif self._providers.failed and time.monotonic() >= self._next_retry:
            self._use(self._config)

    def _take_over(self, config: Config) -> None:
        difference = compare(self._config, config)
        for name in difference.restart:
            log.warning("The change of %s takes effect after a restart", name)
        if config.images_dir != self._config.images_dir:
            log.warning("The change of images-dir takes effect after a restart")
        if difference.zookeeper_servers:
            self._store.set_hosts(hosts_of(config))
        self._config = config
        self._use(config)
        log.info("Configuration taken over from %s", self._configuration.main)

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


class _Component:
    """Registers this builder (spec zookeeper 4.6)."""

    def __init__(self, registry: Registry, hostname: str) -> None:
        self._registry = registry
        self._hostname = hostname

    def register(self, component: Component) -> None:
        """Keep this registered; adds what only this process knows."""
        complete = component.replace(hostname=self._hostname, version=__version__)
        self._registry.put(BUILDER, BUILDER, complete.to_json())


_ignore: Callable[[object], None] = lambda _: None  # noqa: E731
