"""What a launcher sees at one moment, for the metrics; and the election of the one that tells statsd of all nodes.

Runs on the decision thread; no I/O. A census costs little more than a look at each request: nodes are counted as they
change, by the index.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from nodepool.daemon.events import CensusAsked
from nodepool.launcher.clouds import Cloud
from nodepool.launcher.instructions import Purpose
from nodepool.launcher.setup import PoolSetup
from nodepool.launcher.state import State
from nodepool.model.resources import Amount, Resources
from nodepool.model.states import RequestState
from nodepool.telemetry.facts import LauncherCensus, Outage, Use
from nodepool.zk import paths
from nodepool.zk.contenders import queue
from nodepool.zk.store import Create, Operation

ELECTION = "stats"
"""Name of the election, which Nodepool 11 has as well (spec zookeeper 2)."""
MOST_WAITING = 200
"""Requests of which a census says why they wait."""

_OPEN = (RequestState.REQUESTED, RequestState.PENDING)


def take(state: State, asked: CensusAsked) -> None:
    """Tell the metrics what is seen; nothing while the mirror is not in step, for then it is not to be relied on."""
    if not state.working:
        return
    elected = asked.reporter is not None and _is_elected(state, asked.reporter)
    pools = state.mirror.pools()
    clouds = {name: one for name, one in state.setup.providers.items() if one.stock is None}
    state.measure(
        LauncherCensus(
            lag=max(state.now - asked.asked, 0.0),
            elected=elected,
            nodes=state.index.counts(),
            labels=tuple(sorted({label for pool in pools for label in pool.supported_labels})),
            providers=tuple(sorted({pool.provider_name for pool in pools if pool.provider_name})),
            requests=_requests(state),
            oldest_request=_oldest_request(state),
            addressable=_addressable(state),
            max_servers=_max_servers(state),
            tenant_limits={tenant: limits.to_json() for tenant, limits in state.setup.tenant_limits.items()},
            use=tuple(_use(state)),
            answering={name: not state.clouds.get(name, Cloud()).health.away for name in clouds},
            outages=dict(_outages(state)),
            waiting=_waiting(state),
        )
    )


def _is_elected(state: State, identity: str) -> bool:
    """Whether we lead the election; takes part in it if we do not yet."""
    contenders = state.mirror.elections.get(ELECTION)
    order = queue(contenders or ())
    ours = state.our_contender(order)
    key = ("reporter", ELECTION)
    if ours is None and key not in state.busy and not state.stopping:
        directory = paths.election(ELECTION)
        make: tuple[Operation, ...] = () if contenders is not None else (Create(directory),)
        contender = f"{directory}/{state.contender_path}"
        state.commit(Purpose.REPORT, key, (*make, Create(contender, identity.encode(), ephemeral=True, sequence=True)))
    return ours is not None and order[0] == ours


def _requests(state: State) -> dict[tuple[str, str], int]:
    counts: Counter[tuple[str, str]] = Counter({(one.value, ""): 0 for one in RequestState})
    for request_id, entry in state.mirror.requests.items():
        if entry.record is not None:
            reason = state.why_waiting(request_id)
            counts[entry.record.state.value, reason.name.lower() if reason is not None else ""] += 1
    return dict(counts)


def _oldest_request(state: State) -> float:
    open_requests = (one.record for one in state.mirror.requests.values() if one.record and one.record.state in _OPEN)
    began = min((one.created_time for one in open_requests if one.created_time is not None), default=state.now)
    return max(state.now - began, 0.0)


def _waiting(state: State) -> dict[str, str]:
    """Why the first of those who wait do so, in the order of service."""
    first = islice(state.open_requests.in_order(lambda _: False), MOST_WAITING)
    reasons = ((request_id, state.why_waiting(request_id)) for request_id in first)
    return {request_id: reason.value for request_id, reason in reasons if reason is not None}


def _outages(state: State) -> Iterator[tuple[str, Outage]]:
    for name in state.setup.providers:
        health = state.clouds.get(name, Cloud()).health
        if health.away:
            yield name, Outage(health.since, health.error, health.next_try)
        elif health.paused_until > state.now:
            yield name, Outage(None, health.pause_error, health.paused_until)


def _addressable(state: State) -> dict[tuple[str, str], int]:
    """Requests, in any state, of which a registered pool has all labels (spec launcher 5)."""
    kinds = Counter(frozenset(entry.record.node_types) for entry in state.mirror.requests.values() if entry.record)
    found: Counter[tuple[str, str]] = Counter()
    for pool in state.mirror.pools():
        if pool.provider_name and pool.name:
            labels = set(pool.supported_labels)
            served = sum(count for wanted, count in kinds.items() if wanted <= labels)
            # Several launchers may have pools of one name, with different labels.
            key = (pool.provider_name, pool.name)
            found[key] = max(found[key], served)
    return dict(found)


def _max_servers(state: State) -> dict[str, Amount]:
    most: dict[str, Amount] = {}
    for name in state.setup.providers:
        limits = [pool.settings.limits for pool in state.setup.pools_of(name)]
        if limits and all("instances" in limit for limit in limits):
            most[name] = sum(limit["instances"] for limit in limits)
    return most


def _use(state: State) -> Iterator[Use]:
    """What is used of our providers and pools, and of how much."""
    for name, provider in state.setup.providers.items():
        if provider.stock is not None:
            continue
        cloud = state.clouds.get(name, Cloud())
        yield from _uses(name, "", state.index.used(name), cloud.foreign_use, cloud.limits)
    for pool in state.setup.pools.values():
        yield from _use_of_pool(state, pool)


def _use_of_pool(state: State, pool: PoolSetup) -> Iterator[Use]:
    used = state.index.used(*pool.key)
    yield from _uses(pool.provider.name, pool.settings.name, used, Resources(), pool.settings.limits)


def _uses(provider: str, pool: str, ours: Resources, others: Resources, limit: Resources | None) -> Iterator[Use]:
    names = {*ours.names(), *others.names(), *(limit.names() if limit is not None else ())}
    for name in sorted(names):
        allowed = limit[name] if limit is not None and name in limit else None
        yield Use(provider, pool, name, ours[name], others[name], allowed)
