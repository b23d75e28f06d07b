"""What a simulated cloud is like: all settings with their defaults. Pure; the file is read by the program.

The keys at the top of the file are those of :class:`CloudSettings`; ``region`` has the defaults of all regions and
``regions`` what differs in each.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tools.cloud.chance import Spread
from tools.cloud.faults import FaultSettings
from tools.cloud.rates import RateLimit
from tools.cloud.reading import BadSettings, changed, read

UNLIMITED = -1


class QuotaCheck(enum.Enum):
    """Where a quota of servers is enforced."""

    API = "api"
    """A create call beyond it is refused with 403."""
    SCHEDULER = "scheduler"
    """Only placed servers count for the call; one that finds no room when it is placed goes to ERROR."""
    NONE = "none"
    """Never; what goes beyond is counted as peak over quota."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of the project in one region; -1 is no limit."""

    instances: int = 1000
    cores: int = 4000
    ram: int = 8_192_000
    """MiB."""
    ports: int = 5000
    floating_ips: int = 100
    volumes: int = 1000
    gigabytes: int = 100_000
    images: int = UNLIMITED
    security_groups: int = 100
    networks: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FlavorSettings:
    """A flavor. ``ram`` is MiB, ``disk`` GiB; the id is derived from the name unless given."""

    name: str
    ram: int
    vcpus: int
    disk: int = 10
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """An image that is there from the start."""

    name: str
    id: str = ""
    disk_format: str = "qcow2"
    min_ram: int = 0
    """MiB."""
    min_disk: int = 0
    """GiB."""
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """A network with one subnet for each address family.

    All of 127.0.0.0/8 is loopback, so a ``cidr`` in it makes one real sshd that listens everywhere answer for every
    server. ``addresses`` are given out instead of those of ``cidr`` and may then be used by several servers at once.
    """

    name: str
    cidr: str | None = "10.0.0.0/16"
    cidr6: str | None = None
    addresses: tuple[str, ...] = ()
    external: bool = False
    """The SDK takes addresses of external networks for public ones, and floating addresses come from there."""
    shared: bool = False


class AddressReuse(enum.Enum):
    """When the address of a deleted server is given out again."""

    SOON = "soon"
    """To the next server."""
    LATE = "late"
    """When all others were used."""


def _default_flavors() -> tuple[FlavorSettings, ...]:
    return (
        FlavorSettings(name="m1.tiny", ram=512, vcpus=1),
        FlavorSettings(name="m1.small", ram=2048, vcpus=1),
        FlavorSettings(name="m1.medium", ram=4096, vcpus=2),
        FlavorSettings(name="m1.large", ram=8192, vcpus=4),
    )


def _default_networks() -> tuple[NetworkSettings, ...]:
    return (
        NetworkSettings(name="private", cidr="10.20.0.0/16"),
        NetworkSettings(name="public", cidr="198.18.0.0/16", external=True),
    )


@dataclass(frozen=True, slots=True)
class RegionSettings:
    """One region. Durations are seconds."""

    latency: Mapping[str, Spread] = field(default_factory=lambda: {"*": Spread(0.0, 0.0)})
    """Between a call and its answer, by pattern of its kind; the first that fits."""
    boot: Spread = Spread(1.0, 1.0)
    """From the create call to ACTIVE."""
    scheduling: float = 0.1
    """How long a new server has no host. Deleted by then it leaves no trace: ``changes-since`` never tells of it."""
    delete: Spread = Spread(0.5, 0.5)
    """From the delete call to gone."""
    floating_ip: Spread = Spread(0.0, 0.0)
    """From the attachment of a floating address to ACTIVE."""
    list_lag: float = 0.0
    """How late lists of servers tell of anything; a single server is always shown as it is."""
    deleted_kept: float = 3600.0
    """How long ``changes-since`` still tells of a deleted server."""
    quota: Quota = Quota()
    quota_check: QuotaCheck = QuotaCheck.API
    rate_limits: tuple[RateLimit, ...] = ()
    page: int = 1000
    """Most servers in one answer."""
    microversion: str = "2.96"
    """The newest of Nova."""
    zones: tuple[str, ...] = ("az1", "az2")
    hosts_per_zone: int = 20
    flavors: tuple[FlavorSettings, ...] = field(default_factory=_default_flavors)
    images: tuple[ImageSettings, ...] = (ImageSettings(name="base"),)
    networks: tuple[NetworkSettings, ...] = field(default_factory=_default_networks)
    address_reuse: AddressReuse = AddressReuse.SOON
    key_pairs: tuple[str, ...] = ("key",)
    security_groups: tuple[str, ...] = ()
    console: str = "{name} login: "
    """Console log of an ACTIVE server; ``{name}`` is the server's."""
    faults: FaultSettings = FaultSettings()


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """The whole cloud: one project in one or more regions."""

    name: str = "simulated"
    """Of the entry in clouds.yaml; the others start with it."""
    seed: int = 1
    user: str = "demo"
    password: str = "secret"
    project: str = "demo"
    token_seconds: float = 3600.0
    region: RegionSettings = field(default_factory=RegionSettings)
    regions: Mapping[str, RegionSettings] = field(default_factory=dict)
    identity_latency: Spread = Spread(0.0, 0.0)
    identity_faults: FaultSettings = FaultSettings()
    identity_tag: str = "nodepool_node_id"
    """Metadata key of which no two living servers may have the same value; the accounting tells of those that do."""
    tls_certificate: str = ""
    """PEM file; with it and ``tls_key`` the cloud speaks HTTPS."""
    tls_key: str = ""


DEFAULT_REGION = "RegionOne"


def read_settings(document: object) -> CloudSettings:
    """Settings from what a file says (None: all defaults). Raises :class:`tools.cloud.reading.BadSettings`."""
    if not isinstance(document, Mapping):
        if document is not None:
            raise BadSettings(f"settings: expected a mapping, not {document!r}")
        document = {}
    common = changed(RegionSettings(), document.get("region") or {}, "region")
    given = document.get("regions") or {DEFAULT_REGION: {}}
    if not isinstance(given, Mapping):
        raise BadSettings(f"regions: expected a mapping of region names, not {given!r}")
    regions = {str(name): changed(common, value or {}, f"regions.{name}") for name, value in given.items()}
    rest = {key: value for key, value in document.items() if key not in ("region", "regions")}
    cloud = read(CloudSettings, rest, "settings")
    return replace(cloud, region=common, regions=regions)
