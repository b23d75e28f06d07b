"""What launcher and builder have to know, read from keys that all drivers which make servers from images share. Pure.

Mappings are those of nodepool.yaml and have passed the driver's schema (:mod:`nodepool.driver.openstack.schema`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodepool.driver.adapter import KeepFailed, LabelSettings, PoolSettings, ProviderSettings, ReadyCheck
from nodepool.driver.contract import ConfigPool, ProviderConfig
from nodepool.driver.image_adapter import ImageSettings, ProviderImage
from nodepool.driver.schema import as_list
from nodepool.model.resources import Resources

_DEFAULT_PORTS = {"winrm": 5986}
_LIMITS = {
    "instances": "max-servers",
    "cores": "max-cores",
    "ram": "max-ram",
    "volumes": "max-volumes",
    "volume-gb": "max-volume-gb",
}


def provider_settings(provider: ProviderConfig, pools: Mapping[str, PoolSettings]) -> ProviderSettings:
    """Settings of a provider with these pools."""
    raw = provider.provider
    plain = ProviderSettings(provider.name, {})
    return ProviderSettings(
        name=provider.name,
        pools=pools,
        max_concurrency=provider.max_concurrency if provider.max_concurrency > 0 else None,
        launch_retries=raw.get("launch-retries", plain.launch_retries),
        launch_timeout=float(raw.get("launch-timeout", plain.launch_timeout)),
        boot_timeout=float(raw.get("boot-timeout", plain.boot_timeout)),
    )


def pool_settings(pool: ConfigPool, entry: Mapping[str, Any], labels: Mapping[str, LabelSettings]) -> PoolSettings:
    """Settings of a pool with these labels; ``entry`` is what the pool was loaded from."""
    limits = {name: max(entry[key], 0) for name, key in _LIMITS.items() if entry.get(key) is not None}
    return PoolSettings(
        name=pool.name,
        labels=labels,
        limits=Resources.limit(limits),
        priority=pool.priority,
        node_attributes=pool.node_attributes,
        ignore_provider_quota=entry.get("ignore-provider-quota", False),
        availability_zones=tuple(entry.get("availability-zones", ())),
    )


def image_settings(provider: Mapping[str, Any]) -> ImageSettings:
    """What the builder has to know of a provider."""
    plain = ImageSettings()
    return ImageSettings(
        images={
            entry["name"]: ProviderImage(entry["name"], entry.get("pause", False), entry.get("meta", {}))
            for entry in provider.get("diskimages", ())
        },
        name_format=provider.get("image-name-format", plain.name_format),
        upload_timeout=float(provider.get("image-upload-timeout", plain.upload_timeout)),
        post_upload_hook=provider.get("post-upload-hook"),
        hook_timeout=float(provider.get("post-upload-hook-timeout", plain.hook_timeout)),
    )


def label_settings(entry: Mapping[str, Any], pool: Mapping[str, Any], image: Mapping[str, Any]) -> LabelSettings:
    """Settings of a label of ``pool`` whose :func:`image_of` is ``image``."""
    connection_type = image.get("connection-type", "ssh")
    return LabelSettings(
        name=entry["name"],
        diskimage=entry.get("diskimage"),
        cloud_image=entry.get("cloud-image"),
        username=image.get("username"),
        connection_type=connection_type,
        connection_port=image.get("connection-port") or _DEFAULT_PORTS.get(connection_type, 22),
        python_path=image.get("python-path", "auto"),
        shell_type=image.get("shell-type"),
        host_key_checking=entry.get("host-key-checking", pool.get("host-key-checking", True)),
        use_internal_ip=pool.get("use-internal-ip", False),
        console_log=entry.get("console-log", False),
        ready_check=ready_check(of_label_or_pool("ready-check", entry, pool)),
        keep_failed=keep_failed(of_label_or_pool("keep-failed", entry, pool)),
    )


def image_of(entry: Mapping[str, Any], provider: Mapping[str, Any], config: Any) -> Mapping[str, Any]:
    """The provider's entry of a label's image; how to log in to a disk image is said at the top level.

    Spec builder 10. ``config`` has ``diskimages`` by name, or is None.
    """
    kind = "diskimage" if "diskimage" in entry else "cloud-image"
    name = entry.get(kind)
    images = provider.get(f"{kind}s", ())
    image: Mapping[str, Any] = next((one for one in reversed(images) if one["name"] == name), {"name": name})
    built = config.diskimages.get(name) if kind == "diskimage" and config is not None else None
    if built is None:
        return image
    login = {"username": built.username, "python-path": built.python_path, "shell-type": built.shell_type}
    return {**login, **image}


def of_label_or_pool(key: str, entry: Mapping[str, Any], pool: Mapping[str, Any]) -> Any:
    """The value of a key that a label may take over from its pool; what the label says counts as a whole."""
    return entry.get(key, pool.get(key, False))


def ready_check(value: Any) -> ReadyCheck | None:
    """The meaning of ``ready-check``; ``false`` is None."""
    if value is False:
        return None
    entry = value if isinstance(value, dict) else {"commands": value}
    plain = ReadyCheck(())
    return ReadyCheck(
        commands=tuple(as_list(entry["commands"])),
        key_file=entry.get("key-file"),
        username=entry.get("username"),
        timeout=float(entry.get("timeout", plain.timeout)),
    )


def keep_failed(value: Any) -> KeepFailed | None:
    """The meaning of ``keep-failed``; ``false`` is None."""
    return None if value is False else KeepFailed(value["count"], float(value["seconds"]))
