"""What our pools can give at this moment, taken together from records, limits and clouds.

Runs on the decision thread; no I/O. A pass of admission begins with it, and so does every other question whether
something more may be launched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from nodepool.driver.errors import BadLabel
from nodepool.launcher import images, session
from nodepool.launcher.capacity import PoolCapacity, ProviderCapacity, Room
from nodepool.launcher.clouds import Cloud
from nodepool.launcher.setup import PoolSetup, ProviderSetup
from nodepool.launcher.state import State
from nodepool.model.node import Node
from nodepool.model.reasons import DeclineReason, WaitReason
from nodepool.model.resources import Resources


def capacities_of_pools(state: State) -> dict[str, PoolCapacity]:
    """Our registered pools by launcher id, best priority first, with what they can give now."""
    registered = {pool.id for pool in state.mirror.pools()}
    providers: dict[str, ProviderCapacity] = {}
    taken: set[str] = set()
    capacities: dict[str, PoolCapacity] = {}
    for pool in sorted(state.setup.pools.values(), key=lambda pool: pool.settings.priority):
        if pool.launcher_id not in registered:
            continue
        name = pool.provider.name
        if name not in providers:
            providers[name] = _provider_capacity(state, pool.provider)
        capacities[pool.launcher_id] = PoolCapacity(
            pool=pool,
            free=_nothing if is_drained(state, pool) else partial(state.index.free, pool.key),
            room=_pool_room(state, pool),
            provider=providers[name],
            blocked=_blocked(state, pool),
            is_busy=lambda node_id: ("node", node_id) in state.busy,
            taken=taken,
        )
    return capacities


def is_drained(state: State, pool: PoolSetup) -> bool:
    """Whether somebody has asked that the pool's provider, or this launcher, takes nothing new."""
    drained = state.mirror.drained
    if not drained:
        return False
    hosts = {f"launcher/{one.hostname}" for one in state.mirror.pools() if one.id == pool.launcher_id}
    return f"provider/{pool.provider.name}" in drained or not hosts.isdisjoint(drained)


def limits_of(state: State, pool: PoolSetup) -> Resources:
    """All that a pool could ever use, with its provider's limits as far as known."""
    cloud = state.clouds.setdefault(pool.provider.name, Cloud())
    if cloud.limits is None or pool.settings.ignore_provider_quota:
        return pool.settings.limits
    return pool.settings.limits.both(cloud.limits.remaining(cloud.foreign_use))


def label_problem(state: State, pool: PoolSetup, name: str) -> DeclineReason | None:
    """Why a label that the pool has cannot be used: broken, or without image."""
    if pool.provider.stock is not None:
        return None
    if state.broken_labels.get((pool.provider.name, name), 0.0) > state.now:
        return DeclineReason.LABEL_BROKEN
    try:
        pool.provider.cost(pool.settings.name, name)
    except BadLabel:
        return DeclineReason.LABEL_BROKEN
    label = pool.settings.labels[name]
    image = images.of_label(state.mirror, pool.provider.name, label)
    return DeclineReason.IMAGE_MISSING if image is None else None


def what_is_broken(pool: PoolSetup, labels: Iterable[str]) -> str:
    """What a pool's driver says of the first of these labels that cannot work; empty if it says nothing."""
    for name in labels:
        try:
            pool.provider.cost(pool.settings.name, name)
        except BadLabel as error:
            return str(error)
    return ""


def room_for(state: State, capacities: Mapping[str, PoolCapacity], label: str, most: int) -> int:
    """How many nodes of a label, up to ``most``, our pools could launch for stock now (spec launcher 2.8, step 4).

    ``capacities`` are those of now. Stock is not asked for where a request waits for room: it would only take the room
    away again.
    """
    found = 0
    for launcher_id, capacity in capacities.items():
        pool = capacity.pool
        if launcher_id in state.crowded or pool.provider.name in state.short_of_quota:
            continue
        if pool.label(label) is None or pool.provider.stock is not None or pool.settings.disabled:
            continue
        problem = label_problem(state, pool, label)
        if problem is DeclineReason.LABEL_BROKEN:
            session.look_again(state, pool.provider.name)
        if problem is None:
            found += capacity.room_for(label, most - found)
    return found


def _nothing(_: str) -> Iterable[Node]:
    return ()


def _blocked(state: State, pool: PoolSetup) -> WaitReason | None:
    if is_drained(state, pool):
        return WaitReason.DRAINED
    if pool.provider.stock is not None:
        return None
    cloud = state.clouds.setdefault(pool.provider.name, Cloud())
    if cloud.health.away:
        return WaitReason.CLOUD_AWAY
    if cloud.refused_until > state.now and pool.settings.ignore_provider_quota:
        return WaitReason.CLOUD_REFUSES
    if (cloud.limits is None or not cloud.list_began) and not pool.settings.ignore_provider_quota:
        return WaitReason.LIMITS_UNKNOWN
    return None


def _pool_room(state: State, pool: PoolSetup) -> Room:
    """What the pool's own limits leave, with what is under way."""
    limits, used = pool.settings.limits, state.index.used(*pool.key)
    cloud = state.clouds.setdefault(pool.provider.name, Cloud())
    believed = limits.both(_ceiling(state, cloud, pool.settings.name))
    planned = Resources.total(plan.need for plan in state.planned.values() if plan.pool == pool.key)
    return Room(believed.remaining(used).remaining(planned), limits.remaining(state.index.held(*pool.key)))


def _provider_capacity(state: State, provider: ProviderSetup) -> ProviderCapacity:
    """What the provider's limits leave: limit, less foreign use, less ours (spec launcher 2.6)."""
    cloud = state.clouds.setdefault(provider.name, Cloud())
    limits = (cloud.limits or Resources.limit({})).remaining(cloud.foreign_use)
    believed = limits.both(_ceiling(state, cloud, None))
    plans = [plan for plan in state.planned.values() if plan.pool[0] == provider.name]
    planned = Resources.total(plan.need for plan in plans)
    strays = Resources.total(use for node_id, use in cloud.strays.items() if node_id not in state.mirror.nodes)
    used = Resources.total((strays, state.index.used(provider.name), planned))
    room = Room(believed.remaining(used), limits.remaining(state.index.held(provider.name)))
    most = provider.settings.max_concurrency
    if most is None:
        return ProviderCapacity(room)
    return ProviderCapacity(room, most - state.launching(provider.name) - sum(plan.launches for plan in plans))


def _ceiling(state: State, cloud: Cloud, pool: str | None) -> Resources:
    """What a cloud is believed to have room for after it refused: in all, or in one pool."""
    believed = cloud.ceilings.get(pool)
    allowed = believed.allows(state.now) if believed else None
    if believed is None or allowed is None:
        cloud.ceilings.pop(pool, None)
        return Resources.limit({})
    state.wake_by(believed.next_rise(state.now), "admission")
    return Resources.limit({"instances": max(allowed, 0)})
