"""Safeties of the launcher that can be switched off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nodepool.driver.adapter import Server
from nodepool.launcher import keeping, leftovers, losses
from nodepool.launcher.clouds import Cloud
from nodepool.launcher.events import LeftoversFound
from nodepool.launcher.lifecycle import Launch
from nodepool.launcher.state import State
from nodepool.model.node import Node
from nodepool.zk.store import Delete, Operation
from tests.simulation.launchers.clouds import SimulatedAdapter
from tests.simulation.mutations import FENCING, TRANSITIONS, Mutation, replaced

_find, _hold = leftovers.found, keeping._hold


def _hide_tags(adapter: SimulatedAdapter) -> SimulatedAdapter:
    list_servers = adapter.list_servers

    def untagged(deadline: float) -> Sequence[Server]:
        return [replace(server, tags={}) for server in list_servers(deadline)]

    adapter.list_servers = untagged  # type: ignore[method-assign]
    return adapter


def _remove_at_first_sight(state: State, event: LeftoversFound) -> None:
    cloud = state.clouds.setdefault(event.provider, Cloud())
    cloud.leftovers.update(((one.kind, one.external_id), 0.0) for one in event.leftovers)
    _find(state, event)


def _hold_without_lock(state: State, launch: Launch, node: Node, lock: str) -> tuple[Operation, ...]:
    return tuple(one for one in _hold(state, launch, node, lock) if not isinstance(one, Delete))


LEFTOVERS = Mutation(
    "the age, and the second sighting, of what is taken for left over",
    patch=replaced(leftovers, "found", _remove_at_first_sight),
)
MUTATIONS = {
    "fencing": FENCING,
    "transitions": TRANSITIONS,
    "tags": Mutation("tags of listed servers", cloud=_hide_tags),
    "leftovers": LEFTOVERS,
    "keeping": Mutation(
        "the lock of a node that is to be held for study", patch=replaced(keeping, "_hold", _hold_without_lock)
    ),
    "losses": Mutation(
        "the end of ready nodes whose machines have died",
        patch=replaced(losses, "is_lost", lambda _state, _node, _provider: False),
    ),
    "replacing": Mutation(
        "the end of the oldest node that is held for study",
        patch=replaced(keeping, "is_replaced", lambda _state, _node: False),
    ),
}
