"""The OpenStack driver as the registry knows it."""

from __future__ import annotations

from typing import Any

from nodepool.driver.adapter_provider import AdapterProvider
from nodepool.driver.contract import ConfigLabel, Driver, ProviderConfig
from nodepool.driver.errors import BadLabel
from nodepool.driver.openstack.adapter import OpenStackAdapter
from nodepool.driver.openstack.config import OpenStackLabel, OpenStackProviderConfig


class OpenStackDriver(Driver):
    """Servers on clouds of clouds.yaml."""

    def getProviderConfig(self, provider: dict[str, Any]) -> OpenStackProviderConfig:
        """The configuration object for one provider."""
        return OpenStackProviderConfig(self, provider)

    def getProvider(self, provider_config: ProviderConfig) -> OpenStackProvider:
        """The provider of a loaded configuration; it connects when the cloud is first needed."""
        assert isinstance(provider_config, OpenStackProviderConfig)
        return OpenStackProvider(provider_config)


class OpenStackProvider(AdapterProvider):
    """A provider; the launcher uses its ``adapter``, the builder its ``image_adapter``."""

    adapter: OpenStackAdapter

    def __init__(self, config: OpenStackProviderConfig) -> None:
        self._config = config
        self.adapter = OpenStackAdapter(config)
        self.image_adapter = self.adapter.images

    def labelReady(self, label: ConfigLabel) -> bool:
        """Whether the cloud has the flavor, image and networks of a label."""
        assert isinstance(label, OpenStackLabel)
        pools = [pool.name for pool in self._config.pools.values() if pool.labels.get(label.name) is label]
        try:
            for pool in pools:
                self.adapter.cost(pool, label.name)
        except BadLabel:
            return False
        return True
