"""Parts from which the launcher's unit tests are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nodepool.driver.adapter import LabelSettings, PoolSettings, ProviderSettings
from nodepool.driver.errors import BadLabel
from nodepool.driver.static.config import StaticHost
from nodepool.driver.static.plan import StaticStock
from nodepool.launcher.setup import PoolSetup, ProviderSetup, Setup
from nodepool.model.component import POOL, Component
from nodepool.model.node import Node
from nodepool.model.request import NodeRequest
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState

NOW = 1_700_000_000.0
ONE = Resources(instances=1)


def cost(_pool: str, label: str) -> Resources:
    """One instance each; ``big`` needs 4 cores, and ``broken`` cannot be made."""
    if label == "broken":
        raise BadLabel("no flavor fits")
    return Resources(instances=1, cores=4) if label == "big" else ONE


def pool_settings(
    name: str = "main",
    labels: Sequence[str] = ("small", "big"),
    limits: Mapping[str, int | None] | None = None,
    **changes: Any,
) -> PoolSettings:
    """A pool."""
    settings = {label: LabelSettings(label, cloud_image="image") for label in labels}
    return PoolSettings(name, settings, Resources.limit(limits or {}), **changes)


def provider(*pools: PoolSettings, name: str = "cloud", **changes: Any) -> ProviderSetup:
    """A provider with a cloud; ``changes`` are of its settings."""
    return ProviderSetup(ProviderSettings(name, {pool.name: pool for pool in pools}, **changes), cost)


def static_provider(*hosts: StaticHost, name: str = "static") -> ProviderSetup:
    """A provider of registered hosts, all of them in the pool ``main``."""
    hosts = tuple(replace(host, pool="main") for host in hosts)
    labels = sorted({label for host in hosts for label in host.labels})
    settings = ProviderSettings(name, {"main": pool_settings(labels=labels)})
    return ProviderSetup(settings, lambda _pool, _label: ONE, StaticStock(name, hosts))


def registered(host: StaticHost, node_id: str, provider: str = "static") -> Node:
    """The ready node of a host of a :func:`static_provider`."""
    return Node(
        id=node_id,
        state=NodeState.READY,
        provider=provider,
        pool="main",
        type=host.labels,
        external_id=host.name,
        hostname=host.name,
        interface_ip=host.name,
        connection_type=host.connection_type,
        connection_port=host.port,
        username=host.username,
        python_path=host.python_path,
        shell_type=host.shell_type,
        attributes=host.attributes,
    )


def pools_of(*providers: ProviderSetup, launcher: str = "us") -> dict[str, PoolSetup]:
    """All pools of some providers by launcher id, which is ``launcher-provider-pool``."""
    found = {}
    for one in providers:
        for settings in one.settings.pools.values():
            launcher_id = f"{launcher}-{one.name}-{settings.name}"
            found[launcher_id] = PoolSetup(launcher_id, one, settings)
    return found


def setup(*providers: ProviderSetup, launcher: str = "us", **changes: Any) -> Setup:
    """A configuration."""
    return Setup(pools_of(*providers, launcher=launcher), {one.name: one for one in providers}, **changes)


def component(pool: PoolSetup, paused: bool = False) -> Component:
    """How a pool is registered."""
    return Component(
        kind=POOL,
        state="running",
        id=pool.launcher_id,
        name=pool.settings.name,
        provider_name=pool.provider.name,
        supported_labels=tuple(pool.settings.labels),
        priority=pool.settings.priority,
        paused=paused,
    )


def request(*labels: str, number: int = 1, **changes: Any) -> NodeRequest:
    """A request as Zuul makes it."""
    values: dict[str, Any] = {"state_time": NOW, "created_time": NOW, "requestor": "zuul", **changes}
    return NodeRequest(id=f"200-{number:010d}", node_types=labels or ("small",), **values)


def node(number: int = 1, state: NodeState = NodeState.READY, **changes: Any) -> Node:
    """A node of the pool ``main`` of the provider ``cloud``."""
    values: dict[str, Any] = {
        "state_time": NOW,
        "provider": "cloud",
        "pool": "main",
        "type": ("small",),
        "launcher": "us-cloud-main",
        **changes,
    }
    return Node(id=f"{number:010d}", state=state, **values)
