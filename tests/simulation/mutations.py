"""A safety that is switched off, to see whether a simulation finds out; and those that all daemons have."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from nodepool.model import states
from nodepool.zk.store import Check, Committed, Delete, Operation, Outcome, SetData, Store


def _unchanged(part: Any) -> Any:
    return part


@dataclass(frozen=True, slots=True)
class Mutation:
    """How a run is made to fail."""

    missing: str
    """What is switched off, in words."""
    store: Callable[[Store], Store] = _unchanged
    """Changes the store of each daemon."""
    cloud: Callable[[Any], Any] = _unchanged
    """Changes each cloud, as the daemons see it."""
    patch: Callable[[], AbstractContextManager[object]] = nullcontext
    """Changes modules while it lasts."""


NO_MUTATION = Mutation("nothing")


class Unfenced(Store):
    """A store that writes whatever it is told, whoever knows what by now."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.session, self.contend, self.read = store.session, store.contend, store.read  # type: ignore[method-assign]
        self.children, self.listen, self.feed = store.children, store.listen, store.feed  # type: ignore[method-assign]

    def commit(self, operations: Sequence[Operation], done: Callable[[Outcome], None], session: int = 0) -> None:  # noqa: ARG002
        """Do all operations but checks, whatever the versions, in whichever session there is."""
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


def replaced(owner: ModuleType | type, name: str, replacement: Any) -> Callable[[], AbstractContextManager[None]]:
    """What replaces a name of a module or class while it lasts."""

    @contextmanager
    def patch() -> Iterator[None]:
        original = getattr(owner, name)
        setattr(owner, name, replacement)
        try:
            yield
        finally:
            setattr(owner, name, original)

    return patch


@contextmanager
def anything_may_follow() -> Iterator[None]:
    """No change of state is refused while it lasts."""
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


FENCING = Mutation("checks, versions and session ids of transactions", store=Unfenced)
TRANSITIONS = Mutation("the tables of allowed changes of state", patch=anything_may_follow)
