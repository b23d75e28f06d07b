"""A local provider of nodepool.yaml as objects: provider, pools, labels and images."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import voluptuous as v

from nodepool.driver import launch_settings
from nodepool.driver.adapter import LabelSettings
from nodepool.driver.cloud_config import CloudPool, CloudProviderConfig
from nodepool.driver.contract import ConfigLabel, ConfigPool, Driver, ProviderConfig, ReferenceProblem
from nodepool.driver.local.machine import NetworkAccess
from nodepool.driver.local.schema import POOL, PROVIDER
from nodepool.driver.openstack.references import check_references
from nodepool.model.resources import Resources

DEFAULT_STATE_DIRECTORY = "/var/lib/nodepool/local"
DEFAULT_NETWORK = "127.64.0.0/16"
DEFAULT_START_TIMEOUT = 300.0
"""Seconds."""
DEFAULT_RAM = 512
"""MiB."""


@dataclass(frozen=True, slots=True)
class CloudImage:
    """An image that lies on this host; it was not uploaded."""

    name: str
    path: Path
    kernel: Path | None = None
    initrd: Path | None = None
    kernel_arguments: str | None = None


@dataclass(frozen=True, slots=True)
class MachineSettings:
    """What a label wants of its machines."""

    username: str
    cores: int = 1
    ram: int = DEFAULT_RAM
    """MiB."""
    cloud_image: CloudImage | None = None
    """None: a disk image, whose upload the launcher names."""

    @property
    def cost(self) -> Resources:
        """What one node uses."""
        return Resources(instances=1, cores=self.cores, ram=self.ram)


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How a provider uses this host."""

    kind: str = "qemu"
    state_directory: Path = Path(DEFAULT_STATE_DIRECTORY)
    network: ipaddress.IPv4Network = ipaddress.IPv4Network(DEFAULT_NETWORK)
    """Addresses of nodes are taken from it."""
    port: int | None = None
    """Of the nodes' SSH servers; None: 22 where that can be had, else 2222."""
    network_access: NetworkAccess = NetworkAccess.OUTSIDE
    authorized_keys: tuple[str, ...] = ()
    """Public keys, or paths of files with some."""
    parallel_starts: int | None = None
    """None: what the kind says."""
    templates: bool = True
    """Whether nodes are made of the saved state of a machine that was booted once."""
    max_cores: int | None = None
    max_ram: int | None = None
    """MiB; None: nine tenths of what the host has."""
    start_timeout: float = DEFAULT_START_TIMEOUT
    """Seconds for one machine to answer, from when its start begins (``boot-timeout``)."""


class LocalLabel(ConfigLabel):
    """A label of a pool."""

    def __init__(self, name: str, machine: MachineSettings, settings: LabelSettings) -> None:
        super().__init__(name)
        self.machine = machine
        self.settings = settings


class LocalPool(CloudPool):
    """A pool."""

    labels: dict[str, LocalLabel]

    def load(self, pool_config: dict[str, Any], full_config: Any, provider: ProviderConfig | None = None) -> None:
        """Read the pool and its labels."""
        super().load(pool_config, full_config, provider)
        images = provider.provider if provider else {}
        self.labels = {
            entry["name"]: _label(entry, pool_config, images, full_config) for entry in pool_config.get("labels", ())
        }
        labels = {name: label.settings for name, label in self.labels.items()}
        self.settings = launch_settings.pool_settings(self, pool_config, labels)


class LocalProviderConfig(CloudProviderConfig[LocalPool]):
    """A provider of the local driver."""

    def __init__(self, driver: Driver, provider: dict[str, Any]) -> None:
        super().__init__(driver, provider)
        self.host = HostSettings()

    def new_pool(self) -> LocalPool:
        """A pool that is not loaded yet."""
        return LocalPool()

    def getSchema(self) -> v.Schema:
        """Schema of the provider's mapping."""
        return v.Schema(self.getCommonSchemaDict() | PROVIDER | {"pools": [POOL | ConfigPool.getCommonSchemaDict()]})

    def checkReferences(self, config: Any) -> Iterator[ReferenceProblem]:
        """Names that lead nowhere or stand twice, labels without one image, images without a user to log in as."""
        yield from super().checkReferences(config)
        yield from check_references(self.provider, config, sized=False)

    def load(self, config: Any) -> None:
        """Read the provider's own keys and its pools."""
        self.host = _host(self.provider)
        super().load(config)


def _host(entry: Mapping[str, Any]) -> HostSettings:
    plain = HostSettings()
    return HostSettings(
        kind=entry.get("kind", plain.kind),
        state_directory=_path(entry.get("state-dir", DEFAULT_STATE_DIRECTORY)),
        network=ipaddress.IPv4Network(entry.get("network", DEFAULT_NETWORK)),
        port=entry.get("port"),
        network_access=NetworkAccess(entry.get("network-access", plain.network_access.value)),
        authorized_keys=tuple(entry.get("authorized-keys", ())),
        parallel_starts=entry.get("parallel-starts"),
        templates=entry.get("templates", plain.templates),
        max_cores=entry.get("max-cores"),
        max_ram=entry.get("max-ram"),
        start_timeout=float(entry.get("boot-timeout", plain.start_timeout)),
    )


def _label(entry: Mapping[str, Any], pool: Mapping[str, Any], provider: Mapping[str, Any], config: Any) -> LocalLabel:
    image = launch_settings.image_of(entry, provider, config)
    settings = launch_settings.label_settings(entry, pool, image)
    if settings.username is None:
        settings = dataclasses.replace(settings, username="root")
    machine = MachineSettings(
        username=settings.username or "root",
        cores=entry.get("cores", 1),
        ram=entry.get("ram", DEFAULT_RAM),
        cloud_image=_cloud_image(image) if "cloud-image" in entry else None,
    )
    # The driver itself looks whether a machine answers, with the host key that it was given, before it is active.
    return LocalLabel(entry["name"], machine, dataclasses.replace(settings, host_key_checking=False))


def _cloud_image(entry: Mapping[str, Any]) -> CloudImage:
    kernel, initrd = entry.get("kernel"), entry.get("initrd")
    return CloudImage(
        entry["name"],
        _path(entry["path"]),
        _path(kernel) if kernel else None,
        _path(initrd) if initrd else None,
        entry.get("kernel-arguments"),
    )


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))
