"""Which record of a static provider stands for which slot of which host. Pure.

A record *occupies* a slot as long as somebody may still work on the host because of it: in ``ready``, ``in-use``,
``used`` and ``hold``. Records in other states are ignored (spec launcher 3.5): one that is ``deleting`` can never be
used again, so its slot may be given to a new record while it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nodepool.driver.static.config import Identity, StaticHost
from nodepool.driver.stock import StockNode
from nodepool.model.states import NodeState

Slot = tuple[Identity, int]
"""A host and a number from 0."""

_OCCUPYING = frozenset({NodeState.READY, NodeState.TESTING, NodeState.IN_USE, NodeState.USED, NodeState.HOLD})


@dataclass(frozen=True, slots=True)
class Seating:
    """Who sits where; ``surplus`` are records that occupy no slot of the configuration."""

    seats: Mapping[Slot, StockNode]
    surplus: tuple[StockNode, ...]


def is_free(entry: StockNode) -> bool:
    """Whether nobody has, or is about to have, the node."""
    return entry.node.state is NodeState.READY and not entry.node.allocated_to and not entry.locked


def slots(host: StaticHost) -> tuple[Slot, ...]:
    """All slots of a host."""
    return tuple((host.identity, number) for number in range(host.slots))


class Seats:
    """The slots of a configuration."""

    def __init__(self, hosts: Sequence[StaticHost]) -> None:
        self._by_identity: dict[Identity, tuple[Slot, ...]] = {host.identity: slots(host) for host in hosts}
        self._by_name: dict[str, list[Slot]] = {}
        for host in hosts:
            self._by_name.setdefault(host.name, []).extend(slots(host))

    def seat(self, nodes: Iterable[StockNode]) -> Seating:
        """Give each slot one record at most; records of nodes at work come first.

        A record keeps the slot it names. One that names none (old data), or one that is gone or taken, gets another
        slot of its host. One whose username or port is no longer configured stands for the entry with the same host
        name, so that a changed entry is updated rather than doubled.
        """
        occupying = (entry for entry in nodes if entry.node.state in _OCCUPYING)
        waiting = sorted(occupying, key=lambda entry: (is_free(entry), entry.node.id))
        seats: dict[Slot, StockNode] = {}
        for choose in (self._own_slot, self._same_host, self._same_name):
            left: list[StockNode] = []
            for entry in waiting:
                slot = next((slot for slot in choose(entry) if slot not in seats), None)
                if slot is None:
                    left.append(entry)
                else:
                    seats[slot] = entry
            waiting = left
        return Seating(seats, tuple(waiting))

    def _own_slot(self, entry: StockNode) -> Iterable[Slot]:
        return (slot for slot in self._same_host(entry) if slot[1] == entry.node.slot)

    def _same_host(self, entry: StockNode) -> Iterable[Slot]:
        return self._by_identity.get(_identity(entry), ())

    def _same_name(self, entry: StockNode) -> Iterable[Slot]:
        if _identity(entry) in self._by_identity:
            return ()
        return sorted(self._by_name.get(_identity(entry)[0], ()), key=lambda slot: slot[1] != entry.node.slot)


def _identity(entry: StockNode) -> Identity:
    node = entry.node
    port = node.connection_port if isinstance(node.connection_port, int) else 0
    return node.hostname or str(node.external_id), node.username, port
