"""The static driver as the registry knows it. Nobody launches anything: the work is in ``plan``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nodepool.driver.contract import Driver, NodeRequestHandler, Provider, ProviderConfig
from nodepool.driver.static.config import StaticProviderConfig
from nodepool.driver.static.plan import StaticStock


class StaticDriver(Driver):
    """Existing hosts."""

    def getProviderConfig(self, provider: dict[str, Any]) -> StaticProviderConfig:
        """The configuration object for one provider."""
        return StaticProviderConfig(self, provider)

    def getProvider(self, provider_config: ProviderConfig) -> StaticProvider:
        """The provider of a loaded configuration."""
        assert isinstance(provider_config, StaticProviderConfig)
        return StaticProvider(provider_config)


class StaticProvider(Provider):
    """Holds the stock. There is no cloud, hence nothing to list and nothing to clean up: nodes are records only."""

    stock: StaticStock

    def __init__(self, config: StaticProviderConfig) -> None:
        self.stock = StaticStock(config.name, config.hosts)

    def listNodes(self) -> Sequence[Any]:
        """Nothing: no host is made by us, so none can be left over."""
        return ()

    def cleanupNode(self, node_id: Any) -> None:
        """Nothing: hosts stay."""

    def getRequestHandler(self, poolworker: Any, request: Any) -> NodeRequestHandler:
        """Not used: a static node is never launched."""
        raise NotImplementedError("the static driver launches nothing")
