"""An OpenStack provider of nodepool.yaml as objects: provider, pools, labels and images (spec drivers 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import voluptuous as v

from nodepool.driver import launch_settings
from nodepool.driver.adapter import LabelSettings
from nodepool.driver.cloud_config import CloudPool, CloudProviderConfig
from nodepool.driver.contract import ConfigLabel, ConfigPool, Driver, ProviderConfig, ReferenceProblem
from nodepool.driver.openstack.references import check_references
from nodepool.driver.openstack.schema import POOL, PROVIDER

DEFAULT_VOLUME_SIZE = 50
"""Size in GB of the volume that a label boots from."""


@dataclass(frozen=True, slots=True)
class CloudImage:
    """An image that the cloud has; it is found by ``id``, or by ``name`` (which may be an id, too)."""

    entry: str
    """Its name in nodepool.yaml."""
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a label wants of its servers."""

    image: str
    """Name of the disk image or cloud image, as the ``groups`` of the server name it."""
    cloud_image: CloudImage | None = None
    """None: a disk image, whose upload the launcher names."""
    min_ram: int | None = None
    """MiB."""
    flavor_name: str | None = None
    volume_size: int | None = None
    """GB; None: the server does not boot from a volume."""
    key_name: str | None = None
    userdata: str | None = None
    config_drive: bool | None = None
    """None: as the cloud likes it."""
    networks: tuple[str, ...] = ()
    """Names or ids, in order; empty: as the cloud likes it."""
    security_groups: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    dynamic_properties: Mapping[str, str] = field(default_factory=dict)


class OpenStackLabel(ConfigLabel):
    """A label of a pool."""

    def __init__(self, name: str, server: ServerSettings, settings: LabelSettings) -> None:
        super().__init__(name)
        self.server = server
        self.settings = settings


class OpenStackPool(CloudPool):
    """A pool."""

    labels: dict[str, OpenStackLabel]

    def __init__(self) -> None:
        super().__init__()
        self.auto_floating_ip = True
        """Whether servers without a public address get a floating one."""
        self.availability_zones: tuple[str, ...] = ()

    def load(self, pool_config: dict[str, Any], full_config: Any, provider: ProviderConfig | None = None) -> None:
        """Read the pool and its labels."""
        super().load(pool_config, full_config, provider)
        images = provider.provider if provider else {}
        self.auto_floating_ip = pool_config.get("auto-floating-ip", True)
        self.availability_zones = tuple(pool_config.get("availability-zones", ()))
        self.labels = {
            entry["name"]: _label(entry, pool_config, images, full_config) for entry in pool_config.get("labels", ())
        }
        labels = {name: label.settings for name, label in self.labels.items()}
        self.settings = launch_settings.pool_settings(self, pool_config, labels)


class OpenStackProviderConfig(CloudProviderConfig[OpenStackPool]):
    """A provider of the OpenStack driver. Times are in seconds."""

    def __init__(self, driver: Driver, provider: dict[str, Any]) -> None:
        super().__init__(driver, provider)
        self.cloud = ""
        """Name in clouds.yaml."""
        self.region_name: str | None = None
        self.rate = 1.0
        """Least time between two calls of the API, 0 for no limit."""
        self.clean_floating_ips = False
        """Whether unattached floating addresses of the whole project are removed (spec config 14, Target)."""
        self.port_cleanup_interval = 600.0
        """A port that is down at both ends of it is removed; 0 for never."""

    def new_pool(self) -> OpenStackPool:
        """A pool that is not loaded yet."""
        return OpenStackPool()

    def getSchema(self) -> v.Schema:
        """Schema of the provider's mapping."""
        return v.Schema(self.getCommonSchemaDict() | PROVIDER | {"pools": [POOL | ConfigPool.getCommonSchemaDict()]})

    def checkReferences(self, config: Any) -> Iterator[ReferenceProblem]:
        """Names that lead nowhere or stand twice, and labels without one image and a way to choose a flavor."""
        yield from super().checkReferences(config)
        yield from check_references(self.provider, config)

    def load(self, config: Any) -> None:
        """Read the provider's own keys and its pools."""
        raw = self.provider
        self.cloud = raw["cloud"]
        self.region_name = raw.get("region-name")
        self.rate = float(raw.get("rate", self.rate))
        self.clean_floating_ips = raw.get("clean-floating-ips", self.clean_floating_ips)
        self.port_cleanup_interval = float(raw.get("port-cleanup-interval", self.port_cleanup_interval))
        super().load(config)


def _label(
    entry: Mapping[str, Any], pool: Mapping[str, Any], provider: Mapping[str, Any], config: Any
) -> OpenStackLabel:
    kind = "diskimage" if "diskimage" in entry else "cloud-image"
    image = launch_settings.image_of(entry, provider, config)
    networks = entry.get("networks", pool.get("networks", ()))
    volume_size: int = entry.get("volume-size", DEFAULT_VOLUME_SIZE)
    server = ServerSettings(
        image=entry[kind],
        cloud_image=_cloud_image(image) if kind == "cloud-image" else None,
        min_ram=entry.get("min-ram"),
        flavor_name=_text(entry.get("flavor-name")),
        volume_size=volume_size if entry.get("boot-from-volume") else None,
        key_name=_text(entry.get("key-name")),
        userdata=entry.get("userdata"),
        config_drive=image.get("config-drive"),
        networks=tuple(str(network) for network in networks),
        security_groups=tuple(str(group) for group in pool.get("security-groups", ())),
        properties=_texts(entry.get("instance-properties", {})),
        dynamic_properties=_texts(entry.get("dynamic-instance-properties", {})),
    )
    return OpenStackLabel(entry["name"], server, launch_settings.label_settings(entry, pool, image))


def _cloud_image(entry: Mapping[str, Any]) -> CloudImage:
    image_id, name = _text(entry.get("image-id")), _text(entry.get("image-name"))
    return CloudImage(entry["name"], image_id, name if image_id or name else entry["name"])


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _texts(values: Mapping[Any, Any]) -> Mapping[str, str]:
    return {str(key): str(value) for key, value in values.items()}
