"""The schema of ``nodepool.yaml`` and of the secure file: one for the daemons and for ``config-validate``.

The providers' own keys are not here: each driver brings the schema of its provider entries.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from typing import Any

import voluptuous as v

from nodepool.config.rules import (
    command,
    environment_value,
    flag,
    gibibytes,
    key,
    optional_text,
    path_element,
    positive_seconds,
    text,
    whole,
)
from nodepool.config.wording import Refused, Unexpected, shown

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


def host(value: Any) -> str:
    """The host of a ZooKeeper server: a name or an address, which may have IPv6 brackets; never a port."""
    name = text(value)
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if ":" in bare:
        try:
            ipaddress.IPv6Address(bare)
        except ValueError:
            raise Unexpected("a host name or address", value, "a port goes under its own key, port") from None
    elif not _HOST_NAME.fullmatch(bare) or bare != name:
        raise Unexpected("a host name or address", value, "one server, no port, no path")
    return bare


def chroot(value: Any) -> str | None:
    """A path in ZooKeeper."""
    path = optional_text(value) or ""
    steps = path.strip("/").split("/")
    if path.strip("/") and (any(step in ("", ".", "..") for step in steps) or not path.isprintable() or "," in path):
        raise Unexpected("a path such as /nodepool-ci", value)
    return path


def release(value: Any) -> Any:
    """The release of an image: text or a whole number; what YAML takes for something else is refused but used."""
    if value is None or isinstance(value, str) or type(value) is int:
        return optional_text(value) if value is None else value
    if isinstance(value, bool | float | datetime.date):
        raise Refused(f"YAML reads this as {shown(value)}, which may not be what is written (put it in quotes)")
    raise Unexpected("text", value)


ZOOKEEPER_SERVER = {v.Required("host"): host, "port": whole("a port number", 1, 65535), "chroot": chroot}
ZOOKEEPER_TLS = {"cert": optional_text, "key": optional_text, "ca": optional_text}
"""That all three are there is checked on what the two files say together."""

WEBAPP = {
    "port": whole("a port number", 0, 65535),
    "listen_address": text,
    "builder-port": whole("a port number", 0, 65535),
    "tls": {v.Required("cert"): text, v.Required("key"): text},
    "token-file": text,
}

LABEL = {
    v.Required("name"): text,
    "min-ready": whole("a whole number of nodes", minimum=-1),
    "max-ready-age": whole("a whole number of seconds"),
}

DISKIMAGE = {
    v.Required("name"): path_element,
    "abstract": flag,
    "parent": optional_text,
    "formats": [text],
    "keep-formats": [text],
    "delete-after-upload": flag,
    "rebuild-age": whole("a whole number of seconds", minimum=0),
    "release": release,
    "build-timeout": whole("a whole number of seconds", minimum=0),
    "elements": [text],
    "env-vars": {key: environment_value},
    "pause": flag,
    "username": optional_text,
    "python-path": optional_text,
    "shell-type": optional_text,
    "dib-cmd": command,
    "metadata": {key: object},
}

TENANT_LIMIT = {v.Required("tenant-name"): text, key: whole(minimum=0)}

PROVIDER_HEAD = v.Schema({v.Required("name"): path_element, "driver": text}, extra=v.ALLOW_EXTRA)
"""What has to be right before the driver of a provider can be asked for its schema."""

MAIN = {
    "webapp": WEBAPP,
    "elements-dir": optional_text,
    "images-dir": optional_text,
    "images-min-free-space": gibibytes,
    "images-max-space": gibibytes,
    "build-log-dir": optional_text,
    "build-log-retention": whole("a whole number of logs"),
    "zookeeper-servers": [ZOOKEEPER_SERVER],
    "zookeeper-tls": ZOOKEEPER_TLS,
    "zookeeper-timeout": positive_seconds,
    "labels": [LABEL],
    "max-hold-age": whole("a whole number of seconds"),
    "diskimages": [DISKIMAGE],
    "providers": [PROVIDER_HEAD],
    "tenant-resource-limits": [TENANT_LIMIT],
}

SECURE = v.Schema(
    {
        "zookeeper-servers": [ZOOKEEPER_SERVER],
        "zookeeper-tls": ZOOKEEPER_TLS,
        "diskimages": [{v.Required("name"): text, v.Required("env-vars"): v.Schema({key: environment_value})}],
    },
    extra=v.ALLOW_EXTRA,
)
"""Everything else in the secure file is ignored (spec config 3)."""
