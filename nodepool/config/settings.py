"""What the rest of the program sees of ``nodepool.yaml``: frozen objects, all defaults filled in.

Nothing here reads files or checks anything; :mod:`nodepool.config.load` makes these objects.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from nodepool.config.problem import Problem
from nodepool.driver.contract import ProviderConfig

DEFAULT_ZOOKEEPER_PORT = 2281
"""The usual port of ZooKeeper with TLS (spec config 14)."""
DEFAULT_ZOOKEEPER_TIMEOUT = 10.0
"""Seconds."""


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class WebTLSSettings:
    """Paths of the PEM files with which the web servers prove who they are."""

    cert: str
    """The certificate, and those that lead from it to the authority."""
    key: str


@dataclass(frozen=True, slots=True)
class WebappSettings:
    """The web servers of the launcher and of the builder."""

    port: int = 8005
    """TCP port of the launcher's; 0 lets the system choose."""
    listen_address: str = "0.0.0.0"
    builder_port: int | None = None
    """The same for the builder's; None: it has no web server, as in Nodepool 11."""
    tls: WebTLSSettings | None = None
    """None: plain HTTP."""
    token_file: str | None = None
    """File with the word that whoever asks must know; None: anybody may ask."""


@dataclass(frozen=True, slots=True)
class TLSSettings:
    """Paths of PEM files for the connection to ZooKeeper."""

    cert: str
    key: str
    ca: str


@dataclass(frozen=True, slots=True)
class ZooKeeperSettings:
    """How to reach ZooKeeper."""

    servers: tuple[tuple[str, int], ...] = ()
    """Host (name or address, no brackets) and port; empty when the file names none."""
    chroot: str = ""
    """Path below which everything is kept, such as ``/ci``; empty for the root."""
    tls: TLSSettings | None = None
    """None: a plain connection."""
    timeout: float = DEFAULT_ZOOKEEPER_TIMEOUT
    """Session time-out to ask for, in seconds."""

    @property
    def connect_string(self) -> str:
        """``h1:2281,[::1]:2281/chroot``: the chroot once, at the end, as the ZooKeeper programmer's guide has it."""
        return ",".join(f"{_bracketed(host)}:{port}" for host, port in self.servers) + self.chroot

    @property
    def is_local(self) -> bool:
        """Whether all servers are on this machine, as far as their addresses tell."""
        return all(_is_loopback(host) for host, _ in self.servers)


@dataclass(frozen=True, slots=True)
class Label:
    """A kind of node that requests name."""

    name: str
    min_ready: int = 0
    """Nodes to keep ready; -1 switches the label off: requests for it are declined."""
    max_ready_age: int = 0
    """Seconds after which an unused ready node is deleted; 0 for never."""

    @property
    def enabled(self) -> bool:
        """Whether requests for the label are served (spec config 14, ``min-ready: -1``)."""
        return self.min_ready >= 0


@dataclass(frozen=True, slots=True)
class DiskImage:
    """An image that the builder makes; what its parents say is merged in, and so is the secure file."""

    name: str
    formats: tuple[str, ...] = ()
    """Formats to build besides those that providers need."""
    keep_formats: tuple[str, ...] = ()
    """Formats that ``delete_after_upload`` leaves alone."""
    delete_after_upload: bool = False
    rebuild_age: int = 86400
    """Seconds."""
    release: str = ""
    build_timeout: int = 28800
    """Seconds."""
    elements: tuple[str, ...] = ()
    env_vars: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    """May hold secrets: never to be logged."""
    pause: bool = False
    username: str = "zuul"
    python_path: str = "auto"
    shell_type: str | None = None
    dib_cmd: str = "disk-image-create"
    metadata: Mapping[str, Any] = field(default_factory=_nothing)
    """Defaults of the properties of uploads; a provider's own win key by key."""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration. Immutable: a reload makes a new one."""

    webapp: WebappSettings = WebappSettings()
    elements_dir: str | None = None
    """Value for ``ELEMENTS_PATH``: one directory, or several with colons."""
    images_dir: str | None = None
    images_min_free_space: int = 5 << 30
    """Bytes that must be free for a build to begin, in ``images_dir`` and where the build works; 0: not looked at."""
    images_max_space: int = 0
    """Bytes that ``images_dir`` may hold for a build to begin; 0: any number."""
    build_log_dir: str = "/var/log/nodepool/builds"
    build_log_retention: int = 7
    """Old logs to keep per image; negative for all, 0 acts as 1."""
    zookeeper: ZooKeeperSettings = ZooKeeperSettings()
    labels: Mapping[str, Label] = field(default_factory=_nothing)
    max_hold_age: int = 0
    """Seconds; 0 for no limit."""
    diskimages: Mapping[str, DiskImage] = field(default_factory=_nothing)
    """In the order of the file; abstract ones are not in it."""
    providers: Mapping[str, ProviderConfig] = field(default_factory=_nothing)
    """In the order of the file."""
    tenant_limits: Mapping[str, Mapping[str, int]] = field(default_factory=_nothing)
    """Limits by tenant and resource name (``instances``, ``cores``, ``ram``, …); an absent name is not limited."""
    warnings: tuple[Problem, ...] = field(default=(), compare=False)
    """What a daemon should log once after loading."""


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
