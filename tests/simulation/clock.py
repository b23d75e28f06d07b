"""Virtual time: actions run in the order of their times, and nobody waits."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Action = Callable[[], None]
START = 1_700_000_000.0
"""Epoch seconds at which every simulation begins."""


class Clock:
    """A queue of actions and the present time in epoch seconds."""

    def __init__(self) -> None:
        self.now = START
        self._queue: list[tuple[float, int, Action]] = []
        self._count = 0

    def __call__(self) -> float:
        return self.now

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self.now - START

    def schedule(self, delay: float, action: Action) -> None:
        """Run ``action`` in ``delay`` seconds; actions of one time run in the order in which they came."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + max(delay, 0.0), self._count, action))

    def run(self, until: float) -> None:
        """Run all actions up to ``until`` (epoch seconds)."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = max(self.now, until)
