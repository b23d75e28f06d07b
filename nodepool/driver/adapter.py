"""The small interface that a cloud driver implements; the launcher does the rest.

An adapter is called from the bounded call threads of its provider and may block, but never for longer than the
deadline that it is given, apart from waiting for its turn among the provider's calls. It keeps no state about nodes:
what exists is what :meth:`CloudAdapter.list_servers` says.
It raises only the errors of :mod:`nodepool.driver.errors`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from nodepool.model.record import NOTHING
from nodepool.model.resources import Resources

NODE_TAG = "nodepool_node_id"
POOL_TAG = "nodepool_pool_name"
PROVIDER_TAG = "nodepool_provider_name"
ATTEMPT_TAG = "nodepool_attempt"
"""Tags of a server (spec launcher 3.1). What does not bear our provider's name is never touched."""


@dataclass(frozen=True, slots=True)
class ReadyCheck:
    """Commands that must succeed on a new machine before it counts as ready (``ready-check``)."""

    commands: tuple[str, ...]
    """Run one after the other by the login shell of the user; the first that fails ends it."""
    key_file: str | None = None
    """Private key; None: those of ``~/.ssh/id_rsa``, ``id_ecdsa`` and ``id_ed25519`` that there are."""
    username: str | None = None
    """None: the label's own."""
    timeout: float = 60.0
    """Seconds for all of it, from the first attempt to connect on."""


@dataclass(frozen=True, slots=True)
class KeepFailed:
    """Failed machines of a label that are held for study (``keep-failed``)."""

    count: int
    """Most at once; the oldest goes for a newer one."""
    seconds: float
    """For how long each is held."""


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """What the launcher has to know of a label of a pool, whatever the driver."""

    name: str
    diskimage: str | None = None
    """Name of an image that the builder uploads; None for an image that the cloud has."""
    cloud_image: str | None = None
    username: str | None = "zuul"
    connection_type: str | None = "ssh"
    connection_port: int = 22
    python_path: str | None = "auto"
    shell_type: str | None = None
    host_key_checking: bool = True
    use_internal_ip: bool = False
    console_log: bool = False
    ready_check: ReadyCheck | None = None
    keep_failed: KeepFailed | None = None


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What the launcher has to know of a pool, whatever the driver."""

    name: str
    labels: Mapping[str, LabelSettings]
    limits: Resources = field(default_factory=lambda: Resources.limit({}))
    """Own limits of the pool: ``max-servers`` as ``instances`` and so on."""
    priority: int = 100
    node_attributes: Mapping[str, Any] | None = None
    ignore_provider_quota: bool = False
    availability_zones: tuple[str, ...] = ()

    @property
    def disabled(self) -> bool:
        """Whether ``max-servers`` is 0 or less: the pool declines everything."""
        return "instances" in self.limits and self.limits["instances"] <= 0


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """What the launcher has to know of a provider, whatever the driver. Times are in seconds."""

    name: str
    pools: Mapping[str, PoolSettings]
    max_concurrency: int | None = None
    """Most launches in progress at once, None for no limit."""
    launch_retries: int = 3
    """Attempts in all, not additional ones."""
    launch_timeout: float = 3600.0
    boot_timeout: float = 60.0


class ServerState(Enum):
    """State of a server in a cloud."""

    BUILDING = "building"
    ACTIVE = "active"
    ERROR = "error"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Server:
    """A server as a cloud lists it."""

    external_id: Any
    """The cloud's id of it, as the node record stores it: text or a JSON object."""
    state: ServerState
    tags: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    fault: type[Exception] | None = None
    """For ``ERROR``: the type of :mod:`nodepool.driver.errors` that fits."""
    fault_text: str = ""
    interface_ip: str | None = None
    public_ipv4: str | None = None
    private_ipv4: str | None = None
    public_ipv6: str | None = None
    private_ipv6: str | None = None
    host_id: str | None = None
    cloud: str | None = None
    region: str | None = None
    az: str | None = None
    resources: Resources | None = None
    name: str = ""
    """What people know it by, where the cloud tells."""
    record: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """Further fields of the node record that the driver wants stored (``driver_data``, ``node_properties``, …)."""


@dataclass(frozen=True, slots=True)
class ServerOrder:
    """A server to be made. The adapter puts ``tags`` on it in the same call that creates it."""

    node_id: str
    hostname: str
    pool: str
    label: str
    tags: Mapping[str, str]
    image_external_id: str | None = None
    """The cloud's id of the uploaded image, None for a cloud image of the label."""
    az: str | None = None
    request: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """Fields for dynamic tags: id, labels, requestor, requestor_data, … (spec launcher 3.1)."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something in a cloud that seems to belong to no server any more."""

    kind: str
    """As the metric ``nodepool.provider.P.leaked.KIND`` names it: ``ports``, ``floatingips``, …"""
    external_id: str
    age: float
    """Seconds for which it must have been one, by two looks, before it may be removed."""
    upload: tuple[str, str] | None = None
    """For an image of ours: the ids of its build and upload. It is one only if there is no record of that."""


class CloudAdapter(ABC):
    """A cloud, as seen by one provider."""

    poll_interval: float = 1.0
    """Shortest time in seconds between two lists."""
    own_addresses: bool = False
    """Whether each server of a pool has an address of its own, so that one seen twice leads to the wrong machine."""
    list_lag: float = 0.0
    """Seconds for which a new server may still be missing from a list, and a deleted one still be in it."""

    lists_everything: bool = True
    """Whether a server of ours that is missing from a list, or in ERROR there, is dead, whoever made it and when."""
    doubt: float = 0.0
    """The same for a server whose id nobody knows, because the call that made it had no answer; 0 for ``list_lag``."""

    @abstractmethod
    def list_servers(self, deadline: float) -> Sequence[Server]:
        """All servers of the project, whoever made them. ``deadline`` is in seconds from now."""

    @abstractmethod
    def create_server(self, order: ServerOrder, deadline: float) -> Any:
        """Start making a server; returns its external id. Never waits for it to become active."""

    @abstractmethod
    def delete_server(self, external_id: Any, deadline: float) -> None:
        """Start deleting a server. Raises NotFound if there is none."""

    @abstractmethod
    def cost(self, pool: str, label: str) -> Resources:
        """What one node of the label uses. No I/O after :meth:`prepare`. Raises BadLabel."""

    def prepare(self, deadline: float) -> None:  # noqa: B027
        """Fetch what :meth:`cost` needs; called before anything else and after each failure to start."""

    def limits(self, deadline: float) -> Resources:  # noqa: ARG002
        """The cloud's own limits (:meth:`Resources.limit`); nothing is limited unless the driver knows better."""
        return Resources.limit({})

    def zones(self) -> Sequence[str]:
        """Zones to choose from when the pool names none; empty if the cloud has none."""
        return ()

    def console_log(self, external_id: Any, deadline: float) -> str | None:  # noqa: ARG002
        """The console's text, None if there is none."""
        return None

    def is_finished(self, pool: str, server: Server) -> bool:  # noqa: ARG002
        """Whether an ACTIVE server of a pool has all that it needs; if not, :meth:`finish_server` is due. No I/O."""
        return True

    def finish_server(self, pool: str, server: Server, deadline: float) -> Server:  # noqa: ARG002
        """Give a server what its creation could not (a floating address); returns it as it is then.

        A list may show the server without it for a while. May be called again after an error.
        """
        return server

    def leftovers(self, deadline: float) -> Sequence[Leftover]:  # noqa: ARG002
        """What may have been left by servers that are gone, apart from servers. One look: see :attr:`Leftover.age`."""
        return ()

    def remove_leftover(self, leftover: Leftover, deadline: float) -> None:  # noqa: B027
        """Remove one of :meth:`leftovers`; it may be gone already."""

    def stop(self) -> None:  # noqa: B027
        """Free what is held; called once, when no call is under way."""
