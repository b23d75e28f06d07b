"""What the last attempts tell of kinds of machines: where there was no capacity, and which ones come up. Pure.

A kind that was refused is closed for a while, longer each time. Then one request may try; if a machine of it comes up,
it is open again for all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

SHORTEST = 15.0
LONGEST = 240.0
"""Seconds for which a kind is closed."""

Offering = tuple[str, str | None, str]
"""Provider, zone (None if the cloud has none to choose from) and label."""


@dataclass(frozen=True, slots=True)
class _Closed:
    until: float
    refusals: int
    since: float
    """When the cloud refused last."""
    probing: bool = False


class Offerings:
    """Kinds of machines that are closed; all others are open. Times are epoch seconds."""

    def __init__(self) -> None:
        self._closed: dict[Offering, _Closed] = {}
        self._passed: dict[tuple[str, str], float] = {}

    def closed_until(self, offering: Offering) -> float:
        """When it may be tried, 0 if it is open."""
        closed = self._closed.get(offering)
        return closed.until if closed else 0.0

    def tried(self, offering: Offering, now: float) -> None:
        """A machine is about to be asked for: until it is known what comes of it, nobody else should."""
        closed = self._closed.get(offering)
        if closed is not None and closed.until <= now:
            self._closed[offering] = replace(closed, until=now + SHORTEST, probing=True)

    def refused(self, offering: Offering, now: float) -> float:
        """The cloud has no capacity for it; returns until when it is closed. While it is closed, others add nothing."""
        closed = self._closed.get(offering) or _Closed(0.0, 0, now)
        if closed.probing or now >= closed.until:
            pause = min(SHORTEST * 2**closed.refusals, LONGEST)
            closed = _Closed(now + pause, min(closed.refusals + 1, 8), now)
        self._closed[offering] = replace(closed, since=now)
        return closed.until

    def worked(self, offering: Offering, ordered: float) -> bool:
        """A machine of it came up that was ordered then; returns whether it is open again by that.

        What was ordered before the last refusal tells nothing.
        """
        closed = self._closed.get(offering)
        if closed is None or ordered < closed.since:
            return False
        del self._closed[offering]
        return True

    def passed(self, provider: str, label: str, now: float) -> None:
        """A machine of a label passed all that is asked of it before use."""
        self._passed[provider, label] = now

    def last_passed(self, provider: str, label: str) -> float:
        """When that was last, 0 if never."""
        return self._passed.get((provider, label), 0.0)
