"""What a simulated site looks like: drawn from the seed, then fixed for the run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nodepool.driver.adapter import KeepFailed, LabelSettings, PoolSettings, ProviderSettings, ReadyCheck
from nodepool.driver.fake.cloud import FakeCloudSettings
from nodepool.driver.fake.faults import FAULT_NAMES, FaultRates
from nodepool.driver.static.config import StaticHost
from nodepool.driver.static.plan import StaticStock
from nodepool.launcher.setup import LabelRule, PoolSetup, ProviderSetup, Setup
from nodepool.model.resources import Resources
from tests.simulation.launchers.clouds import SimulatedAdapter
from tests.simulation.launchers.project import Mishaps

IMAGE = "image"
"""The disk image of the label ``d``."""
CLOUD_LABELS = ("a", "b", "c", "d")
STATIC_LABELS = ("s", "t", "a")
ONE = Resources(instances=1)
CHECK = ReadyCheck(("true",))
ZONES = ("z1", "z2")
UNKNOWN_LABEL = "nobody-has-it"


@dataclass(frozen=True, slots=True)
class CloudPlan:
    """A provider with a cloud. ``project`` tells which cloud it is; several may share one."""

    settings: ProviderSettings
    project: str
    poll_interval: float
    floating: bool = False
    """Whether its servers need floating addresses."""
    own_addresses: bool = False
    """Whether an address that is seen twice is a mistake of the cloud."""


@dataclass(frozen=True, slots=True)
class StaticPlan:
    """A provider of registered hosts."""

    settings: ProviderSettings
    hosts: tuple[StaticHost, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """See the module's description. Times are in seconds of virtual time."""

    labels: dict[str, LabelRule]
    costs: dict[str, Resources]
    projects: dict[str, FakeCloudSettings]
    mishaps: dict[str, Mishaps]
    """By project."""
    clouds: tuple[CloudPlan, ...]
    statics: tuple[StaticPlan, ...]
    launchers: dict[str, tuple[str, ...]]
    """Name of a launcher to its providers."""
    tenant_limits: dict[str, Resources]
    max_hold_age: int
    trouble: float
    """Length of the time in which everything may fail."""
    violence: float
    """Mean faults per launcher and minute, 0 for a quiet run."""
    crash_rate: float
    """Probability that a launcher dies at one of its effects."""
    check_fails: float
    """Probability that a machine does not pass its check."""
    rude: bool
    """Whether somebody writes without locks."""
    messy: bool
    """Whether somebody leaves broken records."""
    crowded: bool
    """Whether others make servers in the same clouds."""
    operated: bool
    """Whether an operator holds and deletes nodes."""
    mortal: bool
    """Whether machines die that wait to be used."""
    maintained: bool
    """Whether providers and launchers are drained for some time."""
    jenkins: bool
    requests: int

    @property
    def all_labels(self) -> tuple[str, ...]:
        """What clients may ask for."""
        return tuple(self.labels)

    @property
    def pools(self) -> tuple[PoolSettings, ...]:
        """All pools of all providers."""
        return tuple(pool for plan in self.providers for pool in plan.settings.pools.values())

    @property
    def providers(self) -> tuple[CloudPlan | StaticPlan, ...]:
        """All providers."""
        return (*self.clouds, *self.statics)

    def most_held(self, provider: str, label: str) -> int:
        """How many failed machines of a label may be held."""
        pools = [
            pool for plan in self.clouds if plan.settings.name == provider for pool in plan.settings.pools.values()
        ]
        keeps = [pool.labels[label].keep_failed for pool in pools if label in pool.labels]
        return max((keep.count for keep in keeps if keep is not None), default=0)

    def altered(self, chance: random.Random) -> Scenario:
        """The same site with another configuration: less of everything, so that limits still hold."""
        clouds = tuple(replace(plan, settings=_altered_provider(plan.settings, chance)) for plan in self.clouds)
        statics = tuple(replace(plan, hosts=plan.hosts[: chance.randint(1, len(plan.hosts))]) for plan in self.statics)
        labels = {
            name: replace(rule, min_ready=chance.choice((rule.min_ready, 0))) for name, rule in self.labels.items()
        }
        return replace(self, clouds=clouds, statics=statics, labels=labels)

    def setup(self, launcher: str, incarnation: int, adapters: dict[str, SimulatedAdapter]) -> Setup:
        """What a launcher process works with; its pools get ids of their own at each start."""
        providers: dict[str, ProviderSetup] = {}
        for plan in self.providers:
            if plan.settings.name in self.launchers[launcher]:
                providers[plan.settings.name] = _provider_setup(plan, adapters)
        pools = {}
        for provider in providers.values():
            for pool in provider.settings.pools.values():
                launcher_id = f"{launcher}-{incarnation}-PoolWorker.{provider.name}-{pool.name}"
                pools[launcher_id] = PoolSetup(launcher_id, provider, pool)
        return Setup(pools, providers, self.labels, self.max_hold_age, self.tenant_limits)


def _altered_provider(settings: ProviderSettings, chance: random.Random) -> ProviderSettings:
    return replace(settings, pools={name: _altered_pool(pool, chance) for name, pool in settings.pools.items()})


def _altered_pool(pool: PoolSettings, chance: random.Random) -> PoolSettings:
    labels = {name: label for name, label in pool.labels.items() if chance.random() < 0.8}
    limits = Resources.limit({name: chance.randint(0, int(pool.limits[name])) for name in pool.limits.names()})
    return replace(pool, labels=labels, limits=limits)


def _provider_setup(plan: CloudPlan | StaticPlan, adapters: dict[str, SimulatedAdapter]) -> ProviderSetup:
    if isinstance(plan, StaticPlan):
        stock = StaticStock(plan.settings.name, plan.hosts)
        return ProviderSetup(plan.settings, lambda _pool, _label: ONE, stock)
    adapter = adapters[plan.settings.name]
    return ProviderSetup(
        plan.settings,
        adapter.cost,
        poll_interval=adapter.poll_interval,
        list_lag=adapter.list_lag,
        doubt=adapter.list_lag,
        zones=adapter.zones,
        is_finished=adapter.is_finished,
        has_leftovers=True,
        own_addresses=plan.own_addresses,
    )


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = random.Random(f"scenario {seed}")
    violence = chance.choice((0.0, 1.0, 3.0, 8.0))
    projects, clouds = _draw_clouds(chance, troubled=violence > 0)
    clouds = _draw_machines(random.Random(f"machines {seed}"), clouds)
    mishaps = {name: _draw_mishaps(random.Random(f"{name} {seed}"), violence > 0) for name in projects}
    statics = tuple(_draw_static(chance, number) for number in range(chance.choice((0, 0, 0, 1, 2))))
    names = [plan.settings.name for plan in clouds] + [plan.settings.name for plan in statics]
    labels = {name: _draw_rule(chance) for name in dict.fromkeys((*CLOUD_LABELS, *STATIC_LABELS))}
    return Scenario(
        labels=labels,
        costs={name: Resources(instances=1, cores=chance.choice((1, 2, 4)), ram=1024) for name in CLOUD_LABELS},
        projects=projects,
        mishaps=mishaps,
        clouds=clouds,
        statics=statics,
        launchers=_draw_launchers(chance, names),
        tenant_limits={"limited": Resources.limit({"instances": chance.choice((None, 4, 6))})},
        max_hold_age=chance.choice((0, 30, 120)),
        trouble=chance.uniform(60, 200),
        violence=violence,
        crash_rate=chance.choice((0.0, 0.002, 0.01)) if violence else 0.0,
        check_fails=random.Random(f"checks {seed}").choice((0.1, 0.4, 0.8)),
        rude=chance.random() < 0.35,
        messy=chance.random() < 0.2,
        crowded=chance.random() < 0.2,
        operated=chance.random() < 0.35,
        mortal=random.Random(f"deaths {seed}").random() < 0.3,
        maintained=random.Random(f"drains {seed}").random() < 0.3,
        jenkins=chance.random() < 0.35,
        requests=chance.randint(4, 35),
    )


def _draw_rule(chance: random.Random) -> LabelRule:
    least = chance.choice((-1, 0, 0, 0, 0, 0, 1, 1, 2, 3))
    return LabelRule(least, chance.choice((0, 0, 0, 45, 120)))


def _draw_clouds(chance: random.Random, troubled: bool) -> tuple[dict[str, FakeCloudSettings], tuple[CloudPlan, ...]]:
    projects: dict[str, FakeCloudSettings] = {}
    plans = []
    careless = chance.random() < 0.1
    for number in range(chance.randint(1, 3)):
        project = f"project{number}"
        if projects and chance.random() < 0.15:
            project = "project0"
        else:
            projects[project] = _draw_project(chance, troubled, careless)
        settings = ProviderSettings(
            name=f"cloud{number}",
            pools={name: _draw_pool(chance, name, careless) for name in ("main", "other")[: chance.choice((1, 1, 2))]},
            max_concurrency=chance.choice((None, None, 1, 2, 4)),
            launch_retries=chance.randint(1, 3),
            launch_timeout=chance.uniform(40, 100),
            boot_timeout=20.0,
        )
        plans.append(CloudPlan(settings, project, chance.choice((0.5, 1.0, 3.0))))
    return projects, tuple(plans)


def _draw_project(chance: random.Random, troubled: bool, ample: bool) -> FakeCloudSettings:
    faults = FaultRates()
    if troubled and chance.random() < 0.8:
        rates = {name: chance.choice((0.0, 0.0, 0.02, 0.1, 0.25)) for name in FAULT_NAMES}
        faults = FaultRates(**rates, late_appearance=chance.choice((3.0, 30.0)))
    quota = {"instances": chance.randint(2, 14), "cores": chance.choice((8, 20, 100))}
    if ample:
        quota = {"instances": 100, "cores": 400}
    return FakeCloudSettings(
        quota=Resources.limit(quota),
        boot_time=chance.choice((0.0, 0.5, 3.0, 15.0)),
        delete_time=chance.choice((0.0, 0.5, 4.0)),
        list_lag=chance.choice((0.0, 0.0, 0.0, 1.0, 4.0)),
        faults=faults,
    )


def _draw_machines(chance: random.Random, plans: Sequence[CloudPlan]) -> tuple[CloudPlan, ...]:
    """What machines need before use, and what becomes of those that fail."""
    checks = {label: CHECK if chance.random() < 0.7 else None for label in CLOUD_LABELS}
    keeps = {label: _draw_keep(chance) if chance.random() < 0.9 else None for label in CLOUD_LABELS}

    def made(pool: PoolSettings) -> PoolSettings:
        labels = {
            name: replace(label, ready_check=checks[name], keep_failed=keeps[name])
            for name, label in pool.labels.items()
        }
        return replace(pool, labels=labels)

    return tuple(
        replace(
            plan,
            settings=replace(plan.settings, pools={name: made(pool) for name, pool in plan.settings.pools.items()}),
            floating=chance.random() < 0.5,
            own_addresses=chance.random() < 0.5,
        )
        for plan in plans
    )


def _draw_keep(chance: random.Random) -> KeepFailed:
    return KeepFailed(chance.choice((1, 1, 1, 3)), chance.choice((20.0, 120.0, 600.0, 600.0)))


def _draw_mishaps(chance: random.Random, troubled: bool) -> Mishaps:
    longest_attachment = chance.choice((0.0, 10.0, 30.0))
    if not troubled:
        return Mishaps(longest_attachment=longest_attachment)
    return Mishaps(
        not_given=chance.choice((0.0, 0.1, 0.4)),
        no_quota=chance.choice((0.0, 0.0, 0.05)),
        half_given=chance.choice((0.0, 0.1, 0.2)),
        left=chance.choice((0.0, 0.1, 0.3)),
        shared=chance.choice((0.0, 0.05, 0.2)),
        longest_attachment=longest_attachment,
    )


def _draw_pool(chance: random.Random, name: str, careless: bool) -> PoolSettings:
    labels = [label for label in CLOUD_LABELS if chance.random() < 0.7] or ["a"]
    limits = {"instances": chance.choice((None, 1, 2, 3, 5, 8)), "cores": chance.choice((None, None, 4, 12))}
    return PoolSettings(
        name=name,
        labels={label: LabelSettings(label, diskimage=IMAGE if label == "d" else None) for label in labels},
        limits=Resources.limit(limits),
        priority=chance.choice((50, 100, 100, 100)),
        node_attributes=chance.choice((None, {"executor-zone": "eu"})),
        ignore_provider_quota=careless,
        availability_zones=chance.choice(((), ZONES)),
    )


def _draw_static(chance: random.Random, number: int) -> StaticPlan:
    hosts = []
    for index in range(chance.randint(1, 3)):
        labels = tuple(label for label in STATIC_LABELS if chance.random() < 0.6) or ("s",)
        slots, checked = chance.choice((1, 1, 2, 3)), chance.random() < 0.7
        hosts.append(StaticHost(f"host{number}{index}", labels, pool="main", slots=slots, checked=checked))
    names = {label for host in hosts for label in host.labels}
    pool = PoolSettings("main", {label: LabelSettings(label) for label in sorted(names)})
    return StaticPlan(ProviderSettings(f"static{number}", {"main": pool}), tuple(hosts))


def _draw_launchers(chance: random.Random, providers: list[str]) -> dict[str, tuple[str, ...]]:
    count = chance.randint(1, 3)
    if chance.random() < 0.5:
        return {f"launcher{number}": tuple(providers) for number in range(count)}
    found = {
        f"launcher{number}": tuple(name for name in providers if chance.random() < 0.6) or (chance.choice(providers),)
        for number in range(count)
    }
    missing = tuple(name for name in providers if all(name not in own for own in found.values()))
    found["launcher0"] = (*found["launcher0"], *missing)
    return found


def repaired(settings: FakeCloudSettings) -> FakeCloudSettings:
    """A cloud without faults."""
    return replace(settings, faults=FaultRates())
