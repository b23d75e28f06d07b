"""One run from one seed: builders, clouds, an operator and mishaps on one virtual clock, and what was found wrong."""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from nodepool.builder.instructions import Instruction, Say
from nodepool.builder.service import ROOTS
from nodepool.zk import paths
from nodepool.zk.store import Check, Create
from tests.simulation.builders import scenario as scenarios
from tests.simulation.builders import settled
from tests.simulation.builders.clouds import CloudManners, ImageCloud
from tests.simulation.builders.host import Disk, Manners
from tests.simulation.builders.process import SimulatedBuilder
from tests.simulation.builders.trouble import Gremlin, Operator
from tests.simulation.builders.watch import Watch
from tests.simulation.clock import Clock
from tests.simulation.ensemble import Transaction, WatchedEnsemble

CALM = 4500.0
"""Seconds without mishaps: enough for the longest pause after failures."""
LOOKS = 12
"""Looks at the end; what all of them find is wrong."""
BETWEEN_LOOKS = 41.3
MOST_INCARNATIONS = 40


@dataclass(slots=True)
class Report:
    """What came of a run."""

    seed: int
    violations: list[str]
    counts: Counter[str]


@dataclass(frozen=True, slots=True)
class Tampering:
    """How a run is made to fail: see :mod:`tests.simulation.builders.mutations`."""

    cloud: Callable[[ImageCloud], ImageCloud] = lambda cloud: cloud


def run(seed: int, log: bool = False, tampering: Tampering | None = None) -> Report:
    """Live through a seed."""
    world = World(seed, log, tampering or Tampering())
    try:
        world.live()
    except Exception:  # noqa: BLE001 - whatever is raised anywhere is a finding
        world.watch.report(traceback.format_exc())
    return Report(seed, world.watch.violations, world.counts)


class World:
    """See the module's description."""

    def __init__(self, seed: int, log: bool, tampering: Tampering) -> None:
        self.seed = seed
        self.scenario = scenarios.draw(seed)
        self.final = self.scenario.without(self.scenario.removed)
        self.clock = Clock()
        self.ensemble = WatchedEnsemble(self.clock)
        self.counts: Counter[str] = Counter()
        self.calm = False
        self._log = log
        self._tampering = tampering
        self._sessions: dict[int, str] = {}
        self._restarts: dict[str, float] = {}
        self._incarnations: Counter[str] = Counter()
        self._deaths = self.chance("deaths")
        self.watch = Watch(self)
        self.disks = {name: Disk(self.chance(f"disk {name}")) for name in self.scenario.builders}
        self.clouds = {plan.name: self._cloud(plan.name) for plan in self.scenario.clouds}
        self.processes: dict[str, SimulatedBuilder] = {}
        if log:
            self.ensemble.observers.append(self._log_transaction)

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

    @property
    def present(self) -> scenarios.Scenario:
        """The site as it is to be now."""
        return self.final if self.calm else self.scenario

    # Life

    def live(self) -> None:
        """The time of trouble, the calm, and the end."""
        for path in (paths.ROOT, paths.COMPONENTS, *ROOTS):
            self.ensemble.commit([Create(path)])
        for name in self.scenario.builders:
            self._start_builder(name)
        Gremlin(self).start()
        if self.scenario.operated:
            Operator(self).start()
        self._every(1.0, self._revive)
        self.clock.run(self.clock.now + self.scenario.trouble)
        self._calm_down()
        self.clock.run(self.clock.now + CALM)
        self._look_at_the_end()

    def _calm_down(self) -> None:
        self.say("world", "calms down")
        self.calm = True
        for cloud in self.clouds.values():
            cloud.manners = CloudManners()
        for disk in self.disks.values():
            disk.full = False
        for process in self.processes.values():
            process.thaw()
            if process.alive:
                process.configure(self.final.setup(process.name))
                process.memory.reconnect()
                process.memory.feed_lag = process.slowness = 0.0

    def _look_at_the_end(self) -> None:
        lasting = set(settled.findings(self))
        for _ in range(LOOKS):
            if not lasting:
                return
            self.clock.run(self.clock.now + BETWEEN_LOOKS)
            lasting &= set(settled.findings(self))
        for finding in sorted(lasting):
            self.watch.report(finding)

    def _every(self, seconds: float, action: Callable[[], None]) -> None:
        def again() -> None:
            action()
            self.clock.schedule(seconds, again)

        self.clock.schedule(seconds, again)

    # Parts

    def _cloud(self, name: str) -> ImageCloud:
        cloud = ImageCloud(self.clock, self.chance(name), self.watch.report)
        rate = self.scenario.cloud_fails
        cloud.manners = CloudManners(rate, rate / 2, rate, rate, longest=self.scenario.longest_upload)
        cloud.deleting = self.watch.deleting
        return self._tampering.cloud(cloud)

    def _manners(self) -> Manners:
        return Manners(longest=self.scenario.longest_build, fails=0.0 if self.calm else self.scenario.build_fails)

    def _start_builder(self, name: str) -> None:
        self._incarnations[name] += 1
        self._restarts.pop(name, None)
        self.say("world", f"starts {name} for the {self._incarnations[name]}. time")
        process = SimulatedBuilder(
            name,
            self.clock,
            self.ensemble,
            self.chance(f"{name} {self._incarnations[name]}"),
            self.present.setup(name),
            self.disks[name],
            {cloud: self.clouds[cloud] for cloud in self.scenario.builders[name]},
            self._manners,
            self.scenario.workers,
            crash=self._crashes,
            observe=lambda instruction: self._observe(name, instruction),
            count=self.count,
        )
        process.memory.listen(lambda change: self._sessions.update({change.session: name}))
        self.processes[name] = process
        process.start()

    def _revive(self) -> None:
        """Start those again that have ended: at once, or after a while."""
        for name, process in self.processes.items():
            if process.alive:
                continue
            self._restarts.setdefault(name, self.clock.now + self._deaths.choice((0.0, 3.0, 30.0, 300.0)))
            if self.calm or self.clock.now >= self._restarts[name]:
                self._start_builder(name)

    def _crashes(self, where: str) -> bool:
        worn_out = sum(self._incarnations.values()) > MOST_INCARNATIONS
        if self.calm or worn_out or self._deaths.random() >= self.scenario.crash_rate:
            return False
        self.say("world", f"a builder dies {where}")
        self.count(f"died {where}")
        return True

    def _observe(self, builder: str, instruction: Instruction) -> None:
        if isinstance(instruction, Say):
            self.say(builder, instruction.message)

    # What is, to those who check

    def builder_of(self, session: int) -> str | None:
        """Whose session it is, None for somebody else's."""
        return self._sessions.get(session)

    def wants(self, builder: str, image: str, provider: str) -> bool:
        """Whether a builder's configuration lists an image for a provider."""
        setup = self.processes[builder].reconciler.state.setup
        ours = setup.providers.get(provider) if setup else None
        return bool(setup and image in setup.images and ours and ours.image(image))

    def cloud_of(self, provider: str) -> ImageCloud:
        """The cloud of a provider."""
        return self.clouds[provider]

    def _log_transaction(self, transaction: Transaction) -> None:
        who = self._sessions.get(transaction.session, "operator")
        deeds = [
            f"{type(one).__name__} {one.path.removeprefix('/nodepool/')} {getattr(one, 'data', b'').decode()[:200]}"
            for one in transaction.operations
            if not isinstance(one, Check)
        ]
        self.say(who, " | ".join(deeds))
