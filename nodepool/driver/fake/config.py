"""The fake driver's part of nodepool.yaml: the keys of OpenStack, and ``fake``, which says how the cloud behaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import voluptuous as v

from nodepool.driver.adapter import LabelSettings, PoolSettings, ProviderSettings
from nodepool.driver.contract import ConfigLabel, ConfigPool, Driver, ProviderConfig, ReferenceProblem
from nodepool.driver.fake.cloud import DEFAULT_ADDRESS, DEFAULT_QUOTA, FakeCloudSettings
from nodepool.driver.fake.faults import FAULT_NAMES, FaultRates
from nodepool.driver.schema import (
    amount,
    connection_port,
    count,
    flag,
    mapping,
    name_or_id,
    number,
    optional_text,
    pool_name,
    seconds,
    text,
)
from nodepool.model.resources import Resources

_CONNECTION = {"connection-type": text, "connection-port": connection_port}
_DEFAULT_PORTS = {"winrm": 5986}

DISKIMAGE = {
    v.Required("name"): text,
    "pause": flag,
    "config-drive": flag,
    "meta": mapping,
} | _CONNECTION

CLOUD_IMAGE = {
    v.Required("name"): text,
    "config-drive": flag,
    v.Exclusive("image-id", "image", msg="image-id and image-name exclude each other: keep one"): name_or_id,
    v.Exclusive("image-name", "image", msg="image-id and image-name exclude each other: keep one"): name_or_id,
    "username": optional_text,
    "python-path": optional_text,
    "shell-type": optional_text,
} | _CONNECTION

LABEL = {
    v.Required("name"): text,
    "diskimage": text,
    "cloud-image": text,
    "min-ram": count,
    "flavor-name": name_or_id,
    "boot-from-volume": flag,
    "volume-size": count,
    "key-name": text,
    "console-log": flag,
    "instance-properties": mapping,
    "dynamic-instance-properties": mapping,
    "userdata": text,
    "networks": [name_or_id],
    "host-key-checking": flag,
}

POOL = {
    v.Required("name"): pool_name,
    "labels": [LABEL],
    "max-cores": amount,
    "max-ram": amount,
    "max-volumes": amount,
    "max-volume-gb": amount,
    "ignore-provider-quota": flag,
    "availability-zones": [text],
    "networks": [name_or_id],
    "security-groups": [text],
    "auto-floating-ip": flag,
    "use-internal-ip": flag,
    "host-key-checking": flag,
}

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
    "seed": amount,
    "faults": {name.replace("_", "-"): _rate for name in FAULT_NAMES} | {"late-appearance": seconds},
}
"""The driver's own keys; see doc/drivers.rst."""

PROVIDER = {
    "cloud": text,
    "region-name": text,
    "rate": seconds,
    "boot-timeout": count,
    "launch-timeout": count,
    "launch-retries": count,
    "image-upload-timeout": count,
    "image-name-format": text,
    "post-upload-hook": text,
    "clean-floating-ips": flag,
    "port-cleanup-interval": count,
    "nodepool-id": text,
    "diskimages": [DISKIMAGE],
    "cloud-images": [CLOUD_IMAGE],
    "fake": FAKE,
}


@dataclass(frozen=True, slots=True)
class FakeSettings:
    """How the adapter and the cloud behave. Times are in seconds."""

    cloud: FakeCloudSettings = FakeCloudSettings()
    latency: float = 0.0
    """Of each call."""
    poll_interval: float = 0.1
    seed: int = 0


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


class FakePool(ConfigPool):
    """A pool."""

    labels: dict[str, FakeLabel]

    def load(self, pool_config: dict[str, Any], full_config: Any, provider: ProviderConfig | None = None) -> None:
        """Read the pool and its labels."""
        super().load(pool_config, full_config, provider)
        images = provider.provider if provider else {}
        self.labels = {entry["name"]: FakeLabel(entry) for entry in pool_config.get("labels", ())}
        for entry in pool_config.get("labels", ()):
            self.labels[entry["name"]].settings = _label_settings(entry, pool_config, images, full_config)
        self.settings = PoolSettings(
            name=self.name,
            labels={name: label.settings for name, label in self.labels.items()},
            limits=_limits(pool_config),
            priority=self.priority,
            node_attributes=self.node_attributes,
            ignore_provider_quota=pool_config.get("ignore-provider-quota", False),
            availability_zones=tuple(pool_config.get("availability-zones", ())),
        )


class FakeProviderConfig(ProviderConfig):
    """A provider of the fake driver."""

    def __init__(self, driver: Driver, provider: dict[str, Any]) -> None:
        super().__init__(driver, provider)
        self._pools: dict[str, FakePool] = {}
        self.fake = FakeSettings()

    @property
    def pools(self) -> dict[str, FakePool]:
        """Pools by name."""
        return self._pools

    @property
    def manage_images(self) -> bool:
        """Whether the provider lists images that the builder uploads."""
        return bool(self.provider.get("diskimages"))

    def getSchema(self) -> v.Schema:
        """Schema of the provider's mapping."""
        pools = {v.Required("pools"): [POOL | ConfigPool.getCommonSchemaDict()]}
        return v.Schema(self.getCommonSchemaDict() | PROVIDER | pools)

    def load(self, config: Any) -> None:
        """Read the pools and the behaviour of the cloud."""
        self.fake = read_fake(self.provider.get("fake", {}))
        self._pools = {}
        for entry in self.provider["pools"]:
            pool = FakePool()
            pool.load(entry, config, self)
            self._pools[pool.name] = pool

    def checkReferences(self, config: Any) -> Iterator[ReferenceProblem]:
        """Labels and images that the file lacks, and labels without one image and one way to choose a flavor."""
        yield from super().checkReferences(config)
        for index, image in enumerate(self.provider.get("diskimages", ())):
            if image["name"] not in config.diskimages:
                message = f"the diskimage '{image['name']}' is not in the top-level diskimages: add it there"
                yield ReferenceProblem(("diskimages", index, "name"), message)
        for pool_index, pool in enumerate(self.provider["pools"]):
            for index, label in enumerate(pool.get("labels", ())):
                yield from self._check_label(("pools", pool_index, "labels", index), label)

    def settings(self) -> ProviderSettings:
        """What the launcher has to know."""
        raw = self.provider
        plain = ProviderSettings(self.name, {})
        return ProviderSettings(
            name=self.name,
            pools={name: pool.settings for name, pool in self._pools.items()},
            max_concurrency=self.max_concurrency if self.max_concurrency > 0 else None,
            launch_retries=raw.get("launch-retries", plain.launch_retries),
            launch_timeout=float(raw.get("launch-timeout", plain.launch_timeout)),
            boot_timeout=float(raw.get("boot-timeout", plain.boot_timeout)),
        )

    def _check_label(self, path: tuple[str | int, ...], label: Mapping[str, Any]) -> Iterator[ReferenceProblem]:
        named = [key for key in ("diskimage", "cloud-image") if key in label]
        if len(named) != 1:
            how = "none" if not named else "both"
            yield ReferenceProblem(path, f"a label needs one of diskimage and cloud-image, and this one has {how}")
        for key in named:
            if all(image["name"] != label[key] for image in self.provider.get(f"{key}s", ())):
                message = f"there is no '{label[key]}' in the {key}s of this provider: add it there"
                yield ReferenceProblem((*path, key), message)
        if "min-ram" not in label and "flavor-name" not in label:
            yield ReferenceProblem(path, "a label needs min-ram, flavor-name or both, and this one has none")


def _label_settings(
    label: Mapping[str, Any], pool: Mapping[str, Any], provider: Mapping[str, Any], config: Any
) -> LabelSettings:
    kind = "diskimage" if "diskimage" in label else "cloud-image"
    image = _image(kind, label.get(kind), provider, config)
    connection_type = image.get("connection-type", "ssh")
    reachable = provider.get("fake", {}).get("address", DEFAULT_ADDRESS) != DEFAULT_ADDRESS
    return LabelSettings(
        name=label["name"],
        diskimage=label.get("diskimage"),
        cloud_image=label.get("cloud-image"),
        username=image.get("username"),
        connection_type=connection_type,
        connection_port=image.get("connection-port") or _DEFAULT_PORTS.get(connection_type, 22),
        python_path=image.get("python-path", "auto"),
        shell_type=image.get("shell-type"),
        host_key_checking=reachable and label.get("host-key-checking", pool.get("host-key-checking", True)),
        use_internal_ip=pool.get("use-internal-ip", False),
        console_log=label.get("console-log", False),
    )


def _image(kind: str, name: str | None, provider: Mapping[str, Any], config: Any) -> Mapping[str, Any]:
    """The provider's entry of an image; how to log in to a disk image is said at the top level (spec builder 10)."""
    entries = provider.get(f"{kind}s", ())
    entry: Mapping[str, Any] = next((one for one in entries if one["name"] == name), {})
    built = config.diskimages.get(name) if kind == "diskimage" and config is not None else None
    if built is None:
        return entry
    login = {"username": built.username, "python-path": built.python_path, "shell-type": built.shell_type}
    return {**login, **entry}


def _limits(pool: Mapping[str, Any]) -> Resources:
    names = {
        "instances": "max-servers",
        "cores": "max-cores",
        "ram": "max-ram",
        "volumes": "max-volumes",
        "volume-gb": "max-volume-gb",
    }
    return Resources.limit({name: max(pool[key], 0) for name, key in names.items() if pool.get(key) is not None})
