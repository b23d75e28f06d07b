"""The keys of a local provider in nodepool.yaml, as voluptuous schemas.

What a key means is in :mod:`nodepool.driver.local.config` and in ``doc/local.rst``. Pure.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import voluptuous as v

from nodepool.driver.local.machine import NetworkAccess
from nodepool.driver.schema import (
    MACHINES_OF_IMAGES,
    amount,
    flag,
    keep_failed,
    key_file,
    mapping,
    optional_text,
    pool_name,
    port,
    ready_check,
    text,
    whole,
)

KINDS = ("qemu", "container")
KEY_TYPES = ("ssh-", "ecdsa-", "sk-")
"""How the type of a public key of OpenSSH begins."""
SMALLEST_RAM = 64
"""MiB."""


def kind(value: Any) -> str:
    """A kind of machines."""
    if value not in KINDS:
        raise v.Invalid(f"expected one of {', '.join(KINDS)}")
    return str(value)


def network_access(value: Any) -> str:
    """What machines can reach."""
    known = [access.value for access in NetworkAccess]
    if value not in known:
        raise v.Invalid(f"expected one of {', '.join(known)}")
    return str(value)


def loopback_network(value: Any) -> str:
    """A network below 127.0.0.0/8."""
    try:
        network = ipaddress.IPv4Network(value) if isinstance(value, str) else None
    except ValueError:
        network = None
    if network is None or not network.is_loopback:
        raise v.Invalid("expected a network of loopback addresses, such as 127.64.0.0/16")
    return str(value)


def authorized_keys(value: Any) -> list[str]:
    """Public keys, or the paths of files that have some."""
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise v.Invalid("expected a list of public keys and of paths")
    for index, entry in enumerate(value):
        if not entry.startswith(("/", "~/", *KEY_TYPES)) or "\n" in entry.strip():
            message = "expected a public key ('ssh-ed25519 AAAA...') or a path that begins with / or ~/"
            raise v.Invalid(message, path=[index])
    return list(value)


_BEFORE_USE = {"ready-check": ready_check, "keep-failed": keep_failed}

DISKIMAGE = {v.Required("name"): text, "pause": flag, "meta": mapping}

CLOUD_IMAGE = {
    v.Required("name"): text,
    v.Required("path"): key_file,
    "kernel": key_file,
    "initrd": key_file,
    "kernel-arguments": text,
    "username": optional_text,
    "python-path": optional_text,
    "shell-type": optional_text,
}

LABEL = {
    v.Required("name"): text,
    "diskimage": text,
    "cloud-image": text,
    "cores": whole("a number of processors", minimum=1),
    "ram": whole("a number of MiB", minimum=SMALLEST_RAM),
    "console-log": flag,
} | _BEFORE_USE

POOL = {
    v.Required("name"): pool_name,
    "labels": [LABEL],
    "max-cores": amount,
    "max-ram": amount,
    "ignore-provider-quota": flag,
} | _BEFORE_USE

PROVIDER = {
    "kind": kind,
    "state-dir": key_file,
    "network": loopback_network,
    "port": port,
    "network-access": network_access,
    "authorized-keys": authorized_keys,
    "parallel-starts": whole("a number of starts", minimum=1),
    "templates": flag,
    "max-cores": whole("a number of processors", minimum=1),
    "max-ram": whole("a number of MiB", minimum=SMALLEST_RAM),
    "diskimages": [DISKIMAGE],
    "cloud-images": [CLOUD_IMAGE],
} | MACHINES_OF_IMAGES
"""All keys of a provider but those that every driver has, and ``pools``."""
