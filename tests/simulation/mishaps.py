"""Whatever can happen to a daemon and its connection, at a rate, from the seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from nodepool.zk.store import Uncertain
from tests.simulation.daemon import SimulatedDaemon

if TYPE_CHECKING:
    from tests.simulation.world import World

Daemon = TypeVar("Daemon", bound=SimulatedDaemon)
Trick = Callable[[Daemon], None]


class Gremlin(Generic[Daemon]):
    """Plays tricks until everything has to be calm. ``living`` are the daemons that it may hurt."""

    absences: ClassVar[tuple[float, ...]] = (1.0, 10.0, 25.0)
    """Most seconds for which a daemon is frozen, drawn from these."""
    cuts: ClassVar[tuple[float, ...]] = (0.5, 5.0, 20.0)
    """Most seconds for which a connection is cut, drawn from these."""

    def __init__(
        self,
        world: World,
        living: Callable[[], list[Daemon]],
        tricks: Mapping[str, Trick[Daemon]],
        name: str = "gremlin",
        vigour: float = 1.0,
    ) -> None:
        """``vigour``: tricks for each that the scenario asks for."""
        self._world = world
        self._vigour = vigour
        self._living = living
        self.chance = world.chance(name)
        common: dict[str, Trick[Daemon]] = {
            "kill": lambda daemon: daemon.die(),
            "stop": lambda daemon: daemon.stop(),
            "expire": self._expire,
            "cut": self._cut,
            "freeze": self._freeze,
            "stall": lambda daemon: daemon.stall(self.chance.uniform(5.0, 4 * self.absences[-1])),
            "lose answers": self._lose_answers,
            "lag": self._lag,
            "slow": self._slow,
            "murk": self._murk,
        }
        self._tricks: tuple[tuple[str, Trick[Daemon]], ...] = tuple({**common, **tricks}.items())

    def start(self) -> None:
        """Strike after a while, and again."""
        per_second = self._vigour * self._world.scenario.violence * len(self._living()) / 60.0
        if per_second:
            self._world.clock.schedule(self.chance.expovariate(per_second), self._strike)

    def _strike(self) -> None:
        if self._world.calm:
            return
        living = [daemon for daemon in self._living() if daemon.alive and not daemon.frozen]
        if living:
            name, trick = self.chance.choice(self._tricks)
            daemon = self.chance.choice(living)
            self._world.say("gremlin", f"{name}: {daemon.name}")
            self._world.count(name)
            trick(daemon)
        self.start()

    def _expire(self, daemon: Daemon) -> None:
        # A quiet store learns of it with its next heartbeat.
        notice = self.chance.choice((0.0, self.chance.uniform(0.0, 4.0)))
        self._world.ensemble.expire(daemon.memory.session(), notice)

    def _cut(self, daemon: Daemon) -> None:
        daemon.memory.disconnect()
        self.later(self.chance.choice(self.cuts), daemon.memory.reconnect)

    def _freeze(self, daemon: Daemon) -> None:
        daemon.freeze()
        self.later(self.chance.choice(self.absences), daemon.thaw)

    def _lose_answers(self, daemon: Daemon) -> None:
        for _ in range(self.chance.randint(1, 3)):
            verdict = self.chance.choice((Uncertain.CONNECTION_LOST, Uncertain.TIMED_OUT))
            daemon.memory.lose_answer(executed=self.chance.random() < 0.6, verdict=verdict)

    def _lag(self, daemon: Daemon) -> None:
        daemon.memory.feed_lag = self.chance.choice((0.05, 0.5, 5.0)) * self.chance.random()
        self.later(20.0, lambda: setattr(daemon.memory, "feed_lag", 0.0))

    def _slow(self, daemon: Daemon) -> None:
        daemon.slowness = self.chance.choice((0.01, 0.5, 5.0)) * self.chance.random()
        self.later(20.0, lambda: setattr(daemon, "slowness", 0.0))

    def _murk(self, daemon: Daemon) -> None:
        """Nobody knows what was done, and the news of it take long."""
        daemon.memory.feed_lag = self.chance.uniform(2.0, 6.0)
        for _ in range(self.chance.randint(1, 5)):
            daemon.memory.lose_answer(executed=True, verdict=Uncertain.TIMED_OUT)
        self.later(15.0, lambda: setattr(daemon.memory, "feed_lag", 0.0))

    def later(self, longest: float, action: Callable[[], None]) -> None:
        """Do something within ``longest`` seconds."""
        self._world.clock.schedule(self.chance.uniform(0.0, longest), action)
