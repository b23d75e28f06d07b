"""Runs the providers of a configuration: starts, keeps and replaces them.

Used from one thread, at start and at each reload. A provider whose text did not change keeps running untouched; one
that changed gets a new connection, and the old one ends when its calls have ended. Drivers may be foreign code:
whatever they raise stays with their provider.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from nodepool.driver.contract import Provider, ProviderConfig

log = logging.getLogger("nodepool.ProviderManager")


@dataclass(frozen=True, slots=True)
class RunningProvider:
    """A provider that was started."""

    config: ProviderConfig
    provider: Provider


Running = TypeVar("Running", bound=RunningProvider)


class RunningProviders(ABC, Generic[Running]):
    """See the module's description."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        """Providers that did not start, with the reason."""
        self._running: dict[str, Running] = {}

    @abstractmethod
    def _start(self, name: str, config: ProviderConfig) -> Running:
        """Start a provider and use it from now on; may raise whatever a driver raises, and nothing has begun then."""

    @abstractmethod
    def _end(self, name: str, running: Running, successor: Running | None) -> None:
        """End a provider as soon as its calls under way have ended; what waits goes to ``successor``."""

    def _keep_or_start(self, name: str, config: ProviderConfig) -> Running | None:
        """The provider that runs with this configuration, None if it did not start."""
        present = self._running.get(name)
        if present is not None and present.config == config:
            return present
        try:
            started = self._start(name, config)
        except Exception as error:  # a driver's own code: one provider that fails must not stop the others
            log.exception("Provider %s did not start; it is tried again", name)
            self.failed[name] = f"{type(error).__name__}: {error}"
            return None
        self._running[name] = started
        if present is not None:
            log.info("Provider %s has changed: new work uses a new connection", name)
            self._end(name, present, started)
        return started


def quietly(name: str, order: Callable[[], None]) -> None:
    """Have a provider's driver do something with which it ends; what it raises is logged."""
    try:
        order()
    except Exception:  # a driver's own code: its provider ends anyway
        log.exception("Provider %s did not end as it should", name)
