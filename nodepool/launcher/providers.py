"""Runs the providers of a configuration and tells the decision core what it may use.

Called from one thread, at start and at each reload. A provider whose text did not change keeps running untouched; one
that changed gets a new connection, and the old one ends when its calls have ended; one that went keeps its connection,
so that the nodes it still has can be removed. Drivers may be foreign code: whatever they raise stays with their
provider.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from nodepool.config.settings import Config
from nodepool.driver.adapter import CloudAdapter
from nodepool.driver.bridge import launcher_adapter
from nodepool.driver.contract import Provider, ProviderConfig
from nodepool.launcher.cloud_link import CloudLink
from nodepool.launcher.events import Event
from nodepool.launcher.setup import LabelRule, PoolSetup, ProviderSetup, Setup
from nodepool.model.resources import Resources

log = logging.getLogger("nodepool.ProviderManager")


@dataclass(frozen=True, slots=True)
class _Running:
    config: ProviderConfig
    provider: Provider
    link: CloudLink | None
    setup: ProviderSetup


class Providers:
    """See the module's description. ``links`` are the connections by provider name, for the executor."""

    def __init__(self, hostname: str, publish: Callable[[Event], None]) -> None:
        self._hostname = hostname
        self._publish = publish
        self._running: dict[str, _Running] = {}
        self._launcher_ids: dict[tuple[str, str], str] = {}
        self.links: dict[str, CloudLink] = {}
        self.failed: dict[str, str] = {}
        """Providers that did not start, with the reason; the next :meth:`apply` tries again."""

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
            _end(name, running, None)

    def _keep_or_start(self, name: str, wanted: ProviderConfig) -> _Running | None:
        present = self._running.get(name)
        if present is not None and present.config == wanted:
            return present
        try:
            started = self._start(name, wanted)
        except Exception as error:  # a driver's own code: one provider that fails must not stop the others
            log.exception("Provider %s did not start; it is tried again", name)
            self.failed[name] = f"{type(error).__name__}: {error}"
            return None
        self._running[name] = started
        if started.link is not None:
            self.links[name] = started.link
        else:
            self.links.pop(name, None)
        if present is not None:
            log.info("Provider %s has changed: new work uses a new connection", name)
            _end(name, present, started.link)
        return started

    def _start(self, name: str, config: ProviderConfig) -> _Running:
        provider = config.driver.getProvider(config)
        provider.start(None)
        settings = config.settings()
        if provider.stock is not None:
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
            has_leftovers=type(adapter).leftovers is not CloudAdapter.leftovers,
        )
        link = CloudLink(name, adapter, self._publish)
        link.start()
        return _Running(config, provider, link, setup)

    def _launcher_id(self, provider: str, pool: str) -> str:
        """New for every start of the process; kept over reloads (spec zookeeper 4.6.1)."""
        key = (provider, pool)
        if key not in self._launcher_ids:
            self._launcher_ids[key] = f"{self._hostname}-PoolWorker.{provider}-{pool}-{uuid.uuid4().hex}"
        return self._launcher_ids[key]


def _one_instance(_pool: str, _label: str) -> Resources:
    """A registered host counts as one instance for its pool's limits (spec drivers 3)."""
    return Resources(instances=1)


def _end(name: str, running: _Running, successor: CloudLink | None) -> None:
    """End a provider as soon as its calls under way have ended; what waits goes to ``successor``, if there is one."""
    _quietly(name, running.provider.idle)
    if running.link is None:
        _quietly(name, running.provider.stop)
    elif successor is None:
        running.link.stop(running.provider.stop)
    else:
        running.link.hand_over(successor, running.provider.stop)


def _quietly(name: str, order: Callable[[], None]) -> None:
    try:
        order()
    except Exception:  # a driver's own code: its provider ends anyway
        log.exception("Provider %s did not end as it should", name)
