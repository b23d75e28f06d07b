"""The local driver as the registry knows it."""

from __future__ import annotations

import threading
from typing import Any

from nodepool.driver.adapter_provider import AdapterProvider
from nodepool.driver.contract import Driver, ProviderConfig
from nodepool.driver.local.adapter import LocalAdapter
from nodepool.driver.local.config import HostSettings, LocalProviderConfig
from nodepool.driver.local.container import ContainerKind
from nodepool.driver.local.images import LocalImages
from nodepool.driver.local.machine import MachineKind
from nodepool.driver.local.qemu.kind import QemuKind
from nodepool.driver.local.starts import Starts
from nodepool.driver.local.state_directory import StateDirectory


class LocalDriver(Driver):
    """Machines on this host. What waits to be started goes on waiting when a reload replaces its provider."""

    def __init__(self) -> None:
        self._starts: dict[tuple[object, ...], tuple[MachineKind, Starts]] = {}
        self._lock = threading.Lock()

    def getProviderConfig(self, provider: dict[str, Any]) -> LocalProviderConfig:
        """The configuration object for one provider."""
        return LocalProviderConfig(self, provider)

    def getProvider(self, provider_config: ProviderConfig) -> LocalProvider:
        """The provider of a loaded configuration."""
        assert isinstance(provider_config, LocalProviderConfig)
        settings = provider_config.host
        state = StateDirectory(settings.state_directory)
        key = (settings.state_directory, settings.kind, settings.templates, settings.network_access)
        with self._lock:
            if key not in self._starts:
                made = machine_kind(settings)
                self._starts[key] = made, Starts(state, made)
            kind, starts = self._starts[key]
        starts.most = settings.parallel_starts
        return LocalProvider(LocalAdapter(provider_config, state, kind, starts))


class LocalProvider(AdapterProvider):
    """A provider; the launcher uses its ``adapter``, the builder its ``image_adapter``."""

    adapter: LocalAdapter
    image_adapter: LocalImages

    def __init__(self, adapter: LocalAdapter) -> None:
        self.adapter = adapter
        self.image_adapter = adapter.images


def machine_kind(settings: HostSettings) -> MachineKind:
    """The kind that a provider's settings name."""
    if settings.kind == ContainerKind.name:
        return ContainerKind(settings.state_directory)
    return QemuKind(settings.state_directory, settings.templates, settings.network_access)
