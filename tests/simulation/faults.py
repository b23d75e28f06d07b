"""Whatever can happen to a launcher, its connection and its clouds, at a rate, from the seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from nodepool.zk.store import Uncertain
from tests.simulation.actors import Actor, Life
from tests.simulation.process import SimulatedLauncher
from tests.simulation.scenario import ZONES

if TYPE_CHECKING:
    from tests.simulation.world import World


class Gremlin(Actor):
    """See the module's description."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "gremlin")
        self._tricks: tuple[tuple[str, Callable[[SimulatedLauncher], None]], ...] = (
            ("kill", self._kill),
            ("stop", self._stop),
            ("expire", self._expire),
            ("cut", self._cut),
            ("freeze", self._freeze),
            ("lose answers", self._lose_answers),
            ("lag", self._lag),
            ("slow", self._slow),
            ("murk", self._murk),
            ("outage", self._outage),
            ("full zone", self._fill_zone),
            ("reload", self._reload),
        )

    def life(self) -> Life[None]:
        """Until everything has to be calm."""
        per_second = self.world.scenario.violence * len(self.world.scenario.launchers) / 60.0
        while True:
            yield self.chance.expovariate(per_second)
            living = [process for process in self.world.processes.values() if process.alive and not process.frozen]
            if self.world.calm:
                return
            if living:
                name, trick = self.chance.choice(self._tricks)
                process = self.chance.choice(living)
                self.say(f"{name}: {process.name}")
                self.world.count(name)
                trick(process)

    def _kill(self, process: SimulatedLauncher) -> None:
        process.die()

    def _stop(self, process: SimulatedLauncher) -> None:
        process.stop()

    def _expire(self, process: SimulatedLauncher) -> None:
        # A quiet store learns of it with its next heartbeat.
        notice = self.chance.choice((0.0, self.chance.uniform(0.0, 4.0)))
        self.world.ensemble.expire(process.memory.session(), notice)

    def _cut(self, process: SimulatedLauncher) -> None:
        process.memory.disconnect()
        self._later(self.chance.choice((0.5, 5.0, 20.0)), process.memory.reconnect)

    def _freeze(self, process: SimulatedLauncher) -> None:
        process.freeze()
        self._later(self.chance.choice((1.0, 10.0, 25.0)), process.thaw)

    def _lose_answers(self, process: SimulatedLauncher) -> None:
        for _ in range(self.chance.randint(1, 3)):
            verdict = self.chance.choice((Uncertain.CONNECTION_LOST, Uncertain.TIMED_OUT))
            process.memory.lose_answer(executed=self.chance.random() < 0.6, verdict=verdict)

    def _lag(self, process: SimulatedLauncher) -> None:
        process.memory.feed_lag = self.chance.choice((0.05, 0.5, 5.0)) * self.chance.random()
        self._later(20.0, lambda: setattr(process.memory, "feed_lag", 0.0))

    def _slow(self, process: SimulatedLauncher) -> None:
        process.slowness = self.chance.choice((0.01, 0.5, 5.0)) * self.chance.random()
        self._later(20.0, lambda: setattr(process, "slowness", 0.0))

    def _murk(self, process: SimulatedLauncher) -> None:
        """Nobody knows what was done, and the news of it take long."""
        process.memory.feed_lag = self.chance.uniform(2.0, 6.0)
        for _ in range(self.chance.randint(1, 5)):
            process.memory.lose_answer(executed=True, verdict=Uncertain.TIMED_OUT)
        self._later(15.0, lambda: setattr(process.memory, "feed_lag", 0.0))

    def _reload(self, process: SimulatedLauncher) -> None:
        self.world.configure(process, self.world.scenario.altered(self.chance))
        self._later(30.0, lambda: self.world.configure(process, self.world.scenario))

    def _outage(self, _process: SimulatedLauncher) -> None:
        cloud = self.chance.choice(list(self.world.clouds.values()))
        healthy = cloud.settings
        broken = replace(healthy.faults, list_fails=1.0, create_refused=0.5, delete_refused=0.5)
        cloud.settings = replace(healthy, faults=broken)

        def end() -> None:
            if not self.world.calm:
                cloud.settings = healthy

        self._later(self.chance.choice((10.0, 60.0)), end)

    def _fill_zone(self, _process: SimulatedLauncher) -> None:
        project = self.chance.choice(list(self.world.projects.values()))
        project.fill(self.chance.choice((None, *ZONES)), self.chance.uniform(5.0, 90.0))

    def _later(self, longest: float, action: Callable[[], None]) -> None:
        self.world.clock.schedule(self.chance.uniform(0.0, longest), action)
