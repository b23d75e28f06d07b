"""What happens later: a queue of events on a clock that others move. Pure.

Nothing runs by itself: every reader first calls :meth:`Timeline.advance`, so no timer and no thread is needed, and a
test can move the clock by hours at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache


class Timeline:
    """Events in order of time. Times are epoch seconds."""

    def __init__(self, now: float) -> None:
        self.now = now
        """The time of the event that is being handled, else the time of the last :meth:`advance`."""
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        """Call ``event`` when ``seconds`` have passed; at once if that is none."""
        if seconds <= 0:
            event()
            return
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, event))

    def advance(self, now: float) -> None:
        """Handle in their order all events up to ``now``."""
        events = self._events
        while events and events[0][0] <= now:
            self.now, _, event = heapq.heappop(events)
            event()
        self.now = max(now, self.now)


@lru_cache(maxsize=1024)
def _written(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def iso(seconds: float) -> str:
    """As OpenStack writes it, for example 2026-01-31T10:00:00Z; without fractions."""
    return _written(int(seconds)) + "Z"


def from_iso(text: str) -> float:
    """Epoch seconds of an ISO 8601 time; UTC unless it says otherwise. Raises ValueError."""
    moment = datetime.fromisoformat(text.strip().replace(" ", "+"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
