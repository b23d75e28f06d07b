"""The builder as a running service: wires its decision core to ZooKeeper, the build tool, providers and the disk.

Threads: the decision thread, the store's, one per build, those of each provider, one for the disk, and the caller's,
which watches the configuration.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import socket
import time

from nodepool import __version__
from nodepool.builder.crew import Crew
from nodepool.builder.dib.runner import DibRunner
from nodepool.builder.events import Event, Stopping
from nodepool.builder.executor import Executor
from nodepool.builder.files import ImageFiles
from nodepool.builder.hook import end_hooks
from nodepool.builder.instructions import Instruction
from nodepool.builder.providers import Providers
from nodepool.builder.reconciler import Reconciler
from nodepool.builder.state import Identity, Workers
from nodepool.config.connection import store_of
from nodepool.config.files import ConfigurationFiles
from nodepool.config.settings import Config
from nodepool.daemon.configuration import LiveConfiguration
from nodepool.daemon.decisions import DecisionThread
from nodepool.daemon.service import DaemonService, Order
from nodepool.model.component import BUILDER, Component
from nodepool.telemetry.metrics import Metrics
from nodepool.zk import paths
from nodepool.zk.registry import Registry

log = logging.getLogger("nodepool.builder.NodePoolBuilder")

ROOTS = (paths.IMAGES, paths.components(BUILDER))
"""What the builder is told of."""
STOP_NOW_LIMIT = 100.0
"""Most seconds that builds have to end and to clean up, and their ends to be stored, when the builder ends at once."""


class BuilderService(DaemonService):
    """One builder process.

    An orderly stop waits for all builds and uploads. Else builds are ended and that is stored; uploads are cut off, and
    cleaned up by whoever comes next.

    :raises ValueError: TLS files cannot be used, or ``STATSD_PORT``
    :raises OSError: the images directory cannot be used
    :raises nodepool.builder.files.ImagesDirectoryInUse: another builder uses it
    """

    def __init__(self, files: ConfigurationFiles, config: Config, workers: Workers) -> None:
        assert config.images_dir is not None, "checked at start"
        self._files = ImageFiles(os.path.abspath(config.images_dir))
        self._files.claim()
        self._runner = DibRunner(self._files.directory)
        store, inbox = store_of(config), queue.SimpleQueue[Event | None]()
        host = socket.getfqdn()
        metrics = Metrics(BUILDER, host, __version__, os.environ)
        self._providers = Providers(self._files, workers.uploads, inbox.put)
        hostname = socket.gethostname().partition(".")[0]
        executor = Executor(
            store,
            self._runner,
            self._providers.calls,
            self._files,
            Crew("images-dir", 1).submit,
            _Component(Registry(store, hostname), hostname).register,
            inbox.put,
            metrics.take,
        )
        core = Reconciler(random.Random(), Identity(self._files.identity(), host), workers)
        configuration = LiveConfiguration(files, config, store, self._providers, inbox.put)
        decisions = DecisionThread[Event, Instruction](inbox, core, executor.carry_out, metrics.take)
        super().__init__(log, "Nodepool builder", store, ROOTS, configuration, decisions, metrics)

    def _begin(self) -> None:
        end_hooks(self._files.directory)
        self._runner.recover()

    def _wind_up(self, order: Order) -> None:
        """Wait until nothing runs any more; a second order ends what runs."""
        if order is Order.STOP:
            log.info("Stopping: waiting for the builds and uploads that run; a second signal ends them")
            self._decisions.inbox.put(Stopping(now=False))
            if self._next_order() is Order.IDLE:
                return
        self._end_builds()

    def _end_builds(self) -> None:
        """Have the decision thread end all builds."""
        log.info("Stopping: ending the builds that run")
        self._decisions.inbox.put(Stopping(now=True))
        deadline = time.monotonic() + STOP_NOW_LIMIT
        while (left := deadline - time.monotonic()) > 0:
            if self._next_order(left) is Order.IDLE:
                return
        log.warning("Not all builds have ended within %g s; the next start cleans up", STOP_NOW_LIMIT)

    def _close(self) -> None:
        self._providers.stop()
        end_hooks(self._files.directory)
        self._files.release()


class _Component:
    """Registers this builder (spec zookeeper 4.6)."""

    def __init__(self, registry: Registry, hostname: str) -> None:
        self._registry = registry
        self._hostname = hostname

    def register(self, component: Component) -> None:
        """Keep this registered; adds what only this process knows."""
        complete = component.replace(hostname=self._hostname, version=__version__)
        self._registry.put(BUILDER, BUILDER, complete.to_json())
