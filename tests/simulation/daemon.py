"""What every daemon of a simulation is: a process with an inbox and a decision core, on a store in memory."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from nodepool.daemon.events import Configured, News, SessionChanged
from nodepool.daemon.instructions import Commit
from nodepool.zk.memory import MemoryEnsemble, MemoryStore
from nodepool.zk.store import (
    Batch,
    ChildrenOutcome,
    ContendOutcome,
    Operation,
    Outcome,
    ReadOutcome,
    SessionChange,
    Store,
)
from tests.simulation.clock import Action, Clock

Crash = Callable[[str], bool]
"""Asked before and after each effect whether the process dies there."""


class Core(Protocol):
    """A decision core."""

    def handle(self, events: list[Any], now: float) -> list[Any]:
        """Take over what happened and say what is to be done."""

    def next_wake(self) -> float | None:
        """When to be called though nothing happens."""

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for and is done."""


class Effects(Protocol):
    """What carries out instructions."""

    def carry_out(self, instructions: Iterable[Any]) -> None:
        """Start everything."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a process is put into."""

    clock: Clock
    ensemble: MemoryEnsemble
    chance: random.Random
    crash: Crash = lambda _: False
    wrap: Callable[[Store], Store] = lambda store: store
    """Changes its store."""
    observe: Callable[[Any], None] = lambda _: None
    """Told each instruction before it is carried out."""
    count: Callable[[str], None] = lambda _: None
    """Told what happens."""
    session_timeout: float = 10.0
    """Seconds."""


class SimulatedDaemon:
    """A process. Dies when ``crash`` says so, and then does nothing any more."""

    reconciler: Core
    executor: Effects
    roots: tuple[str, ...]
    """Of its feed."""

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name = name
        self.clock = around.clock
        self.chance = around.chance
        self.alive = True
        self.frozen = False
        self.count = around.count
        self.slowness = 0.0
        """Most seconds that a decision may take beyond half a millisecond."""
        self._crash = around.crash
        self._observe = around.observe
        self.memory = MemoryStore(around.ensemble, self.clock.schedule, self.latency, around.session_timeout)
        self.store = around.wrap(_Edge(self, self.memory))
        self._inbox: list[Any] = []
        self._scheduled = False
        self._stopping = False
        self._wake_at: float | None = None
        self._held: list[Action] = []
        self._to_do: deque[Any] = deque()
        """Instructions of the last decision that are not carried out yet."""
        self._stall: float | None = None
        self._stalled = False

    def start(self) -> None:
        """Connect and begin to work."""
        self.memory.listen(lambda change: self.publish(SessionChanged(change)))
        self.memory.feed(self.roots, lambda batch: self.publish(News(batch)))
        self.memory.start()

    def stop(self) -> None:
        """SIGINT: finish in order, and end."""
        raise NotImplementedError

    def configure(self, setup: Any) -> None:
        """There is a new configuration."""
        self.publish(Configured(setup))

    def die(self) -> None:
        """SIGKILL."""
        if self.alive:
            self.alive = False
            self.memory.crash()

    def dies(self, where: str) -> bool:
        """Whether the process dies here; True also if it is dead already."""
        if self.alive and self._crash(where):
            self.die()
        return not self.alive

    def freeze(self) -> None:
        """SIGSTOP."""
        self.frozen = True
        self.memory.pause()

    def thaw(self) -> None:
        """SIGCONT."""
        if self.alive and self.frozen:
            self.frozen = False
            held, self._held = self._held, []
            for action in held:
                self.later(0.0, action)
            self.memory.resume()
            if self._stalled:
                # Other threads may come first, and with them a new session.
                self.later(self.chance.choice((0.0, 0.1)) * self.chance.random(), self._come_to)

    def stall(self, seconds: float) -> None:
        """Be frozen for ``seconds`` at the worst moment: when a transaction is decided and not yet sent."""
        self._stall = seconds

    def latency(self) -> float:
        """Seconds for one way between us and ZooKeeper."""
        return self.chance.random() * 0.004

    def later(self, delay: float, action: Action) -> None:
        """Run an action of this process."""
        self.clock.schedule(delay, partial(self._run, action))

    def publish(self, event: Any) -> None:
        """Give the decision core an event."""
        self._inbox.append(event)
        if not self._scheduled:
            self._scheduled = True
            self.later(0.0005 + self.chance.random() * self.slowness, self._decide)

    def _run(self, action: Action) -> None:
        if not self.alive:
            return
        if self.frozen:
            self._held.append(action)
        else:
            action()

    def _decide(self) -> None:
        if self._stalled:
            return
        self._scheduled = False
        events, self._inbox = self._inbox, []
        self._to_do.extend(self.reconciler.handle(events, self.clock.now))
        if self._stall is not None and any(isinstance(one, Commit) for one in self._to_do):
            self.count("frozen between decision and transaction")
            self.clock.schedule(self._stall, self.thaw)
            self._stall, self._stalled = None, True
            self.freeze()
            return
        self._carry_out()

    def _come_to(self) -> None:
        self._stalled = False
        self._carry_out()
        self._scheduled = True
        self.later(0.0, self._decide)

    def _carry_out(self) -> None:
        while self._to_do:
            if not self.alive:
                return
            instruction = self._to_do.popleft()
            self._observe(instruction)
            self.executor.carry_out([instruction])
        self._wake()
        if self._stopping and self.reconciler.stopped:
            self._end()

    def _wake(self) -> None:
        at = self.reconciler.next_wake()
        if at is None or (self._wake_at is not None and self.clock.now < self._wake_at <= at):
            return
        self._wake_at = at
        self.later(at - self.clock.now, self._decide_if_idle)

    def _decide_if_idle(self) -> None:
        if not self._scheduled and not self._stalled:
            self._scheduled = True
            self._decide()

    def _finish(self, order: Any, longest: float) -> None:
        """Take the order to stop; after ``longest`` seconds, end in any case."""
        self._stopping = True
        self.publish(order)
        self.later(longest, self._end)

    def _end(self) -> None:
        if self.alive:
            self.alive = False
            self.memory.close()


class _Edge:
    """A store whose process may die before and after it sends a transaction."""

    def __init__(self, process: SimulatedDaemon, store: MemoryStore) -> None:
        self._process = process
        self._store = store

    def session(self) -> int:
        return self._store.session()

    def commit(self, operations: Sequence[Operation], done: Callable[[Outcome], None], session: int = 0) -> None:
        if self._process.dies("before a transaction"):
            return
        self._store.commit(operations, done, session)
        self._process.dies("after a transaction")

    def contend(
        self, directory: str, identifier: bytes, done: Callable[[ContendOutcome], None], session: int = 0
    ) -> None:
        self._store.contend(directory, identifier, done, session)

    def read(self, paths: Sequence[str], done: Callable[[ReadOutcome], None]) -> None:
        self._store.read(paths, done)

    def children(self, path: str, done: Callable[[ChildrenOutcome], None]) -> None:
        self._store.children(path, done)

    def listen(self, listener: Callable[[SessionChange], None]) -> None:
        self._store.listen(listener)

    def feed(self, roots: Iterable[str], publish: Callable[[Batch], None]) -> None:
        self._store.feed(tuple(roots), publish)
