"""Which zone a request is served in: one that the pool may use and that has not just refused (spec launcher 3.1).

Runs on the decision thread; no I/O. All nodes of a request are in one zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nodepool.launcher.setup import PoolSetup
from nodepool.launcher.state import State


def of_pool(pool: PoolSetup) -> Sequence[str | None]:
    """The zones that a pool may use; only None if the cloud has none to choose from.

    Of those that the pool names, the ones count that the cloud has, unless it has none of them.
    """
    named, known = pool.settings.availability_zones, pool.provider.zones()
    return sorted([zone for zone in named if zone in known] or named or known) or [None]


def closed_until(state: State, pool: PoolSetup, labels: Iterable[str], zone: str | None) -> float:
    """When machines of all the labels may be tried in a zone (epoch seconds), 0 or the past for now."""
    provider = pool.provider.name
    return max((state.offerings.closed_until((provider, zone, label)) for label in labels), default=0.0)


def choose(state: State, pool: PoolSetup, labels: Sequence[str], zone: str | None) -> tuple[float, str | None]:
    """Choose a zone for machines of the labels by chance, unless ``zone`` binds us.

    Returns 0 and the zone, where the caller is going to try: of what was closed, nobody else should before it is known
    what came of it. Where all is closed, returns the time at which something may be tried (epoch seconds), and no zone.
    """
    zones = [zone] if zone is not None else of_pool(pool)
    times = {one: closed_until(state, pool, labels, one) for one in zones}
    able = [one for one in zones if times[one] <= state.now]
    if not able:
        return min(times.values()), None
    chosen = state.chance.choice(able)
    for label in labels:
        state.offerings.tried((pool.provider.name, chosen, label), state.now)
    return 0.0, chosen
