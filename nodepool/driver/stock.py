"""The interface of a driver that launches nothing but registers what exists (the static driver).

Pure: it looks at records, scan results and the clock, and says what to do. The launcher does it: it scans,
takes locks, writes. Only one launcher of a provider acts at a time (an election per provider sees to that).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from nodepool.driver.nodescan import ScanRequest, ScanResult
from nodepool.model.node import Node
from nodepool.model.record import NOTHING


@dataclass(frozen=True, slots=True)
class StockNode:
    """A node record of the provider; ``locked`` tells whether anybody holds or awaits its lock."""

    node: Node
    locked: bool


@dataclass(frozen=True, slots=True)
class Register:
    """Create this ready record (its id is not known yet and left empty). ``key`` tells the slot."""

    key: Hashable
    node: Node


@dataclass(frozen=True, slots=True)
class Deregister:
    """Remove a free record, under its lock; ``reason`` is for the log."""

    node_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Update:
    """Replace the record of a free node, under its lock."""

    node: Node


@dataclass(frozen=True, slots=True)
class Scan:
    """Look at a host."""

    request: ScanRequest


StockAction = Register | Deregister | Update | Scan


@dataclass(frozen=True, slots=True)
class Scanned:
    """The last look at a host and when it ended (epoch seconds)."""

    result: ScanResult
    time: float
    failures: int = 0
    """How many looks in a row, this one included, found that the host does not answer; 0 if it was not counted."""


@dataclass(frozen=True, slots=True)
class StockPlan:
    """What to do now, and when to ask again if nothing changes (epoch seconds)."""

    actions: tuple[StockAction, ...]
    wake: float
    unregistered: Mapping[str, str | None] = field(default_factory=lambda: NOTHING)
    """Hosts that cannot be registered now, each with the reason, for operators; None if it is not known yet."""


class Stock(ABC):
    """The hosts of one provider."""

    @abstractmethod
    def plan(self, nodes: Sequence[StockNode], scans: Mapping[Hashable, Scanned], now: float) -> StockPlan:
        """What is missing, surplus or changed. ``scans`` are the last looks by scan key, since start or reload.

        The caller drops actions that are under way already (by slot key, node id or scan key). An action is under
        way until its effect is in ``nodes`` or ``scans``: a Register is not over when the record has been written, but
        when ``nodes`` has it; otherwise it would be done twice. An entry of ``scans`` stays the same object until the
        next look replaces it.
        """

    @abstractmethod
    def is_current(self, node: Node) -> bool:
        """Whether a free node's record tells what the configuration says now; else it is not handed out.

        What :meth:`plan` does about such a node may take a look at its host first.
        """

    @abstractmethod
    def check_before_use(self, node: Node) -> ScanRequest | None:
        """How to see that a free node still answers before it is handed out; None if it need not be looked at."""

    @abstractmethod
    def capacity(self, pool: str, *labels: str) -> int:
        """How many nodes with any of the labels there can ever be at once: the sum of the slots."""
