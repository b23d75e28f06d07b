"""Keeps calls apart in time: the ``rate`` of a provider. May be used from any thread."""

from __future__ import annotations

import threading
import time

from nodepool.driver.errors import CloudError, RateLimited


class Pace:
    """Gives turns, first come first served, at least ``interval`` seconds apart; 0 for no limit."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._next = 0.0
        self._stopped = threading.Event()

    def wait(self, limit: float) -> float:
        """Wait for a turn and return the seconds that it took.

        Raises RateLimited at once if none comes within ``limit`` seconds.
        """
        if self._interval <= 0:
            return 0.0
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            if turn - now > limit:
                raise RateLimited(f"no turn within {limit:g} s: 'rate' is {self._interval:g} s", turn - now)
            self._next = turn + self._interval
        if turn > now and self._stopped.wait(turn - now):
            raise CloudError("the provider was stopped")
        return turn - now

    def stop(self) -> None:
        """End all waiting."""
        self._stopped.set()
