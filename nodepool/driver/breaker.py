"""The circuit breaker of a provider: whether its cloud answers, and when to try again if it does not. Pure.

It counts what says that the cloud as a whole does not work, and nothing that is about one call: a full quota is an
answer. While it is open nothing is called but one probe at a time, after growing pauses. Times are seconds of one
clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from nodepool.driver.errors import (
    BadLabel,
    CloudError,
    Misconfigured,
    NoCapacity,
    NotBegun,
    NotFound,
    QuotaExceeded,
    RateLimited,
    Rejected,
)

MOST_FAILURES = 5
"""Failures in a row that open it, if there was no success for some time: several threads fail together."""
SHORTEST_DOUBT = 2.0
"""That time in seconds, unless the owner says otherwise."""
LONGEST_DOUBT = 30.0
"""Seconds without any success after which a second failure is enough: calls that hang take as long to fail."""
SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Seconds until the first probe, and at most between two."""
CALM = 60.0
"""Seconds for which a cloud has to answer before the pauses begin with the shortest one again."""

_ANSWERS = (QuotaExceeded, NoCapacity, BadLabel, NotFound, Rejected)
_NEUTRAL = (RateLimited, NotBegun)


class Circuit(Enum):
    """What is known of a provider. The value is a sentence about it."""

    CLOSED = "it answers"
    OPEN = "it does not answer"
    HALF_OPEN = "it does not answer, and is being tried again"


@dataclass(frozen=True, slots=True)
class Health:
    """How a provider is. Times are epoch seconds."""

    circuit: Circuit = Circuit.CLOSED
    since: float = 0.0
    """When it began to answer, or ceased to."""
    error: str = ""
    """Why it was thought not to answer last."""
    next_try: float | None = None
    """When it is tried again; None if it answers, or is being tried."""
    paused_until: float = 0.0
    """Until when nothing is called because the cloud asked for fewer calls."""
    pause_error: str = ""
    """How it asked last."""
    misconfigured: bool = False
    """Whether the last error says that it cannot answer before somebody changes the configuration."""

    @property
    def away(self) -> bool:
        """Whether the provider does not answer."""
        return self.circuit is not Circuit.CLOSED


class Breaker:
    """See the module's description. Outcomes are told in the order in which calls end; ``began`` is when one began.

    What began before the present state did says nothing about it: a call that hung while the cloud was away ends long
    after it is back.
    """

    def __init__(self, chance: Callable[[], float], now: float, doubt: float = SHORTEST_DOUBT) -> None:
        """``chance`` gives numbers from 0 to less than 1, so that several launchers do not probe all at once.

        ``doubt`` is the time in seconds without success that a run of failures has to last.
        """
        self._chance = chance
        self._doubt = doubt
        self.circuit = Circuit.CLOSED
        self.since = now
        """When the cloud began to answer, or ceased to."""
        self.error = ""
        self.misconfigured = False
        self.next_try: float | None = None
        self._entered = now
        self._failures = 0
        self._doubted_since = now
        self._openings = 0

    @property
    def closed(self) -> bool:
        """Whether calls may begin."""
        return self.circuit is Circuit.CLOSED

    def probe(self, now: float) -> None:
        """The probe begins; to be called when :attr:`next_try` has come."""
        self.circuit, self.next_try, self._entered = Circuit.HALF_OPEN, None, now

    def put_off(self, until: float, began: float, now: float) -> None:
        """A call that began at ``began`` told nothing; if it was the probe, another one is due at ``until``."""
        if self.circuit is Circuit.HALF_OPEN and began >= self._entered:
            self.circuit, self.next_try, self._entered = Circuit.OPEN, until, now

    def ended(self, error: CloudError | None, began: float, now: float) -> bool:
        """A call ended; returns whether anything changed by that."""
        if began < self._entered or isinstance(error, _NEUTRAL):
            return False
        if error is None or isinstance(error, _ANSWERS):
            return self._answered(now)
        return self._failed(error, began, now)

    def _answered(self, now: float) -> bool:
        self._failures = 0
        self._doubted_since = now
        if self.closed:
            if now >= self.since + CALM:
                self._openings = 0
            return False
        self.circuit, self.next_try = Circuit.CLOSED, None
        self.since = self._entered = now
        return True

    def _failed(self, error: CloudError, began: float, now: float) -> bool:
        if self.closed:
            if not self._failures:
                self._doubted_since = max(self._doubted_since, began)
            self._failures += 1
            doubted_for = now - self._doubted_since
            doubtful = self._failures > 1 and doubted_for >= LONGEST_DOUBT
            fails = self._failures >= MOST_FAILURES and doubted_for >= self._doubt
            if not (isinstance(error, Misconfigured) or doubtful or fails):
                return False
            self.since = now
        self.circuit, self._entered, self._failures = Circuit.OPEN, now, 0
        self.error, self.misconfigured = str(error), isinstance(error, Misconfigured)
        self.next_try = now + self._pause()
        return True

    def _pause(self) -> float:
        pause = min(SHORTEST_PAUSE * 2.0 ** min(self._openings, 16), LONGEST_PAUSE)
        self._openings += 1
        return pause * (1 - self._chance() / 4)


def counts(error: CloudError | None) -> bool:
    """Whether an error says that the cloud as a whole does not work."""
    return error is not None and not isinstance(error, (*_ANSWERS, *_NEUTRAL))
