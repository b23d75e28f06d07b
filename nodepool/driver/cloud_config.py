"""The configuration of a provider that makes machines from images, as far as all drivers that do share it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Generic, TypeVar

from nodepool.driver import launch_settings
from nodepool.driver.adapter import PoolSettings, ProviderSettings
from nodepool.driver.contract import ConfigPool, Driver, ProviderConfig
from nodepool.driver.image_adapter import ImageSettings


class CloudPool(ConfigPool):
    """A pool that knows what the launcher has to know of it; :meth:`load` fills ``settings``."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = PoolSettings("", {})


Pool = TypeVar("Pool", bound=CloudPool)


class CloudProviderConfig(ProviderConfig, Generic[Pool]):
    """Base of such configurations."""

    def __init__(self, driver: Driver, provider: dict[str, Any]) -> None:
        super().__init__(driver, provider)
        self._pools: dict[str, Pool] = {}

    @abstractmethod
    def new_pool(self) -> Pool:
        """A pool that is not loaded yet."""

    @property
    def pools(self) -> dict[str, Pool]:
        """Pools by name."""
        return self._pools

    @property
    def manage_images(self) -> bool:
        """Whether the provider has a list of images, be it empty: then all that it had go (spec builder 5)."""
        return "diskimages" in self.provider

    def load(self, config: Any) -> None:
        """Read the pools."""
        self._pools = {}
        for entry in self.provider.get("pools", ()):
            pool = self.new_pool()
            pool.load(entry, config, self)
            self._pools[pool.name] = pool

    def image_settings(self) -> ImageSettings:
        """What the builder has to know."""
        return launch_settings.image_settings(self.provider)

    def settings(self) -> ProviderSettings:
        """What the launcher has to know."""
        pools = {name: pool.settings for name, pool in self._pools.items()}
        return launch_settings.provider_settings(self, pools)

    def __eq__(self, other: object) -> bool:
        """Equal text is not enough: how to log in to a disk image is said outside of the provider."""
        return super().__eq__(other) and isinstance(other, CloudProviderConfig) and self._pools == other._pools

    __hash__ = None
