"""Work under way, as the decision thread remembers it: values only.

What is here may be lost at any time: a restart or another launcher takes the work up again from the records.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from nodepool.driver.stock import Scanned
from nodepool.model.reasons import DeleteReason
from nodepool.model.resources import Resources


@dataclass(slots=True)
class Claim:
    """A request that one of our pools has taken and works on."""

    request_id: str
    launcher_id: str
    slots: list[str | None]
    """Node ids in the order of the request's labels; None where a node is missing."""
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Refusals:
    """How often in a row a cloud had no room for a request, though we thought so, and until when it is not tried."""

    count: int = 0
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Planned:
    """What a transaction under way will use, as soon as its records are in the mirror."""

    pool: tuple[str, str]
    need: Resources
    launches: int
    tenant: str | None
    tenant_need: Resources


@dataclass(slots=True)
class Deletion:
    """A node that we remove."""

    node_id: str
    provider: str
    reason: DeleteReason
    began: float
    version: int
    """Version of the record for which the reason holds."""
    calls_ended: float = 0.0
    """When the last delete call ended, or when the node was marked: only a later list tells that all is gone."""
    failures: int = 0
    accepted: int = 0
    """Calls that the cloud agreed to, though it did not do as it said yet."""
    next_call: float = 0.0
    calling: bool = False
    doubtful: bool = False
    """Whether it may have a server whose id nobody knows."""


@dataclass(slots=True)
class HostWork:
    """What is known and under way about registered hosts."""

    scans: dict[str, dict[Hashable, Scanned]] = field(default_factory=dict)
    """Provider to the last looks at its hosts."""
    scanning: set[tuple[str, Hashable]] = field(default_factory=set)
    unregistered: dict[str, dict[str, str]] = field(default_factory=dict)
    """Provider to its hosts that cannot be registered, with the reason."""
    probing: dict[str, Hashable] = field(default_factory=dict)
    """Hosts that are looked at before they are handed out: node id to scan key."""
    answered: dict[str, float] = field(default_factory=dict)
    """Nodes whose hosts answered, and until when that counts (epoch seconds)."""
    joining: set[str] = field(default_factory=set)
    """Providers in whose election our contender is on its way."""
    resigning: set[str] = field(default_factory=set)
    """Providers with a registration of unknown outcome: we step down before we register more."""


@dataclass(slots=True)
class StockWork:
    """What is known about requests for stock."""

    requests: set[str] = field(default_factory=set)
    """Requests that some launcher made to keep nodes in stock."""
    failures: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Label to failures in a row, and until when no more is asked for (epoch seconds)."""
    short_since: dict[str, float] = field(default_factory=dict)
    """Label to the time since when nodes are missing (epoch seconds)."""
