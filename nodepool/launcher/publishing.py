"""Keeps the components of our pools in step with the configuration and the queue (spec zookeeper 4.6).

Runs on the decision thread; no I/O.
"""

from __future__ import annotations

from nodepool.launcher import room
from nodepool.launcher.instructions import PublishPool
from nodepool.launcher.setup import PoolSetup
from nodepool.launcher.state import State
from nodepool.model.component import POOL, Component


def step(state: State) -> None:
    """Publish what changed."""
    wanted = (
        {} if state.stopping else {pool.launcher_id: _component(state, pool) for pool in state.setup.pools.values()}
    )
    for launcher_id in state.published.keys() - wanted.keys():
        del state.published[launcher_id]
        state.out.append(PublishPool(launcher_id, None))
    for launcher_id, component in wanted.items():
        if state.published.get(launcher_id) != component:
            state.published[launcher_id] = component
            state.out.append(PublishPool(launcher_id, component))


def _component(state: State, pool: PoolSetup) -> Component:
    return Component(
        kind=POOL,
        state="running",
        id=pool.launcher_id,
        name=pool.settings.name,
        provider_name=pool.provider.name,
        supported_labels=tuple(sorted(pool.settings.labels)),
        priority=pool.settings.priority,
        paused=pool.launcher_id in state.paused or room.is_drained(state, pool),
    )
