"""Rate limits of an API: a bucket of permits per limit. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tools.cloud.faults import matches


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most ``rate`` calls per second of the kinds ``calls``, with bursts of ``burst``; the rest is refused."""

    rate: float
    burst: int = 1
    calls: tuple[str, ...] = ("*",)
    status: int = 429
    retry_after: bool = True
    """Whether the refusal says when to come back."""


@dataclass(slots=True)
class _Bucket:
    limit: RateLimit
    permits: float
    filled: float


class RateLimiter:
    """The limits of one region."""

    def __init__(self, limits: tuple[RateLimit, ...], now: float) -> None:
        self._buckets = [_Bucket(limit, limit.burst, now) for limit in limits]
        self._by_kind: dict[str, list[_Bucket]] = {}

    def refusal(self, kind: str, now: float) -> tuple[RateLimit, float] | None:
        """Take a permit for a call of this kind; else the limit that is reached and seconds until the next permit."""
        buckets = self._by_kind.get(kind)
        if buckets is None:
            buckets = self._by_kind[kind] = [entry for entry in self._buckets if matches(kind, entry.limit.calls)]
        for bucket in buckets:
            limit = bucket.limit
            bucket.permits = min(limit.burst, bucket.permits + (now - bucket.filled) * limit.rate)
            bucket.filled = now
            if bucket.permits < 1:
                return limit, (1 - bucket.permits) / limit.rate
        for bucket in buckets:
            bucket.permits -= 1
        return None
