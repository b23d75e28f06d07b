"""One run from one seed: daemons, clouds, others and mishaps on one virtual clock, and what was found wrong.

What all sites have in common; see ``launchers/world.py`` and ``builders/world.py`` for what is on them.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from nodepool.daemon.instructions import Say
from nodepool.zk.store import Create
from tests.simulation.clock import Clock
from tests.simulation.daemon import SimulatedDaemon, Surroundings
from tests.simulation.ensemble import Transaction, WatchedEnsemble
from tests.simulation.mutations import Mutation

MOST_VIOLATIONS = 20


@dataclass(frozen=True, slots=True)
class Rules:
    """How long a world lives on after the time of trouble, and how it goes on meanwhile."""

    least_calm: float
    """Seconds without mishaps in any case."""
    calm: float
    """Seconds without mishaps after which all must be well; it ends before if that is so at two looks in a row."""
    looks: int
    """Looks at the end; what all of them find is wrong."""
    between_looks: float
    """Seconds."""
    pauses: tuple[float, ...]
    """Seconds until a daemon that has ended is started again."""
    most_starts: int
    """Starts of daemons after which none dies by its own doing."""


class Scenario(Protocol):
    """What a world has to know of the site that a seed draws."""

    @property
    def trouble(self) -> float:
        """Seconds in which everything may fail."""

    @property
    def violence(self) -> float:
        """Mishaps per daemon and minute."""

    @property
    def crash_rate(self) -> float:
        """Probability that a daemon dies at one of its effects."""


class World(ABC):
    """See the module's description."""

    rules: Rules
    scenario: Scenario

    def __init__(self, seed: int, scenario: Scenario, mutation: Mutation, log: bool) -> None:
        self.seed = seed
        self.scenario = scenario
        self.mutation = mutation
        self.clock = Clock()
        self.ensemble = WatchedEnsemble(self.clock)
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        """Sentences, with the seconds since the beginning."""
        self.calm = False
        self.daemons: dict[str, SimulatedDaemon] = {}
        """By name; the present incarnation of each."""
        self.sessions: dict[int, str] = {}
        """Sessions of daemons, and whose they are."""
        self.starts: Counter[str] = Counter()
        self._restarts: dict[str, float] = {}
        self._deaths = self.chance("deaths")
        self._log = log
        if log:
            self.ensemble.observers.append(self._log_transaction)

    # For all who are part of it

    def chance(self, name: str) -> random.Random:
        """A source of chance of one's own, so that one actor's draws do not change another's."""
        return random.Random(f"{self.seed} {name}")

    def count(self, what: str) -> None:
        """Something has happened that a run should be able to show."""
        self.counts[what] += 1

    def say(self, who: str, text: str) -> None:
        """A line for the log."""
        if self._log:
            print(f"{self.clock.elapsed:9.3f} {who}: {text}")

    def report(self, violation: str) -> None:
        """Something is wrong."""
        self.say("VIOLATION", violation)
        text = f"{self.clock.elapsed:.3f}: {violation}"
        if len(self.violations) < MOST_VIOLATIONS and text not in self.violations:
            self.violations.append(text)

    def hits(self, probability: float) -> bool:
        """Whether something fails that may; nothing does when all has to be calm."""
        return not self.calm and self._deaths.random() < probability

    # Life

    def live(self) -> None:
        """The time of trouble, the calm, and the end."""
        self.begin()
        self.every(1.0, self._revive)
        self.clock.run(self.clock.now + self.scenario.trouble)
        self._calm_down()
        self._rest()
        self._look_at_the_end()

    @abstractmethod
    def begin(self) -> None:
        """Make the site, and let everybody begin."""

    @abstractmethod
    def make(self, name: str) -> SimulatedDaemon:
        """A daemon of the site, not started yet."""

    @abstractmethod
    def configure(self, daemon: SimulatedDaemon) -> None:
        """Give a daemon the configuration that the site has now."""

    @abstractmethod
    def repair(self) -> None:
        """Nothing goes wrong from now on."""

    @abstractmethod
    def findings(self) -> Iterable[str]:
        """What is not as it should be when all has been calm for long."""

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something again and again."""

        def again() -> None:
            action()
            self.clock.schedule(seconds, again)

        self.clock.schedule(seconds, again)

    def make_znodes(self, paths: Iterable[str]) -> None:
        """Create the znodes that everybody takes for granted."""
        for path in paths:
            self.ensemble.commit([Create(path)])

    def _calm_down(self) -> None:
        self.say("world", "calms down")
        self.calm = True
        self.repair()
        for daemon in self.daemons.values():
            daemon.thaw()
            if daemon.alive:
                self.configure(daemon)
                daemon.memory.reconnect()
                daemon.memory.feed_lag = daemon.slowness = 0.0

    def _rest(self) -> None:
        end = self.clock.now + self.rules.calm
        self.clock.run(self.clock.now + self.rules.least_calm)
        well = 0
        while self.clock.now < end and well < 2:
            self.clock.run(self.clock.now + self.rules.between_looks)
            well = 0 if any(True for _ in self.findings()) else well + 1

    def _look_at_the_end(self) -> None:
        lasting = set(self.findings())
        for _ in range(self.rules.looks):
            if not lasting:
                return
            self.clock.run(self.clock.now + self.rules.between_looks)
            lasting &= set(self.findings())
        for finding in sorted(lasting):
            self.report(finding)

    # Daemons

    def start(self, name: str) -> None:
        """Start a daemon, for the first time or again."""
        self.starts[name] += 1
        self._restarts.pop(name, None)
        self.say("world", f"starts {name} for the {self.starts[name]}. time")
        daemon = self.daemons[name] = self.make(name)
        daemon.memory.listen(lambda change: self.sessions.update({change.session: name}))
        daemon.start()

    def surroundings(self, name: str) -> Surroundings:
        """What the next incarnation of a daemon is put into."""
        return Surroundings(
            self.clock,
            self.ensemble,
            self.chance(f"{name} {self.starts[name]}"),
            crash=self.crashes,
            wrap=self.mutation.store,
            observe=lambda instruction: self.observe(name, instruction),
            count=self.count,
        )

    def crashes(self, where: str) -> bool:
        """Whether a daemon dies here."""
        if sum(self.starts.values()) > self.rules.most_starts or not self.hits(self.scenario.crash_rate):
            return False
        self.say("world", f"a daemon dies {where}")
        self.count(f"died {where}")
        return True

    def observe(self, name: str, instruction: Any) -> None:
        """A daemon is about to carry out an instruction."""
        if isinstance(instruction, Say):
            self.say(name, f"{instruction.message} [{instruction.request_id} {instruction.node_id}]")

    def _revive(self) -> None:
        """Start those again that have ended: at once, or after a while."""
        for name, daemon in self.daemons.items():
            if daemon.alive:
                continue
            self._restarts.setdefault(name, self.clock.now + self._deaths.choice(self.rules.pauses))
            if self.calm or self.clock.now >= self._restarts[name]:
                self.start(name)

    def _log_transaction(self, transaction: Transaction) -> None:
        who = self.sessions.get(transaction.session, f"session {transaction.session}")
        self.say(who, " | ".join(self.describe(transaction)))

    @abstractmethod
    def describe(self, transaction: Transaction) -> Iterable[str]:
        """What a transaction did, for the log."""
