"""Times at which something has to be looked at again. Pure: the present time is an argument."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator


class Timers:
    """Keys with times, in epoch seconds. No key is in it twice for the same time."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, Hashable]] = []
        self._count = 0
        self._awaited: set[tuple[float, Hashable]] = set()
        self._latest: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, at: float, key: Hashable) -> None:
        """Wake ``key`` at ``at``."""
        if (at, key) not in self._awaited:
            self._awaited.add((at, key))
            self._count += 1
            heapq.heappush(self._queue, (at, self._count, key))

    def add_latest(self, at: float, key: Hashable, now: float) -> None:
        """Wake ``key`` at ``at`` at the latest; for what asks again at each look."""
        due = self._latest.get(key, 0.0)
        if not now < due <= at:
            self._latest[key] = at
            self.add(at, key)

    def due(self, now: float) -> Iterator[Hashable]:
        """Take out all keys whose time has come."""
        while self._queue and self._queue[0][0] <= now:
            at, _, key = heapq.heappop(self._queue)
            self._awaited.discard((at, key))
            yield key

    def next(self) -> float | None:
        """When the next key is due, None if there is none."""
        return self._queue[0][0] if self._queue else None
