"""What can happen to launchers beside what happens to all daemons: their clouds fail, and their files change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.simulation.launchers.process import SimulatedLauncher
from tests.simulation.launchers.scenario import ZONES
from tests.simulation.mishaps import Gremlin

if TYPE_CHECKING:
    from tests.simulation.launchers.world import LauncherWorld


class LauncherGremlin(Gremlin[SimulatedLauncher]):
    """See the module's description."""

    def __init__(self, world: LauncherWorld) -> None:
        tricks = {"outage": self._outage, "full zone": self._fill_zone, "reload": self._reload}
        super().__init__(world, lambda: list(world.processes.values()), tricks)
        self.world = world

    def _reload(self, process: SimulatedLauncher) -> None:
        self.world.configure_as(process, self.world.scenario.altered(self.chance))
        self.later(30.0, lambda: self.world.configure(process))

    def _outage(self, _process: SimulatedLauncher) -> None:
        cloud = self.chance.choice(list(self.world.clouds.values()))
        healthy = cloud.settings
        broken = replace(healthy.faults, list_fails=1.0, create_refused=0.5, delete_refused=0.5)
        cloud.settings = replace(healthy, faults=broken)

        def end() -> None:
            if not self.world.calm:
                cloud.settings = healthy

        self.later(self.chance.choice((10.0, 60.0)), end)

    def _fill_zone(self, _process: SimulatedLauncher) -> None:
        project = self.chance.choice(list(self.world.projects.values()))
        project.fill(self.chance.choice((None, *ZONES)), self.chance.uniform(5.0, 90.0))
