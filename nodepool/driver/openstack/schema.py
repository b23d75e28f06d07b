"""The keys of an OpenStack provider in nodepool.yaml, as voluptuous schemas (spec drivers 2).

What a key means is in :mod:`nodepool.driver.openstack.config` and :mod:`nodepool.driver.launch_settings`. Pure.
"""

from __future__ import annotations

from typing import Any

import voluptuous as v

from nodepool.driver.schema import (
    MACHINES_OF_IMAGES,
    amount,
    connection_port,
    count,
    flag,
    keep_failed,
    mapping,
    name_or_id,
    optional_text,
    pool_name,
    ready_check,
    seconds,
    text,
)

LONGEST_PROPERTY = 255
"""Most characters of a key and of a value of a server's metadata (Nova, Compute API guide)."""


def properties(value: Any) -> dict[Any, Any]:
    """Server metadata: names with text, numbers or flags, all of them short."""
    for key, item in mapping(value).items():
        if isinstance(item, dict | list) or item is None:
            raise v.Invalid("expected text", path=[key])
        if not 1 <= len(str(key)) <= LONGEST_PROPERTY or len(str(item)) > LONGEST_PROPERTY:
            raise v.Invalid(f"expected at most {LONGEST_PROPERTY} characters", path=[key])
    return dict(value)


def format_strings(value: Any) -> dict[Any, Any]:
    """Server metadata whose values are format strings (spec config 9)."""
    for key, item in mapping(value).items():
        if not isinstance(item, str):
            raise v.Invalid("expected a format string such as '{request.requestor}'", path=[key])
        if not 1 <= len(str(key)) <= LONGEST_PROPERTY:
            raise v.Invalid(f"expected a name of at most {LONGEST_PROPERTY} characters", path=[key])
    return dict(value)


_CONNECTION = {"connection-type": text, "connection-port": connection_port}
_BEFORE_USE = {"ready-check": ready_check, "keep-failed": keep_failed}
_ONE_IMAGE = "image-id and image-name exclude each other: keep one"

DISKIMAGE = {
    v.Required("name"): text,
    "pause": flag,
    "config-drive": flag,
    "meta": mapping,
} | _CONNECTION

CLOUD_IMAGE = {
    v.Required("name"): text,
    "config-drive": flag,
    v.Exclusive("image-id", "image", msg=_ONE_IMAGE): name_or_id,
    v.Exclusive("image-name", "image", msg=_ONE_IMAGE): name_or_id,
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
    "key-name": name_or_id,
    "console-log": flag,
    "instance-properties": properties,
    "dynamic-instance-properties": format_strings,
    "userdata": text,
    "networks": [name_or_id],
    "host-key-checking": flag,
} | _BEFORE_USE

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
    "security-groups": [name_or_id],
    "auto-floating-ip": flag,
    "use-internal-ip": flag,
    "host-key-checking": flag,
} | _BEFORE_USE

PROVIDER = {
    v.Required("cloud"): text,
    "region-name": text,
    "rate": seconds,
    "clean-floating-ips": flag,
    "port-cleanup-interval": seconds,
    "nodepool-id": text,
    "diskimages": [DISKIMAGE],
    "cloud-images": [CLOUD_IMAGE],
} | MACHINES_OF_IMAGES
"""All keys of a provider but those that every driver has, and ``pools``."""
