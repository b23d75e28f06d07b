"""Runs the providers of a configuration and tells the decision core what it may use.

A provider that went keeps its connection, so that the nodes it still has can be removed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from nodepool.config.settings import Config
from nodepool.daemon.providers import RunningProvider, RunningProviders, quietly
from nodepool.driver.adapter import CloudAdapter
from nodepool.driver.bridge import launcher_adapter
from nodepool.driver.contract import ProviderConfig
from nodepool.launcher.cloud_link import CloudLink
from nodepool.launcher.events import Event
from nodepool.launcher.setup import LabelRule, PoolSetup, ProviderSetup, Setup
from nodepool.model.resources import Resources
from nodepool.telemetry.facts import Fact, nowhere


@dataclass(frozen=True, slots=True)
class _Running(RunningProvider):
    link: CloudLink | None
    setup: ProviderSetup


class Providers(RunningProviders[_Running]):
    """See the module's description. ``links`` are the connections by provider name, for the executor."""

    def __init__(
        self, hostname: str, publish: Callable[[Event], None], measure: Callable[[Fact], None] = nowhere
    ) -> None:
        super().__init__()
        self._hostname = hostname
        self._publish = publish
        self._measure = measure
        self._launcher_ids: dict[tuple[str, str], str] = {}
        self.links: dict[str, CloudLink] = {}

    def apply(self, config: Config) -> Setup:
        """Start, replace and keep providers as a configuration wants it."""
        self.failed = {}
        active: dict[str, _Running] = {}
        for name, wanted in config.providers.items():
            running = self._keep_or_start(name, wanted)
            if running is not None:
                active[name] = running
        pools = {}
        for running in active.values():
            for pool in running.setup.settings.pools.values():
                launcher_id = self._launcher_id(running.setup.name, pool.name)
                pools[launcher_id] = PoolSetup(launcher_id, running.setup, pool)
        return Setup(
            pools=pools,
            providers={name: running.setup for name, running in self._running.items()},
            labels={name: LabelRule(label.min_ready, label.max_ready_age) for name, label in config.labels.items()},
            max_hold_age=config.max_hold_age,
            tenant_limits={tenant: Resources.limit(limits) for tenant, limits in config.tenant_limits.items()},
        )

    def stop(self) -> None:
        """End all providers; calls under way are not waited for."""
        for name, running in self._running.items():
            self._end(name, running, None)

    def _start(self, name: str, config: ProviderConfig) -> _Running:
        provider = config.driver.getProvider(config)
        provider.start(None)
        settings = config.settings()
        if provider.stock is not None:
            self.links.pop(name, None)
            return _Running(config, provider, None, ProviderSetup(settings, _one_instance, provider.stock))
        adapter = launcher_adapter(provider, config)
        setup = ProviderSetup(
            settings,
            adapter.cost,
            poll_interval=adapter.poll_interval,
            list_lag=adapter.list_lag,
            doubt=max(adapter.doubt, adapter.list_lag),
            zones=adapter.zones,
            is_finished=adapter.is_finished,
            own_addresses=adapter.own_addresses,
            lists_everything=adapter.lists_everything,
            has_leftovers=type(adapter).leftovers is not CloudAdapter.leftovers,
        )
        link = CloudLink(name, adapter, self._publish, measure=self._measure)
        link.start()
        self.links[name] = link
        return _Running(config, provider, link, setup)

    def _end(self, name: str, running: _Running, successor: _Running | None) -> None:
        quietly(name, running.provider.idle)
        if running.link is None:
            quietly(name, running.provider.stop)
        elif successor is None or successor.link is None:
            running.link.stop(running.provider.stop)
        else:
            running.link.hand_over(successor.link, running.provider.stop)

    def _launcher_id(self, provider: str, pool: str) -> str:
        """New for every start of the process; kept over reloads (spec zookeeper 4.6.1)."""
        key = (provider, pool)
        if key not in self._launcher_ids:
            self._launcher_ids[key] = f"{self._hostname}-PoolWorker.{provider}-{pool}-{uuid.uuid4().hex}"
        return self._launcher_ids[key]


def _one_instance(_pool: str, _label: str) -> Resources:
    """A registered host counts as one instance for its pool's limits (spec drivers 3)."""
    return Resources(instances=1)
