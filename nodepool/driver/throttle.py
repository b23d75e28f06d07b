"""The pauses that a cloud asks for when it refuses calls because there are too many (HTTP 429 and 413). Pure.

The whole provider pauses, because such limits are those of the project. Times are seconds of one clock.
"""

from __future__ import annotations

SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class Throttle:
    """See the module's description."""

    def __init__(self) -> None:
        self.until = 0.0
        """No call may begin before."""
        self._began = 0.0
        self._refusals = 0

    def refused(self, retry_after: float, began: float, now: float) -> None:
        """The cloud refused a call that began at ``began``: pause as long as it wants.

        The pause is at least twice the last one if nothing succeeded since; calls that began before that do not count.
        """
        if began >= self._began:
            self._refusals += 1
            self._began = now
        pause = max(retry_after, SHORTEST_PAUSE * 2.0 ** min(self._refusals - 1, 16))
        self.until = max(self.until, now + min(pause, LONGEST_PAUSE))

    def succeeded(self) -> None:
        """A call got through."""
        self._refusals = 0
