"""Calls that wait for their turn: in order within each kind, and the kinds in turn. Pure.

So no kind waits for another: not a deletion for a hundred creations, nor the reverse.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Lane(Enum):
    """Kinds of calls."""

    CREATE = "makes something; pointless once nobody wants it any more"
    DELETE = "removes something"
    OTHER = "asks or changes something else"
    IDLE = "is made only when nothing else waits"


_TURNS = (Lane.CREATE, Lane.DELETE, Lane.OTHER)


class CallQueue(Generic[T]):
    """Calls by lane and key."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, OrderedDict[Hashable, T]] = {lane: OrderedDict() for lane in Lane}
        self._turns = list(_TURNS)

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def __iter__(self) -> Iterator[T]:
        return (call for lane in self._lanes.values() for call in lane.values())

    def add(self, lane: Lane, key: Hashable, call: T) -> None:
        """Put a call behind the others of its lane; if one of its key waits already, that one is enough."""
        self._lanes[lane].setdefault(key, call)

    def put_back(self, lane: Lane, key: Hashable, call: T) -> None:
        """Put a call before all others of its lane: it had its turn, to no avail."""
        self._lanes[lane][key] = call
        self._lanes[lane].move_to_end(key, last=False)

    def remove(self, lane: Lane, key: Hashable) -> T | None:
        """Take out a call, None if it does not wait here."""
        return self._lanes[lane].pop(key, None)

    def clear(self, lane: Lane) -> list[T]:
        """Take out all calls of a lane."""
        calls = list(self._lanes[lane].values())
        self._lanes[lane].clear()
        return calls

    def next(self) -> T | None:
        """Take out the call whose turn it is, None if none waits."""
        for lane in self._turns:
            if self._lanes[lane]:
                self._turns.remove(lane)
                self._turns.append(lane)
                return self._lanes[lane].popitem(last=False)[1]
        return self._lanes[Lane.IDLE].popitem(last=False)[1] if self._lanes[Lane.IDLE] else None
