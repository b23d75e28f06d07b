"""The fake driver's part of nodepool.yaml: the keys of OpenStack, and ``fake``, which says how the cloud behaves."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import voluptuous as v

from nodepool.driver import launch_settings
from nodepool.driver.adapter import LabelSettings
from nodepool.driver.cloud_config import CloudPool, CloudProviderConfig
from nodepool.driver.contract import ConfigLabel, ConfigPool, Driver, ProviderConfig, ReferenceProblem
from nodepool.driver.fake.cloud import DEFAULT_ADDRESS, DEFAULT_QUOTA, FakeCloudSettings
from nodepool.driver.fake.faults import FAULT_NAMES, FaultRates
from nodepool.driver.openstack import schema as openstack
from nodepool.driver.openstack.references import check_references
from nodepool.driver.schema import amount, number, seconds, text
from nodepool.model.resources import Resources

_rate = number("a probability", maximum=1.0)
FAKE = {
    "latency": seconds,
    "boot-time": seconds,
    "delete-time": seconds,
    "list-lag": seconds,
    "poll-interval": seconds,
    "instances": amount,
    "cores": amount,
    "ram": amount,
    "volumes": amount,
    "address": text,
    "images-dir": text,
    "image-format": text,
    "upload-time": seconds,
    "seed": amount,
    "faults": {name.replace("_", "-"): _rate for name in FAULT_NAMES} | {"late-appearance": seconds},
}
"""The driver's own keys; see doc/drivers.rst."""

PROVIDER = {str(key): rule for key, rule in openstack.PROVIDER.items()} | {"fake": FAKE}
"""The keys of OpenStack, none of them required."""


@dataclass(frozen=True, slots=True)
class FakeSettings:
    """How the adapter and the cloud behave. Times are in seconds."""

    cloud: FakeCloudSettings = FakeCloudSettings()
    latency: float = 0.0
    """Of each call."""
    poll_interval: float = 0.1
    seed: int = 0
    images_dir: str = field(default_factory=lambda: os.path.join(tempfile.gettempdir(), "nodepool-fake-images"))
    """Where uploaded images are kept."""
    image_format: str = "qcow2"
    upload_time: float = 0.0
    """Least duration of an upload."""


def read_fake(values: Mapping[str, Any]) -> FakeSettings:
    """Read the ``fake`` key, which has passed the schema."""
    plain, plain_cloud = FakeSettings(), FakeCloudSettings()
    cloud = FakeCloudSettings(
        quota=Resources.limit({name: values.get(name, DEFAULT_QUOTA[name]) for name in DEFAULT_QUOTA.names()}),
        boot_time=float(values.get("boot-time", plain_cloud.boot_time)),
        delete_time=float(values.get("delete-time", plain_cloud.delete_time)),
        list_lag=float(values.get("list-lag", plain_cloud.list_lag)),
        address=values.get("address", DEFAULT_ADDRESS),
        faults=FaultRates.from_config(values.get("faults", {})),
    )
    return FakeSettings(
        cloud=cloud,
        latency=float(values.get("latency", plain.latency)),
        poll_interval=float(values.get("poll-interval", plain.poll_interval)),
        seed=values.get("seed", plain.seed),
        images_dir=values.get("images-dir", plain.images_dir),
        image_format=values.get("image-format", plain.image_format),
        upload_time=float(values.get("upload-time", plain.upload_time)),
    )


class FakeLabel(ConfigLabel):
    """A label of a pool."""

    def __init__(self, entry: Mapping[str, Any]) -> None:
        super().__init__(entry["name"])
        self.min_ram: int = entry.get("min-ram", 0)
        self.flavor_name: str | None = None if "flavor-name" not in entry else str(entry["flavor-name"])
        self.volume_size: int | None = entry.get("volume-size", 50) if entry.get("boot-from-volume") else None
        """GB; None: no volume."""
        self.settings: LabelSettings = LabelSettings(self.name)


class FakePool(CloudPool):
    """A pool."""

    labels: dict[str, FakeLabel]

    def load(self, pool_config: dict[str, Any], full_config: Any, provider: ProviderConfig | None = None) -> None:
        """Read the pool and its labels."""
        super().load(pool_config, full_config, provider)
        images = provider.provider if provider else {}
        self.labels = {entry["name"]: FakeLabel(entry) for entry in pool_config.get("labels", ())}
        for entry in pool_config.get("labels", ()):
            self.labels[entry["name"]].settings = _label_settings(entry, pool_config, images, full_config)
        labels = {name: label.settings for name, label in self.labels.items()}
        self.settings = launch_settings.pool_settings(self, pool_config, labels)


class FakeProviderConfig(CloudProviderConfig[FakePool]):
    """A provider of the fake driver."""

    def __init__(self, driver: Driver, provider: dict[str, Any]) -> None:
        super().__init__(driver, provider)
        self.fake = FakeSettings()

    def new_pool(self) -> FakePool:
        """A pool that is not loaded yet."""
        return FakePool()

    def getSchema(self) -> v.Schema:
        """Schema of the provider's mapping."""
        pools = {v.Required("pools"): [openstack.POOL | ConfigPool.getCommonSchemaDict()]}
        return v.Schema(self.getCommonSchemaDict() | PROVIDER | pools)

    def load(self, config: Any) -> None:
        """Read the pools and the behaviour of the cloud."""
        self.fake = read_fake(self.provider.get("fake", {}))
        super().load(config)

    def checkReferences(self, config: Any) -> Iterator[ReferenceProblem]:
        """Names that lead nowhere or stand twice, and labels without one image and a way to choose a flavor."""
        yield from super().checkReferences(config)
        yield from check_references(self.provider, config)


def _label_settings(
    entry: Mapping[str, Any], pool: Mapping[str, Any], provider: Mapping[str, Any], config: Any
) -> LabelSettings:
    image = launch_settings.image_of(entry, provider, config)
    settings = launch_settings.label_settings(entry, pool, image)
    if provider.get("fake", {}).get("address", DEFAULT_ADDRESS) == DEFAULT_ADDRESS:
        return replace(settings, host_key_checking=False, ready_check=None)
    return settings
