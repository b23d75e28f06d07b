"""The two worlds in which the contract of a store is tested: a real ZooKeeper, and the one in memory."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from nodepool.zk.memory import MemoryEnsemble, MemoryStore
from nodepool.zk.session import KazooStore
from nodepool.zk.store import (
    Batch,
    Committed,
    Connection,
    Create,
    Datum,
    Operation,
    Outcome,
    SessionChange,
    Store,
)
from tests.zookeeper import Place, cut, eventually, expire


class World(Protocol):
    """What a contract test needs besides the stores."""

    def store(self) -> Store:
        """A store that is connected."""

    def until(self, condition: Callable[[], object]) -> None:
        """Let time pass until ``condition`` is true; fail if it never is."""

    def expire(self, store: Store) -> None:
        """End the session of a store; it learns of it soon."""

    def interrupt(self, store: Store) -> None:
        """Break the connection of a store; it comes back soon with the same session."""

    def close(self, store: Store) -> None:
        """Close a store in order."""


class RealWorld:
    """Stores on a real ZooKeeper."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stores: list[KazooStore] = []

    def store(self) -> Store:
        store = self._place.store()
        self._stores.append(store)
        store.start()
        assert store.wait_connected(20), store.trouble()
        return store

    def until(self, condition: Callable[[], object]) -> None:
        eventually(condition)

    def expire(self, store: Store) -> None:
        assert isinstance(store, KazooStore)
        expire(store)

    def interrupt(self, store: Store) -> None:
        assert isinstance(store, KazooStore)
        cut(store)

    def close(self, store: Store) -> None:
        assert isinstance(store, KazooStore)
        store.close()

    def end(self) -> None:
        """Close everything."""
        for store in self._stores:
            store.close()


class MemoryWorld:
    """Stores in memory, in virtual time."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 1_700_000_000.0
        self._actions: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._random = random.Random(seed)
        self.ensemble = MemoryEnsemble(lambda: self.now)

    def store(self) -> MemoryStore:
        store = MemoryStore(self.ensemble, self.schedule, self.latency)
        store.start()
        self.until(store.session)
        return store

    def schedule(self, delay: float, action: Callable[[], None]) -> None:
        """Run ``action`` after ``delay`` seconds of virtual time."""
        heapq.heappush(self._actions, (self.now + delay, next(self._order), action))

    def latency(self) -> float:
        """Seconds that a message takes."""
        return self._random.uniform(0.0001, 0.01)

    def step(self) -> bool:
        """Run the next action; False if there is none."""
        if not self._actions:
            return False
        self.now, _, action = heapq.heappop(self._actions)
        action()
        return True

    def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            assert self.step() or condition(), f"never: {condition}"

    def settle(self) -> None:
        """Run everything that is to come."""
        while self.step():
            pass

    def expire(self, store: Store) -> None:
        self.ensemble.expire(store.session(), notice=self.latency())

    def interrupt(self, store: Store) -> None:
        assert isinstance(store, MemoryStore)
        store.disconnect()
        self.schedule(0.1, store.reconnect)

    def close(self, store: Store) -> None:
        assert isinstance(store, MemoryStore)
        store.close()


class Caller:
    """Calls a store and waits for the outcomes; remembers the changes of its session."""

    def __init__(self, world: World, store: Store | None = None) -> None:
        self.world = world
        self.store = store or world.store()
        self.changes: list[SessionChange] = []
        self.store.listen(self.changes.append)

    @property
    def connections(self) -> list[Connection]:
        """The states that were told."""
        return [change.connection for change in self.changes]

    def call(self, method: Callable[..., None], *arguments: Any, **options: Any) -> Any:
        """The outcome of one call."""
        outcomes: list[Any] = []
        method(*arguments, outcomes.append, **options)
        self.world.until(lambda: outcomes)
        return outcomes[0]

    def commit(self, *operations: Operation, session: int = 0) -> Outcome:
        """Outcome of a transaction."""
        outcome: Outcome = self.call(self.store.commit, operations, session=session)
        return outcome

    def must(self, *operations: Operation) -> Committed:
        """A transaction that is done."""
        outcome = self.commit(*operations)
        assert isinstance(outcome, Committed), outcome
        return outcome

    def make(self, *paths: str) -> None:
        """Create these znodes, empty."""
        for path in paths:
            self.must(Create(path))

    def read(self, path: str) -> Datum | None:
        """What a znode holds."""
        found: dict[str, Datum | None] = self.call(self.store.read, [path])
        return found[path]

    def children(self, path: str) -> Any:
        """Outcome of ``children``."""
        return self.call(self.store.children, path)

    def contend(self, directory: str, identifier: bytes = b"", session: int = 0) -> Any:
        """Outcome of ``contend``."""
        return self.call(self.store.contend, directory, identifier, session=session)

    def tree(self, root: str) -> dict[str, Datum]:
        """All znodes at and below ``root``, read one by one."""
        datum = self.read(root)
        found = {} if datum is None else {root: datum}
        for name in sorted(self.children(root)) if found else ():
            found |= self.tree(f"{root}/{name}")
        return found


class Follower:
    """What a feed has told so far."""

    def __init__(self, store: Store, roots: Sequence[str], changed: Callable[[], None] = lambda: None) -> None:
        self.batches: list[Batch] = []
        self.znodes: dict[str, Datum] = {}
        self._changed = changed
        store.feed(roots, self._take)

    def data(self) -> dict[str, bytes]:
        """Path to data of all znodes."""
        return {path: datum.data for path, datum in self.znodes.items()}

    def _take(self, batch: Batch) -> None:
        if batch.complete:
            self.znodes.clear()
        for path, datum in batch.entries.items():
            if datum is None:
                self.znodes.pop(path, None)
            else:
                self.znodes[path] = datum
        self.batches.append(batch)
        self._changed()
