"""A tiny driver with pools, labels and images, to test the configuration with a schema that is not ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import voluptuous as v

from nodepool.driver.contract import ConfigLabel, ConfigPool, Driver, Provider, ProviderConfig, ReferenceProblem
from nodepool.driver.registry import UnknownDriver


class ToyPool(ConfigPool):
    def load(self, pool_config: dict[str, Any], full_config: Any, provider: ProviderConfig | None = None) -> None:
        super().load(pool_config, full_config, provider)
        self.labels = {entry["name"]: ConfigLabel(entry["name"]) for entry in pool_config.get("labels", [])}


class ToyConfig(ProviderConfig):
    """Written as drivers outside this package are: with the stock validators of voluptuous."""

    @property
    def pools(self) -> dict[str, ToyPool]:
        return self._pools

    @property
    def manage_images(self) -> bool:
        return True

    def getSchema(self) -> v.Schema:
        label = {
            v.Required("name"): str,
            v.Exclusive("diskimage", "image"): str,
            v.Exclusive("cloud-image", "image"): str,
        }
        pool = {v.Required("name"): str, "labels": [label], "max-servers": int, "networks": [str], "eager": bool}
        image = {v.Required("name"): str, "meta": dict}
        own = {"cloud": str, "rate": float, "kind": v.Any("big", "small"), "size": v.All(int, v.Range(min=1))}
        return v.Schema({**self.getCommonSchemaDict(), **own, "pools": [pool], "diskimages": [image]})

    def load(self, config: Any) -> None:
        if self.provider.get("cloud") == "broken":
            raise KeyError("broken")
        self._pools = {}
        for entry in self.provider.get("pools", []):
            pool = ToyPool()
            pool.load(entry, config, self)
            self._pools[pool.name] = pool

    def checkReferences(self, config: Any) -> Iterator[ReferenceProblem]:
        yield from super().checkReferences(config)
        for index, image in enumerate(self.provider.get("diskimages", [])):
            if image["name"] not in config.diskimages:
                yield ReferenceProblem(("diskimages", index, "name"), f"there is no diskimage '{image['name']}'")


class ToyDriver(Driver):
    name = "toy"

    def getProviderConfig(self, provider: dict[str, Any]) -> ProviderConfig:
        return ToyConfig(self, provider)

    def getProvider(self, provider_config: ProviderConfig) -> Provider:
        raise NotImplementedError


def get_driver(name: str) -> Driver:
    """A registry with the toy, under two names."""
    if name not in ("toy", "fake"):
        raise UnknownDriver(name, ("fake", "toy"))
    return ToyDriver()
