"""Switches a safety of the launcher off, to see whether the simulation finds out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from types import ModuleType
from typing import Any

from nodepool.driver.adapter import Server
from nodepool.launcher import keeping, leftovers
from nodepool.launcher.clouds import Cloud
from nodepool.launcher.events import LeftoversFound
from nodepool.launcher.lifecycle import Launch
from nodepool.launcher.state import State
from nodepool.model import states
from nodepool.model.node import Node
from nodepool.zk.store import Check, Committed, Delete, Operation, Outcome, SetData, Store
from tests.simulation.clouds import SimulatedAdapter
from tests.simulation.world import Tampering


class Mutation(Enum):
    """What is switched off."""

    NONE = "none"
    FENCING = "fencing"
    """Checks, versions and session ids of transactions."""
    TAGS = "tags"
    """Tags of listed servers."""
    TRANSITIONS = "transitions"
    """The tables of allowed changes of state."""
    LEFTOVERS = "leftovers"
    """The age, and the second sighting, of what is taken for left over."""
    KEEPING = "keeping"
    """The lock of a node that is to be held for study."""
    REPLACING = "replacing"
    """The end of the oldest node that is held for study."""


@contextmanager
def applied(mutation: Mutation) -> Iterator[Tampering]:
    """The tampering that a mutation needs; modules are changed while it lasts."""
    if mutation is Mutation.FENCING:
        yield Tampering(store=_Unfenced)
    elif mutation is Mutation.TAGS:
        yield Tampering(adapter=_hide_tags)
    elif mutation is Mutation.TRANSITIONS:
        with _anything_may_follow():
            yield Tampering()
    elif mutation is Mutation.LEFTOVERS:
        with _replaced(leftovers, "found", _remove_at_first_sight):
            yield Tampering()
    elif mutation is Mutation.KEEPING:
        with _replaced(keeping, "_hold", _hold_without_lock):
            yield Tampering()
    elif mutation is Mutation.REPLACING:
        with _replaced(keeping, "is_replaced", lambda _state, _node: False):
            yield Tampering()
    else:
        yield Tampering()


class _Unfenced(Store):
    """A store that writes whatever it is told, whoever knows what by now."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.session, self.contend, self.read = store.session, store.contend, store.read  # type: ignore[method-assign]
        self.children, self.listen, self.feed = store.children, store.listen, store.feed  # type: ignore[method-assign]

    def commit(self, operations: Sequence[Operation], done: Callable[[Outcome], None], session: int = 0) -> None:  # noqa: ARG002
        kept = [_without_version(operation) for operation in operations if not isinstance(operation, Check)]

        def complete(outcome: Outcome) -> None:
            if isinstance(outcome, Committed):
                results = iter(outcome.results)
                told = tuple(None if isinstance(one, Check) else next(results) for one in operations)
                outcome = replace(outcome, results=told)
            done(outcome)

        self._store.commit(kept, complete)


def _without_version(operation: Operation) -> Operation:
    return replace(operation, version=-1) if isinstance(operation, SetData | Delete) else operation


def _hide_tags(adapter: SimulatedAdapter) -> SimulatedAdapter:
    list_servers = adapter.list_servers

    def untagged(deadline: float) -> Sequence[Server]:
        return [replace(server, tags={}) for server in list_servers(deadline)]

    adapter.list_servers = untagged  # type: ignore[method-assign]
    return adapter


@contextmanager
def _replaced(module: ModuleType, name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, replacement)
    try:
        yield
    finally:
        setattr(module, name, original)


_find, _hold = leftovers.found, keeping._hold


def _remove_at_first_sight(state: State, event: LeftoversFound) -> None:
    cloud = state.clouds.setdefault(event.provider, Cloud())
    cloud.leftovers.update(((one.kind, one.external_id), 0.0) for one in event.leftovers)
    _find(state, event)


def _hold_without_lock(state: State, launch: Launch, node: Node, lock: str) -> tuple[Operation, ...]:
    return tuple(one for one in _hold(state, launch, node, lock) if not isinstance(one, Delete))


@contextmanager
def _anything_may_follow() -> Iterator[None]:
    replaced: list[tuple[Any, str, Any]] = []
    replacements = {"may_follow": lambda _old, _new: True, "check_transition": lambda _old, _new: None}
    for module in [one for name, one in sys.modules.items() if name.startswith("nodepool.")]:
        for name in replacements:
            if getattr(module, name, None) is getattr(states, name):
                replaced.append((module, name, getattr(module, name)))
    for module, name, _ in replaced:
        setattr(module, name, replacements[name])
    try:
        yield
    finally:
        for module, name, original in replaced:
            setattr(module, name, original)
