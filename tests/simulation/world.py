"""One run from one seed: launchers, clouds, clients and mishaps on one virtual clock, and what was found wrong."""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nodepool.driver.adapter import ServerState
from nodepool.driver.fake.cloud import FakeCloud
from nodepool.driver.nodescan import ScanFailure, ScanRequest, ScanResult
from nodepool.driver.readycheck.request import CheckRequest, CheckResult
from nodepool.launcher.instructions import Instruction, Say
from nodepool.model.resources import Resources
from nodepool.zk import paths
from nodepool.zk.store import Create, Store
from tests.simulation import images, settled
from tests.simulation import scenario as scenarios
from tests.simulation.actors import Actor
from tests.simulation.bystanders import Janitor, Neighbour, Operator, Releaser, Scheduler, Vandal
from tests.simulation.clients import Client, Jenkins, Zuul
from tests.simulation.clock import Clock
from tests.simulation.clouds import SimulatedAdapter
from tests.simulation.ensemble import Transaction, WatchedEnsemble
from tests.simulation.faults import Gremlin
from tests.simulation.invariants import Invariants, decoded
from tests.simulation.process import ROOTS, SimulatedLauncher
from tests.simulation.project import Project, Upload

CALM = 700.0
"""Seconds without mishaps: enough for pauses of up to 300 s and two searches for leaks."""
LOOKS = 8
"""Looks at the end; what all of them find is wrong."""
BETWEEN_LOOKS = 7.3
MOST_INCARNATIONS = 60


@dataclass(slots=True)
class Report:
    """What came of a run."""

    seed: int
    violations: list[str]
    counts: Counter[str]


@dataclass(frozen=True, slots=True)
class Tampering:
    """How a run is made to fail: see :mod:`tests.simulation.mutations`."""

    store: Callable[[Store], Store] = lambda store: store
    adapter: Callable[[SimulatedAdapter], SimulatedAdapter] = lambda adapter: adapter


def run(seed: int, tampering: Tampering | None = None, log: bool = False) -> Report:
    """Live through a seed."""
    world = World(seed, tampering or Tampering(), log)
    try:
        world.live()
    except Exception:  # noqa: BLE001 - whatever is raised anywhere is a finding
        world.invariants.report(traceback.format_exc())
    return Report(seed, world.invariants.violations, world.counts)


@dataclass(slots=True)
class _Incarnations:
    count: int = 0
    restart_at: float | None = None


class World:
    """See the module's description."""

    def __init__(self, seed: int, tampering: Tampering, log: bool = False) -> None:
        self.seed = seed
        self.scenario = scenarios.draw(seed)
        self.clock = Clock()
        self.ensemble = WatchedEnsemble(self.clock)
        self.counts: Counter[str] = Counter()
        self.calm = False
        self.declines: dict[tuple[str, str], str] = {}
        """Request and launcher id to the reason that was logged."""
        self.passed: set[str] = set()
        """Nodes that have passed their check."""
        self._log = log
        self._tampering = tampering
        self.clouds = {
            name: FakeCloud(self.clock, self.chance(name), settings)
            for name, settings in self.scenario.projects.items()
        }
        self.invariants = Invariants(self)
        self.projects = {name: self._project(name, cloud) for name, cloud in self.clouds.items()}
        self.adapters = {plan.settings.name: tampering.adapter(self._adapter(plan)) for plan in self.scenario.clouds}
        self.processes: dict[str, SimulatedLauncher] = {}
        self._incarnations = {name: _Incarnations() for name in self.scenario.launchers}
        self._deaths = self.chance("deaths")
        self.clients: list[Client] = []
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

    # Life

    def live(self) -> None:
        """The time of trouble, the calm, and the end."""
        for path in (paths.ROOT, *ROOTS):
            self.ensemble.commit([Create(path)])
        images.prepare(self)
        for name in self.scenario.launchers:
            self._start_launcher(name)
        self._start_actors()
        self._every(1.0, self._revive)
        self._every(5.0, self.invariants.look_at_clouds)
        self._every(5.0, self.invariants.look_at_held_nodes)
        self.clock.run(self.clock.now + self.scenario.trouble)
        self._calm_down()
        self.clock.run(self.clock.now + CALM)
        self._look_at_the_end()

    def _start_actors(self) -> None:
        scenario = self.scenario
        for number in range(scenario.requests):
            kind = Jenkins if scenario.jenkins and number % 3 == 0 else Zuul
            self.clients.append(kind(self, f"{kind.__name__.lower()}{number}"))
        others: list[Actor] = [Scheduler(self, "scheduler")]
        if scenario.operated:
            others.append(Operator(self, "operator"))
        if scenario.messy:
            others.append(Vandal(self, "vandal"))
        if scenario.crowded:
            others.append(Neighbour(self, "neighbour"))
        if scenario.rude:
            others.append(Janitor(self, "janitor"))
        if scenario.violence:
            others.append(Gremlin(self))
        for actor in (*self.clients, *others):
            actor.start()

    def _calm_down(self) -> None:
        self.say("world", "calms down")
        self.calm = True
        for project in self.projects.values():
            project.cloud.repair()
            project.repair()
        for process in self.processes.values():
            process.thaw()
            if process.alive:
                self.configure(process, self.scenario)
                process.memory.reconnect()
                process.memory.feed_lag = process.slowness = 0.0
        Releaser(self, "releaser").start()

    def _look_at_the_end(self) -> None:
        lasting = set(settled.findings(self))
        for _ in range(LOOKS):
            if not lasting:
                return
            self.clock.run(self.clock.now + BETWEEN_LOOKS)
            lasting &= set(settled.findings(self))
        for finding in sorted(lasting):
            self.invariants.report(finding)

    def _every(self, seconds: float, action: Callable[[], None]) -> None:
        def again() -> None:
            action()
            self.clock.schedule(seconds, again)

        self.clock.schedule(seconds, again)

    # Clouds

    def _project(self, name: str, cloud: FakeCloud) -> Project:
        def has_record(upload: Upload) -> bool:
            return images.has_record(self, upload)

        chance, mishaps = self.chance(f"{name} beside"), self.scenario.mishaps[name]
        return Project(self.clock, chance, cloud, mishaps, has_record, self.invariants.report, self.count)

    def _adapter(self, plan: scenarios.CloudPlan) -> SimulatedAdapter:
        project = self.projects[plan.project]
        return SimulatedAdapter(
            plan.settings.name, project, self.scenario.costs, plan.poll_interval, floating=plan.floating
        )

    # Launchers

    def _start_launcher(self, name: str) -> None:
        incarnation = self._incarnations[name]
        incarnation.count += 1
        incarnation.restart_at = None
        self.say("world", f"starts {name} for the {incarnation.count}. time")
        providers = self.scenario.launchers[name]
        process = SimulatedLauncher(
            name,
            self.clock,
            self.ensemble,
            self.chance(f"{name} {incarnation.count}"),
            self.scenario.setup(name, incarnation.count, self.adapters),
            {provider: adapter for provider, adapter in self.adapters.items() if provider in providers},
            crash=self._crashes,
            wrap=self._tampering.store,
            scan=self._scan,
            check=self._check,
            observe=lambda instruction: self._observe(name, instruction),
            count=self.count,
        )
        process.memory.listen(lambda change: self.invariants.sessions.update({change.session: name}))
        self.processes[name] = process
        process.start()

    def configure(self, process: SimulatedLauncher, scenario: scenarios.Scenario) -> None:
        """Give a launcher another configuration."""
        process.configure(scenario.setup(process.name, self._incarnations[process.name].count, self.adapters))

    def _revive(self) -> None:
        """Start those again that have ended: at once, or after a while."""
        for name, process in self.processes.items():
            incarnation = self._incarnations[name]
            if process.alive:
                continue
            if incarnation.restart_at is None:
                incarnation.restart_at = self.clock.now + self._deaths.choice((0.0, 3.0, 30.0))
            if self.calm or self.clock.now >= incarnation.restart_at:
                self._start_launcher(name)

    def _crashes(self, where: str) -> bool:
        worn_out = sum(one.count for one in self._incarnations.values()) > MOST_INCARNATIONS
        if self.calm or worn_out or self._deaths.random() >= self.scenario.crash_rate:
            return False
        self.say("world", f"a launcher dies {where}")
        self.count(f"died {where}")
        return True

    def _scan(self, request: ScanRequest) -> ScanResult:
        fails = self.scenario.violence and not self.calm and self._deaths.random() < 0.05
        if fails:
            return ScanResult(request.key, failure=ScanFailure.REFUSED, detail="simulated")
        return ScanResult(request.key, ("ssh-ed25519 AAAA",), address="192.0.2.1")

    def _check(self, request: CheckRequest) -> CheckResult:
        fails = self.scenario.violence and not self.calm and self._deaths.random() < self.scenario.check_fails
        if not fails:
            self.passed.add(request.key[1])  # type: ignore[index]
        return CheckResult("simulated", "no network") if fails else CheckResult()

    def _observe(self, launcher: str, instruction: Instruction) -> None:
        if isinstance(instruction, Say):
            self.say(launcher, f"{instruction.message} [{instruction.request_id} {instruction.node_id}]")
            if instruction.message.startswith("Declining node request: "):
                launcher_id = instruction.logger.partition("[")[2].rstrip("]")
                reason = instruction.message.partition(": ")[2]
                self.declines[str(instruction.request_id), launcher_id] = reason
                self.count(f"declined: {reason.partition(' (')[0]}")

    # What is, to those who check

    def pools(self, older_than: float = 0.0) -> Mapping[str, dict[str, object]]:
        """Registered pools by launcher id."""
        found = {}
        for name in self.ensemble.children(paths.components("pool")) or ():
            datum = self.ensemble.read(f"{paths.components('pool')}/{name}")
            if datum is not None and datum.ctime <= self.clock.now - older_than:
                pool = decoded(datum)
                found[pool["id"]] = pool
        return found

    def cost_of(self, node: dict[str, object]) -> Resources:
        """What a node uses."""
        labels = node.get("type") or [""]
        known = Resources.from_json(node.get("resources"))
        return known or self.scenario.costs.get(labels[0], scenarios.ONE)  # type: ignore[index]

    def has_server(self, node_id: str, node: Mapping[str, object]) -> bool:
        """Whether a ready node has its machine; with a janitor about, nobody can promise that."""
        project = next((plan.project for plan in self.scenario.clouds if plan.settings.name == node["provider"]), None)
        if project is None or self.scenario.rude or self.scenario.jenkins:
            return True
        alive = self.clouds[project].alive()
        return any(s.external_id == node["external_id"] and s.tags.get("nodepool_node_id") == node_id for s in alive)

    def defects(self, node_id: str, node: Mapping[str, Any]) -> Iterator[str]:
        """What a node of a cloud lacks that is handed over."""
        plan = next((plan for plan in self.scenario.clouds if plan.settings.name == node["provider"]), None)
        if plan is None or self.scenario.rude or self.scenario.jenkins:
            return
        label = plan.settings.pools[node["pool"]].labels[node["type"][0]]
        if label.ready_check is not None and node_id not in self.passed:
            yield "which has not passed its check"
        if plan.floating and not self.projects[plan.project].leads_to(node["interface_ip"], node["external_id"]):
            yield f"whose address {node['interface_ip']} leads elsewhere"
        if plan.own_addresses and len(self.scenario.launchers) == 1:
            for other_id in self.ensemble.children(paths.NODES) or ():
                other = decoded(self.ensemble.read(paths.node(other_id)))
                alike = all(other.get(key) == node[key] for key in ("provider", "pool", "interface_ip"))
                if alike and other_id != node_id and other["state"] in ("ready", "in-use"):
                    yield f"whose address {node['interface_ip']} is that of {other_id}"

    def is_untouched(self, node: Mapping[str, object]) -> bool:
        """Whether a node of a cloud has a machine that nobody is removing."""
        project = next(plan.project for plan in self.scenario.clouds if plan.settings.name == node["provider"])
        alive = self.clouds[project].alive()
        return any(
            server.external_id == node["external_id"] and server.state is not ServerState.DELETING for server in alive
        )

    def attends_to_held_nodes(self, provider: str, label: str) -> bool:
        """Whether some launcher of a provider works, and has a configuration that says how many may be held."""
        for process in self.processes.values():
            state = process.reconciler.state
            known = [pool.label(label) for pool in state.setup.pools_of(provider)]
            limited = known and all(one is not None and one.keep_failed is not None for one in known)
            if limited and process.alive and not process.frozen and state.working:
                return True
        return False

    def has_room_for(self, label: str) -> bool:
        """Whether some pool could make one more node of a label."""
        need = self.scenario.costs.get(label)
        nodes = [decoded(self.ensemble.read(paths.node(one))) for one in self.ensemble.children(paths.NODES) or ()]
        for plan in self.scenario.clouds:
            for pool in plan.settings.pools.values():
                if need is None or label not in pool.labels or pool.disabled:
                    continue
                if pool.labels[label].diskimage and not images.is_ready(self, plan.settings.name):
                    continue
                of_pool = [n for n in nodes if (n.get("provider"), n.get("pool")) == (plan.settings.name, pool.name)]
                used = Resources.total(self.cost_of(node) for node in of_pool)
                cloud = self.clouds[plan.project]
                if (used + need).fits_in(pool.limits) and (cloud.used() + need).fits_in(cloud.settings.quota):
                    return True
        return False

    # The log

    def _log_transaction(self, transaction: Transaction) -> None:
        who = self.invariants.sessions.get(transaction.session, f"session {transaction.session}")
        for write in (*transaction.nodes, *transaction.requests):
            after = decoded(write.after)
            told = {key: after.get(key) for key in ("state", "allocated_to", "nodes", "declined_by") if after.get(key)}
            self.say(who, f"writes {write.path} {told or 'gone'}")
