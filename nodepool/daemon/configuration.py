"""The configuration that a daemon works with: takes over what changes in its files, while it runs.

Used from the main thread alone. What a configuration means is said by the providers of the daemon; the decision core is
told only when that has changed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from typing import Generic, Protocol, TypeVar

from nodepool.config.connection import hosts_of
from nodepool.config.files import ConfigurationFiles
from nodepool.config.restart import needs_restart
from nodepool.config.settings import Config
from nodepool.daemon.events import Configured

Setup = TypeVar("Setup")
SetupOut = TypeVar("SetupOut", covariant=True)

PROVIDER_RETRY_INTERVAL = 30.0
"""Seconds between two tries to start a provider that failed."""

log = logging.getLogger("nodepool.NodePool")


class Providers(Protocol[SetupOut]):
    """Whoever runs the providers of a daemon."""

    @property
    def failed(self) -> Collection[str]:
        """Names of those that did not start; the next :meth:`apply` tries again."""

    def apply(self, config: Config) -> SetupOut:
        """Start, replace and keep providers as a configuration wants it, and say what it means for the daemon."""

    def stop(self) -> None:
        """End all providers; calls under way are not waited for."""


class Servers(Protocol):
    """Whoever is connected to ZooKeeper: :class:`nodepool.zk.session.KazooStore`."""

    def set_hosts(self, hosts: str) -> None:
        """Use these servers from the next connection on."""


class LiveConfiguration(Generic[Setup]):
    """See the module's description. ``publish`` tells the decision core."""

    def __init__(
        self,
        files: ConfigurationFiles,
        config: Config,
        servers: Servers,
        providers: Providers[Setup],
        publish: Callable[[Configured[Setup]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._config = config
        self._servers = servers
        self._providers = providers
        self._publish = publish
        self._clock = clock
        self._setup: Setup | None = None
        self._next_retry = 0.0

    @property
    def source(self) -> str:
        """Path of the main file."""
        return self._files.main

    def use(self) -> None:
        """Start what the configuration wants, and tell the core what is new."""
        setup = self._providers.apply(self._config)
        if setup != self._setup:
            self._setup = setup
            self._publish(Configured(setup))
        self._next_retry = self._clock() + PROVIDER_RETRY_INTERVAL

    def look(self) -> None:
        """Take over files that have changed, and try again to start providers that failed, if it is time."""
        config = self._files.reload()
        if config is not None:
            self._take_over(config)
        elif self._providers.failed and self._clock() >= self._next_retry:
            self.use()

    def _take_over(self, config: Config) -> None:
        for key in needs_restart(self._config, config):
            log.warning("The change of %s takes effect after a restart", key)
        if hosts_of(config) != hosts_of(self._config):
            self._servers.set_hosts(hosts_of(config))
        self._config = config
        self.use()
        log.info("Configuration taken over from %s", self.source)
