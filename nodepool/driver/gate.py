"""When calls of a provider may begin: its circuit breaker, and the pauses for too many calls, taken together. Pure.

Times are seconds of one clock.
"""

from __future__ import annotations

from collections.abc import Callable

from nodepool.driver.breaker import Breaker, Circuit, Health
from nodepool.driver.errors import CloudError, RateLimited
from nodepool.driver.throttle import Throttle


class Gate:
    """See the module's description. While the breaker is not closed only the poll may begin, as its probe."""

    def __init__(self, chance: Callable[[], float], now: float, doubt: float, patience: float) -> None:
        """``chance`` and ``doubt`` are the breaker's; creations wait for ``patience`` while it is not closed."""
        self._breaker = Breaker(chance, now, doubt)
        self._throttle = Throttle()
        self._patience = patience
        self._pause_error = ""

    @property
    def error(self) -> str:
        """Why the provider was thought not to answer last."""
        return self._breaker.error

    def is_open(self, now: float) -> bool:
        """Whether calls other than the poll may begin."""
        return self._breaker.closed and not self.pauses(now)

    def pauses(self, now: float) -> bool:
        """Whether nothing may begin because there were too many calls."""
        return now < self._throttle.until

    def out_of_patience(self, now: float) -> bool:
        """Whether creations have waited long enough for a provider that does not answer."""
        return not self._breaker.closed and now >= self._breaker.since + self._patience

    def poll_due(self, wanted: float | None) -> float | None:
        """When the poll may begin that is ``wanted`` at that time, or not at all; None: not before a call has ended."""
        if self._breaker.circuit is Circuit.HALF_OPEN:
            return None
        due = wanted if self._breaker.next_try is None else self._breaker.next_try
        return None if due is None else max(due, self._throttle.until)

    def begin_poll(self, now: float) -> bool:
        """The poll begins at its time; returns whether it is a probe."""
        if not self._breaker.closed:
            self._breaker.probe(now)
            return True
        return False

    def ended(self, error: CloudError | None, began: float, now: float) -> bool:
        """A call ended that began at ``began``, or was given up; returns whether the provider is seen otherwise now."""
        if error is None:
            self._throttle.succeeded()
        return self._breaker.ended(error, began, now)

    def refused(self, error: RateLimited, began: float, now: float) -> None:
        """The cloud did not take a call that began at ``began``, because there are too many."""
        self._throttle.refused(error.retry_after, began, now)
        self._pause_error = str(error)
        self._breaker.put_off(self._throttle.until, began, now)

    def changes(self) -> list[float]:
        """Times at which a pause ends, or patience."""
        if self._breaker.closed:
            return [self._throttle.until]
        return [self._throttle.until, self._breaker.since + self._patience]

    def health(self, epoch: float) -> Health:
        """How the provider is; ``epoch`` is what makes epoch seconds of our times."""
        breaker, until = self._breaker, self._throttle.until
        return Health(
            breaker.circuit,
            breaker.since + epoch,
            breaker.error,
            None if breaker.next_try is None else breaker.next_try + epoch,
            until + epoch if until else 0.0,
            self._pause_error,
            breaker.misconfigured,
        )
