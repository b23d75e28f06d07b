"""Pools, capacities and passes of admission for the tests of the decisions: real values, no launcher around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from nodepool.driver.adapter import LabelSettings, PoolSettings, ProviderSettings
from nodepool.driver.errors import BadLabel
from nodepool.driver.static.config import StaticHost
from nodepool.launcher.admit import Admission, Decision
from nodepool.launcher.capacity import PoolCapacity, ProviderCapacity, Room
from nodepool.launcher.setup import LabelRule, PoolSetup, ProviderSetup
from nodepool.model.component import Component
from nodepool.model.node import Node
from nodepool.model.reasons import DeclineReason
from nodepool.model.request import NodeRequest
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState
from tests.unit.launcher.parts import NOW, component, registered, static_provider

UNLIMITED = Resources.limit({})
COSTS = {"a": Resources(instances=1, cores=2), "b": Resources(instances=1, cores=2)}
COSTS |= {"big": Resources(instances=1, cores=8)}


def cost(_pool: str, label: str) -> Resources:
    """Two cores for ``a`` and ``b``, eight for ``big``; anything else is a bad label."""
    if label not in COSTS:
        raise BadLabel(f"no flavor for {label}")
    return COSTS[label]


def pool_of(
    launcher_id: str = "ours",
    provider: str = "p",
    name: str = "main",
    labels: Sequence[str] = tuple(COSTS),
    **fields: Any,
) -> PoolSetup:
    """A pool of a cloud; ``fields`` are those of PoolSettings."""
    settings = PoolSettings(name, {label: LabelSettings(label) for label in labels}, **fields)
    return PoolSetup(launcher_id, ProviderSetup(ProviderSettings(provider, {name: settings}), cost), settings)


def static_pool(hosts: Mapping[str, tuple[str, ...]], slots: int = 1, checked: bool = False) -> PoolSetup:
    """A pool of registered hosts with these labels."""
    provider = static_provider(
        *(StaticHost(host, hosts[host], slots=slots, checked=checked) for host in hosts), name="p"
    )
    return PoolSetup("ours", provider, provider.settings.pools["main"])


def free_node(node_id: str, *labels: str, **fields: Any) -> Node:
    """A ready node that nobody has."""
    values: dict[str, Any] = {"state": NodeState.READY, "provider": "p", "pool": "main", "type": labels or ("a",)}
    return Node(id=node_id, **(values | fields))


def host_node(number: str, *labels: str) -> Node:
    """The ready node of the host ``hNUMBER`` of a :func:`static_pool`."""
    return registered(StaticHost(f"h{number}", labels or ("a",)), number, "p")


def request_for(*labels: str, number: int = 1, **fields: Any) -> NodeRequest:
    """A request made a moment before :data:`NOW`."""
    values: dict[str, Any] = {"id": f"100-{number:010}", "node_types": labels, "created_time": NOW - 1}
    return NodeRequest(**(values | fields))


def capacity_of(
    pool: PoolSetup,
    free: Sequence[Node] = (),
    left: Resources | None = None,
    quota: Resources | None = None,
    launch_slots: float = inf,
    provider: ProviderCapacity | None = None,
    taken: set[str] | None = None,
) -> PoolCapacity:
    """A pool with these free nodes and this much room; more may come free, as much as anybody wants."""
    pool_room, quota_room = (Room(UNLIMITED if one is None else one, UNLIMITED) for one in (left, quota))
    return PoolCapacity(
        pool=pool,
        free=lambda label: [node for node in free if label in node.type],
        room=pool_room,
        provider=provider or ProviderCapacity(quota_room, launch_slots),
        taken=taken if taken is not None else set(),
    )


def component_of(pool: PoolSetup, **fields: Any) -> Component:
    """How other launchers see a pool."""
    return component(pool).replace(**fields)


@dataclass
class Scene:
    """Our pools in order of priority, the pools of others, and what else a pass looks at."""

    ours: Sequence[PoolCapacity]
    others: Sequence[Component] = ()
    labels: Mapping[str, LabelRule] = field(default_factory=dict)
    problems: Mapping[str, DeclineReason] = field(default_factory=dict)
    """By label: why it cannot be used."""
    limits: Resources | None = None
    """All that a pool could ever use."""
    tenants: Mapping[str, Resources] = field(default_factory=dict)
    """What the limits of tenants leave."""
    paused: frozenset[str] = frozenset()
    """Those of our pools that are published as paused."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the pass."""

    def admission(self) -> Admission:
        """A pass that can be run once."""
        own = [component_of(one.pool, paused=one.pool.launcher_id in self.paused) for one in self.ours]
        registered = [*own, *self.others]
        fields: dict[str, Any] = {
            "now": NOW,
            "capacities": {one.pool.launcher_id: one for one in self.ours},
            "registered": registered,
            "known": {one.id for one in registered},
            "labels": self.labels,
            "label_problem": lambda _pool, label: self.problems.get(label),
            "limits_of": lambda pool: self.limits or pool.settings.limits,
            "tenant_room": lambda tenant: self.tenants.get(tenant, UNLIMITED),
        }
        return Admission(**(fields | dict(self.extra)))

    def decide(self, *requests: NodeRequest) -> list[Decision]:
        """One pass over these requests."""
        return self.admission().run(requests)
