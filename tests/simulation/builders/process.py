"""One builder in a simulation: the real decision core, executor and component registry, on a store in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nodepool.builder.events import Stopping
from nodepool.builder.executor import Executor
from nodepool.builder.reconciler import Reconciler
from nodepool.builder.service import ROOTS
from nodepool.builder.setup import Setup
from nodepool.builder.state import Identity, Workers
from nodepool.daemon.events import Configured
from nodepool.model.component import BUILDER, Component
from nodepool.zk.registry import Registry
from tests.simulation.builders.clouds import ImageCloud
from tests.simulation.builders.host import BuildTool, Calls, Disk, Manners
from tests.simulation.daemon import SimulatedDaemon, Surroundings

STOP_LIMIT = 100.0
"""Most seconds that an orderly stop takes."""


class SimulatedBuilder(SimulatedDaemon):
    """A builder process."""

    reconciler: Reconciler
    executor: Executor
    roots = ROOTS

    def __init__(
        self,
        name: str,
        around: Surroundings,
        setup: Setup,
        disk: Disk,
        clouds: Mapping[str, ImageCloud],
        manners: Callable[[], Manners],
        workers: Workers,
    ) -> None:
        super().__init__(name, around)
        self.tool = BuildTool(self, disk, manners)
        self.reconciler = Reconciler(self.chance, Identity(f"id-of-{name}", name), workers)
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

    def stop(self) -> None:
        """SIGINT or SIGTERM: finish what runs, or end it."""
        self._finish(Stopping(now=self.chance.random() < 0.5), STOP_LIMIT)

    def _register(self, component: Component) -> None:
        complete = component.replace(hostname=self.name, version="simulated")
        self._registry.put(BUILDER, BUILDER, complete.to_json())
