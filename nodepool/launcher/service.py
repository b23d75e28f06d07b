"""The launcher as a running service: wires its decision core to ZooKeeper, providers, hosts and the configuration.

Threads: the decision thread, the store's, the scanner's, those of each provider, and the caller's, which watches the
configuration.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import socket

from nodepool import __version__
from nodepool.config.connection import store_of
from nodepool.config.files import ConfigurationFiles
from nodepool.config.settings import Config
from nodepool.daemon.configuration import LiveConfiguration
from nodepool.daemon.decisions import DecisionThread
from nodepool.daemon.service import DaemonService, Order
from nodepool.driver.nodescan.scanner import Scanner
from nodepool.driver.readycheck.checker import Checker
from nodepool.launcher.components import Components
from nodepool.launcher.events import Event, Stopping
from nodepool.launcher.executor import Executor
from nodepool.launcher.instructions import Instruction
from nodepool.launcher.providers import Providers
from nodepool.launcher.reconciler import Reconciler
from nodepool.model.component import LAUNCHER
from nodepool.telemetry.metrics import Metrics
from nodepool.zk import paths
from nodepool.zk.registry import Registry

log = logging.getLogger("nodepool.NodePool")

ROOTS = (
    paths.NODES,
    paths.REQUESTS,
    paths.REQUEST_LOCKS,
    paths.IMAGES,
    paths.COMPONENTS,
    paths.ELECTIONS,
    paths.DRAINED,
)
"""What the launcher is told of."""
GIVE_BACK_LIMIT = 10.0
"""Most seconds that an orderly stop takes to give back what is not done."""


class LauncherService(DaemonService):
    """One launcher process. An orderly stop gives back what is not done; without it, others find that by themselves.

    :raises ValueError: TLS files cannot be used, or ``STATSD_PORT``
    """

    def __init__(self, files: ConfigurationFiles, config: Config) -> None:
        store, inbox = store_of(config), queue.SimpleQueue[Event | None]()
        host = socket.getfqdn()
        metrics = Metrics(LAUNCHER, host, __version__, os.environ)
        self._providers = Providers(host, inbox.put, metrics.take)
        self._scanner = Scanner()
        self._checker = Checker()
        hostname = socket.gethostname().partition(".")[0]
        components = Components(Registry(store, hostname), hostname, __version__)
        links = self._providers.links
        executor = Executor(store, links, self._scanner, self._checker, components, inbox.put, metrics.take)
        configuration = LiveConfiguration(files, config, store, self._providers, inbox.put)
        core = Reconciler(random.Random())
        decisions = DecisionThread[Event, Instruction](inbox, core, executor.carry_out, metrics.take)
        super().__init__(log, "Nodepool", store, ROOTS, configuration, decisions, metrics)

    def _begin(self) -> None:
        self._scanner.start()

    def _wind_up(self, order: Order) -> None:
        """Have the decision thread give back what is not done, unless another signal comes."""
        if order is not Order.STOP:
            return
        log.info("Stopping: giving back what is not done")
        self._decisions.inbox.put(Stopping())
        if self._next_order(GIVE_BACK_LIMIT) is None:
            log.warning("Not everything was given back within %g s; others will find it", GIVE_BACK_LIMIT)

    def _close(self) -> None:
        self._providers.stop()
        self._scanner.stop()
        self._checker.stop()
