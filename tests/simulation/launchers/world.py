"""A site with launchers: their clouds, their clients and others, and what can be known of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from nodepool.daemon.instructions import Say
from nodepool.driver.adapter import ServerState
from nodepool.driver.errors import CloudError
from nodepool.driver.fake.cloud import FakeCloud
from nodepool.driver.nodescan import ScanFailure, ScanRequest, ScanResult
from nodepool.driver.readycheck.request import CheckRequest, CheckResult
from nodepool.launcher.service import ROOTS
from nodepool.launcher.setup import Setup
from nodepool.model.reasons import DeleteReason
from nodepool.model.resources import Resources
from nodepool.zk import paths
from tests.simulation.daemon import SimulatedDaemon
from tests.simulation.ensemble import Transaction
from tests.simulation.launchers import images, settled
from tests.simulation.launchers import scenario as scenarios
from tests.simulation.launchers.actors import Actor
from tests.simulation.launchers.bystanders import (
    Janitor,
    Maintenance,
    Neighbour,
    Operator,
    Reaper,
    Releaser,
    Scheduler,
    Vandal,
)
from tests.simulation.launchers.clients import Client, Jenkins, Zuul
from tests.simulation.launchers.clouds import SimulatedAdapter
from tests.simulation.launchers.faults import LauncherGremlin
from tests.simulation.launchers.invariants import Invariants
from tests.simulation.launchers.process import SimulatedLauncher
from tests.simulation.launchers.project import Project, Upload
from tests.simulation.mutations import Mutation
from tests.simulation.records import decoded
from tests.simulation.world import Rules, World


class LauncherWorld(World):
    """See the module's description."""

    rules = Rules(
        # Two searches for leaks; and pauses of up to 300 s.
        least_calm=130.0,
        calm=700.0,
        looks=8,
        between_looks=7.3,
        pauses=(0.0, 3.0, 30.0),
        most_starts=60,
    )
    scenario: scenarios.Scenario

    def __init__(self, seed: int, mutation: Mutation, log: bool = False) -> None:
        super().__init__(seed, scenarios.draw(seed), mutation, log)
        self.declines: dict[tuple[str, str], str] = {}
        """Request and launcher id to the reason that was logged."""
        self.died: set[str] = set()
        """Nodes whose machines have died while nobody had them."""
        self.passed: set[str] = set()
        """Nodes that have passed their check."""
        self.clouds = {
            name: FakeCloud(self.clock, self.chance(name), settings)
            for name, settings in self.scenario.projects.items()
        }
        self.invariants = Invariants(self)
        self.projects = {name: self._project(name, cloud) for name, cloud in self.clouds.items()}
        self.adapters = {plan.settings.name: mutation.cloud(self._adapter(plan)) for plan in self.scenario.clouds}
        self.processes: dict[str, SimulatedLauncher] = {}
        self.clients: list[Client] = []

    # Life

    def begin(self) -> None:
        """Make the site, and let everybody begin."""
        self.make_znodes((paths.ROOT, *ROOTS))
        images.prepare(self)
        for name in self.scenario.launchers:
            self.start(name)
        self._start_actors()
        LauncherGremlin(self).start()
        self.every(5.0, self.invariants.look_at_clouds)
        self.every(5.0, self.invariants.look_at_held_nodes)

    def repair(self) -> None:
        """Nothing goes wrong from now on."""
        for project in self.projects.values():
            project.cloud.repair()
            project.repair()
        Releaser(self, "releaser").start()

    def findings(self) -> Iterator[str]:
        """What is not as it should be when all has been calm for long."""
        return settled.findings(self)

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
        if scenario.mortal:
            others.append(Reaper(self, "reaper"))
        if scenario.maintained:
            others.append(Maintenance(self, "maintenance"))
        if scenario.rude:
            others.append(Janitor(self, "janitor"))
        for actor in (*self.clients, *others):
            actor.start()

    # Clouds

    def _project(self, name: str, cloud: FakeCloud) -> Project:
        def has_record(upload: Upload) -> bool:
            return images.has_record(self, upload)

        chance, mishaps = self.chance(f"{name} beside"), self.scenario.mishaps[name]
        return Project(self.clock, chance, cloud, mishaps, has_record, self.report, self.count)

    def _adapter(self, plan: scenarios.CloudPlan) -> SimulatedAdapter:
        project = self.projects[plan.project]
        return SimulatedAdapter(
            plan.settings.name, project, self.scenario.costs, plan.poll_interval, floating=plan.floating
        )

    def remove_machine(self, project: str, external_id: str) -> None:
        """Somebody else removes a machine of ours."""
        with suppress(CloudError):
            self.clouds[project].delete(external_id)
            self.projects[project].deleted(external_id)

    # Launchers

    def make(self, name: str) -> SimulatedLauncher:
        """A launcher."""
        providers = self.scenario.launchers[name]
        adapters = {provider: adapter for provider, adapter in self.adapters.items() if provider in providers}
        around, setup = self.surroundings(name), self._setup(name, self.scenario)
        process = self.processes[name] = SimulatedLauncher(name, around, setup, adapters, self._scan, self._check)
        return process

    def configure(self, daemon: SimulatedDaemon) -> None:
        """Give a launcher the configuration of the site."""
        self.configure_as(daemon, self.scenario)

    def configure_as(self, daemon: SimulatedDaemon, scenario: scenarios.Scenario) -> None:
        """Give a launcher another configuration."""
        daemon.configure(self._setup(daemon.name, scenario))

    def _setup(self, name: str, scenario: scenarios.Scenario) -> Setup:
        return scenario.setup(name, self.starts[name], self.adapters)

    def _scan(self, request: ScanRequest) -> ScanResult:
        if self.scenario.violence and self.hits(0.05):
            return ScanResult(request.key, failure=ScanFailure.REFUSED, detail="simulated")
        return ScanResult(request.key, ("ssh-ed25519 AAAA",), address="192.0.2.1")

    def _check(self, request: CheckRequest) -> CheckResult:
        fails = self.scenario.violence and self.hits(self.scenario.check_fails)
        if not fails:
            self.passed.add(request.key[1])  # type: ignore[index]
        return CheckResult("simulated", "no network") if fails else CheckResult()

    def observe(self, name: str, instruction: Any) -> None:
        """A launcher is about to carry out an instruction: remember why it declines requests."""
        super().observe(name, instruction)
        if isinstance(instruction, Say) and instruction.message.startswith("Declining node request: "):
            launcher_id = instruction.logger.partition("[")[2].rstrip("]")
            reason = instruction.message.partition(": ")[2]
            self.declines[str(instruction.request_id), launcher_id] = reason
            self.count(f"declined: {reason.partition(' (')[0]}")
        if isinstance(instruction, Say) and instruction.message.endswith(DeleteReason.LOST.value):
            self._look_at_loss(name, str(instruction.node_id))

    def _look_at_loss(self, launcher: str, node_id: str) -> None:
        """A launcher says that a machine has died."""
        self.count("machines found dead")
        node = decoded(self.ensemble.read(paths.node(node_id)))
        careful = not self.scenario.rude and not self.scenario.jenkins
        if careful and node.get("state") == "ready" and node_id not in self.died and self.is_untouched(node):
            self.report(f"{launcher} takes the machine of node {node_id} for dead")

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
        if plan is None or self.scenario.rude or self.scenario.jenkins or node_id in self.died:
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

    def describe(self, transaction: Transaction) -> Iterator[str]:
        """What a transaction made of nodes and requests, for the log."""
        for write in (*transaction.nodes, *transaction.requests):
            after = decoded(write.after)
            told = {key: after.get(key) for key in ("state", "allocated_to", "nodes", "declined_by") if after.get(key)}
            yield f"{write.path} {told or 'gone'}"
