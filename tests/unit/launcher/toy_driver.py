"""A driver that does nothing but note what happens to it, and fail where it is told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nodepool.config.settings import Config
from nodepool.driver.contract import ConfigLabel, ConfigPool, Driver, NodeRequestHandler, Provider, ProviderConfig
from nodepool.driver.static.plan import StaticStock

NO_STOCK = StaticStock("s", ())


class ToyConfig(ProviderConfig):
    """Has one pool per name in ``pools``, each with one label; with ``stock`` its provider launches nothing."""

    pools: Mapping[str, ConfigPool] = {}

    def getSchema(self) -> Any:
        return {}

    def load(self, config: Any) -> None:
        del config
        found = {}
        for name in self.provider.get("pools", ["main"]):
            pool = ConfigPool()
            pool.name, pool.labels = name, {"a": ConfigLabel("a")}
            found[name] = pool
        self.pools = found


class ToyProvider(Provider):
    """Notes what happens to it."""

    def __init__(self, config: ProviderConfig, driver: ToyDriver) -> None:
        self.config = config
        self.driver = driver
        if config.provider.get("stock"):
            self.stock = NO_STOCK

    def _note(self, what: str) -> None:
        self.driver.notes.append(f"{self.config.name} {self.config.provider.get('mark', '')} {what}")
        if what in self.driver.fails:
            raise ZeroDivisionError(f"{what} fails")

    def start(self, zk_conn: Any) -> None:
        del zk_conn
        self._note("start")

    def idle(self) -> None:
        self._note("idle")

    def stop(self) -> None:
        self._note("stop")

    def listNodes(self) -> Sequence[Any]:
        return ()

    def cleanupNode(self, node_id: Any) -> None:
        raise NotImplementedError

    def getRequestHandler(self, poolworker: Any, request: Any) -> NodeRequestHandler:
        raise NotImplementedError


class ToyDriver(Driver):
    """Keeps the notes of all its providers; ``fails`` are names of methods that raise."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.fails: set[str] = set()

    def getProviderConfig(self, provider: dict[str, Any]) -> ToyConfig:
        return ToyConfig(self, provider)

    def getProvider(self, provider_config: ProviderConfig) -> ToyProvider:
        return ToyProvider(provider_config, self)

    def config(self, *providers: dict[str, Any], **settings: Any) -> Config:
        """A configuration with these providers."""
        loaded = {entry["name"]: self.getProviderConfig(entry) for entry in providers}
        for one in loaded.values():
            one.load(None)
        return Config(providers=loaded, **settings)
