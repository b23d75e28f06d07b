"""One builder in a simulation: the real decision core, executor and component registry, on a store in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from nodepool.builder.events import Configured, News, SessionChanged, Stopping
from nodepool.builder.executor import Executor
from nodepool.builder.reconciler import Reconciler
from nodepool.builder.service import ROOTS
from nodepool.builder.setup import Setup
from nodepool.builder.state import Identity, Workers
from nodepool.model.component import BUILDER, Component
from nodepool.zk.memory import MemoryEnsemble
from nodepool.zk.registry import Registry
from tests.simulation.builders.clouds import ImageCloud
from tests.simulation.builders.host import BuildTool, Calls, Disk, Manners
from tests.simulation.clock import Clock
from tests.simulation.daemon import Crash, SimulatedDaemon

STOP_LIMIT = 100.0
"""Most seconds that an orderly stop takes."""


class SimulatedBuilder(SimulatedDaemon):
    """A builder process."""

    reconciler: Reconciler
    executor: Executor

    def __init__(
        self,
        name: str,
        clock: Clock,
        ensemble: MemoryEnsemble,
        chance: random.Random,
        setup: Setup,
        disk: Disk,
        clouds: Mapping[str, ImageCloud],
        manners: Callable[[], Manners],
        workers: Workers,
        *,
        crash: Crash = lambda _: False,
        observe: Callable[[Any], None] = lambda _: None,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(name, clock, ensemble, chance, crash=crash, observe=observe)
        self.count = count
        self.tool = BuildTool(self, disk, manners)
        self.reconciler = Reconciler(chance, Identity(f"id-of-{name}", name), workers)
        self._registry = Registry(self.store, name)
        calls = {provider: Calls(self, provider, cloud, disk) for provider, cloud in clouds.items()}
        self.executor = Executor(
            self.store,
            self.tool,
            calls,
            disk,
            lambda action: self.later(self.chance.random() * 0.1, action),
            self._register,
            self.publish,
        )
        self.publish(Configured(setup))

    def start(self) -> None:
        """Connect and begin to work."""
        self.memory.listen(lambda change: self.publish(SessionChanged(change)))
        self.memory.feed(ROOTS, lambda batch: self.publish(News(batch)))
        self.memory.start()

    def stop(self, now: bool) -> None:
        """SIGINT, or ``now`` SIGTERM."""
        self._stopping = True
        self.publish(Stopping(now))
        self.later(STOP_LIMIT, self._end)

    def configure(self, setup: Setup) -> None:
        """There is a new configuration."""
        self.publish(Configured(setup))

    def _register(self, component: Component) -> None:
        complete = component.replace(hostname=self.name, version="simulated")
        self._registry.put(BUILDER, BUILDER, complete.to_json())
