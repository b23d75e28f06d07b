"""The resources of a region. Plain records: who changes them, and when, is said where they are kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tools.cloud.faults import ServerFault, ServerRule

DELETING = "deleting"


class Refused(Exception):
    """The cloud refuses a call: HTTP status, and a message as the real service gives it."""

    def __init__(self, status: int, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        """Neutron's name of the error; empty for its usual name."""


@dataclass(frozen=True, slots=True)
class Flavor:
    """A flavor; ``ram`` in MiB, ``disk`` in GiB."""

    id: str
    name: str
    ram: int
    vcpus: int
    disk: int


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a server as Nova shows it."""

    network: str
    address: str
    mac: str
    floating: bool = False

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a server is in ERROR."""

    code: int
    message: str
    created: float


@dataclass(slots=True, eq=False)
class Port:
    """A port. ``fixed`` are pairs of subnet id and address."""

    id: str
    network_id: str
    mac: str
    fixed: tuple[tuple[str, str], ...]
    device_id: str
    device_owner: str
    name: str
    security_groups: tuple[str, ...]
    created: float
    updated: float
    status: str = "DOWN"
    shown: dict[str, object] | None = None
    """What the API shows; emptied at each change."""


@dataclass(slots=True, eq=False)
class FloatingIp:
    """A floating address, attached to a port or not."""

    id: str
    network_id: str
    address: str
    created: float
    updated: float
    description: str = ""
    port: Port | None = None
    fixed_address: str | None = None
    status: str = "DOWN"


@dataclass(slots=True, eq=False)
class SecurityGroup:
    """A security group; its rules are kept as they were given."""

    id: str
    name: str
    description: str
    created: float
    rules: list[dict[str, object]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Volume:
    """A volume; ``size`` in GiB."""

    id: str
    name: str
    size: int
    created: float
    zone: str = "nova"
    image_id: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    status: str = "available"
    server_id: str | None = None
    delete_with_server: bool = False


@dataclass(slots=True, eq=False)
class Image:
    """An image. ``properties`` are all further keys that Glance shows beside its own."""

    id: str
    name: str
    owner: str
    created: float
    updated: float
    number: int
    disk_format: str | None = None
    container_format: str | None = None
    visibility: str = "private"
    protected: bool = False
    hidden: bool = False
    min_disk: int = 0
    min_ram: int = 0
    tags: list[str] = field(default_factory=list)
    properties: dict[str, object] = field(default_factory=dict)
    status: str = "queued"
    size: int | None = None
    checksum: str | None = None
    sha512: str | None = None


@dataclass(frozen=True, slots=True)
class Nic:
    """A wish for an interface: an existing port, or a network and maybe an address."""

    network_id: str = ""
    port_id: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Disk:
    """A wish for a volume of a new server: an existing one, or a new one of ``size`` GiB from an image."""

    delete_with_server: bool
    volume_id: str = ""
    image_id: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """What a create call asks for; checked already, but for quotas."""

    name: str
    flavor: Flavor
    image_id: str
    zone: str
    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...]
    metadata: Mapping[str, str]
    security_groups: tuple[str, ...]
    """Names."""
    key_name: str | None
    config_drive: bool
    user_data: str | None
    description: str | None
    tags: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Server:
    """A server."""

    id: str
    number: int
    """Counts up, in order of creation."""
    order: Order
    metadata: dict[str, str]
    created: float
    updated: float
    faults: dict[ServerFault, ServerRule]
    status: str = "BUILD"
    task: str | None = "spawning"
    zone: str = ""
    host: str = ""
    addresses: tuple[Address, ...] = ()
    addresses_known: bool = False
    volumes: tuple[Volume, ...] = ()
    launched: float | None = None
    terminated: float | None = None
    failure: Failure | None = None
    deletions: int = 0
    ending: bool = False
    """Whether a deletion is under way that will end."""
    placed: bool = False
    """Whether it counts for a quota that the scheduler checks."""
    shown: dict[int, bytes] = field(default_factory=dict)
    """What the API shows, by version; emptied at each change."""
