"""Counts of calls by kind and outcome. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TypedDict

NO_ANSWER = 0
"""The status of a call that was never answered."""


class CallCount(TypedDict):
    """Calls of one kind: how many, how many by status ("0": never answered), bytes sent."""

    count: int
    statuses: dict[str, int]
    bytes: int


class Calls:
    """Counts the calls of one region, or of Keystone."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._outcomes: Counter[tuple[str, int]] = Counter()
        self._bytes: Counter[str] = Counter()
        self.began: float | None = None
        """When the first call came, epoch seconds."""
        self.last: float | None = None

    def add(self, kind: str, status: int, size: int, now: float) -> None:
        """A call was answered, or with :data:`NO_ANSWER` not."""
        self._outcomes[kind, status] += 1
        self._bytes[kind] += size
        self.began = now if self.began is None else self.began
        self.last = now

    def table(self) -> dict[str, CallCount]:
        """All counts, by kind of call."""
        table: dict[str, CallCount] = {}
        for (kind, status), count in sorted(self._outcomes.items()):
            entry = table.setdefault(kind, {"count": 0, "statuses": {}, "bytes": self._bytes[kind]})
            entry["count"] += count
            entry["statuses"][str(status)] = count
        return table
