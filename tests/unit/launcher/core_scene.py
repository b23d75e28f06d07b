"""A decision core on a ZooKeeper in memory that does everything at once: what it asks of clouds and hosts is noted."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, TypeVar

from nodepool.daemon.events import CommitEnded, Configured, News, SessionChanged
from nodepool.daemon.instructions import Commit, Level, Say
from nodepool.launcher.events import Event, LimitsRead, ServersListed
from nodepool.launcher.instructions import Instruction, PublishPool, Purpose
from nodepool.launcher.reconciler import Reconciler
from nodepool.launcher.setup import Setup
from nodepool.model.component import Component
from nodepool.model.node import Node
from nodepool.model.record import Record
from nodepool.model.request import NodeRequest
from nodepool.model.resources import Resources
from nodepool.zk import paths
from nodepool.zk.memory import MemoryEnsemble
from nodepool.zk.store import (
    Batch,
    Committed,
    Connection,
    Create,
    Datum,
    Delete,
    Operation,
    Outcome,
    SessionChange,
    SetData,
    Uncertain,
)
from tests.unit.launcher.parts import NOW

ROOTS = (
    paths.NODES,
    paths.REQUESTS,
    paths.REQUEST_LOCKS,
    paths.IMAGES,
    paths.COMPONENTS,
    paths.ELECTIONS,
    paths.DRAINED,
)
I = TypeVar("I", bound=Instruction)  # noqa: E741


class CoreScene:
    """See the module's description. Everything is settled after each call."""

    def __init__(self, setup: Setup, ensemble: MemoryEnsemble | None = None) -> None:
        """``ensemble`` is what another launcher, which is gone, has left."""
        self.now = NOW
        self.ensemble = ensemble or MemoryEnsemble(lambda: self.now)
        self.asked: list[Instruction] = []
        self.before: dict[Purpose, Callable[[], object]] = {}
        """What others do just before the next transaction of a purpose."""
        self.lost: set[Purpose] = set()
        """Purposes of transactions whose answer is lost, though they are done."""
        self.news_held = False
        self._news: dict[str, Datum | None] = {}
        self._pools: dict[str, str] = {}
        for path in (paths.ROOT, *ROOTS, paths.components("launcher"), paths.components("pool")):
            if self.ensemble.read(path) is None:
                self.write(Create(path))
        self.session = self.ensemble.open_session()
        self.ensemble.commit([Create(f"{paths.components('launcher')}/us", b"{}", ephemeral=True)], self.session)
        self.core = Reconciler(random.Random(1))
        self.ensemble.subscribe(self._news.update)
        self.tell(Configured(setup), SessionChanged(SessionChange(Connection.CONNECTED, self.session)))
        self.tell(News(Batch(self.session, self.ensemble.tree(ROOTS), True)))
        for provider in setup.providers.values():
            if provider.stock is None:
                self.tell(LimitsRead(provider.name, Resources.limit({"instances": 10}), None))
                self.tell(ServersListed(provider.name, (), None, self.now, self.now))

    # What happens

    def tell(self, *events: Event) -> None:
        """Something has happened; all that follows from it at once is done."""
        todo = list(events)
        while todo or (self._news and not self.news_held):
            if self._news and not self.news_held:
                todo.append(News(Batch(self.session, dict(self._news), False)))
                self._news.clear()
            instructions = self.core.handle(todo, self.now)
            todo = []
            for instruction in instructions:
                todo.extend(self._carry_out(instruction))

    def wait(self, seconds: float) -> None:
        """Time passes, timer by timer."""
        end = self.now + seconds
        while (wake := self.core.next_wake()) is not None and wake <= end:
            self.now = max(self.now, wake)
            self._handle_now()
        self.now = end
        self._handle_now()

    def write(self, *operations: Operation, session: int = 0) -> str:
        """Somebody else writes; the path of the first operation."""
        outcome = self.ensemble.commit(operations, session)
        assert isinstance(outcome, Committed), outcome
        return str(outcome.results[0])

    def others(self, *operations: Operation, session: int = 0) -> None:
        """Somebody else writes, and the core learns of it."""
        self.write(*operations, session=session)
        self.tell()

    def put(self, record: Record) -> None:
        """Somebody else makes or replaces a record."""
        self.others(self.storing(record))

    def storing(self, record: Record) -> Operation:
        """The operation that makes or replaces a record."""
        if isinstance(record, Component):
            path = f"{paths.components('pool')}/{record.id}"
        elif isinstance(record, Node):
            path = paths.node(record.id)
        else:
            assert isinstance(record, NodeRequest)
            path = paths.request(record.id)
        data = record.to_json()
        return SetData(path, data, -1) if self.ensemble.read(path) else Create(path, data)

    # What there is

    def read(self, path: str) -> dict[str, Any]:
        """The record at a path, empty if there is none."""
        datum = self.ensemble.read(path)
        fields: dict[str, Any] = json.loads(datum.data) if datum is not None else {}
        return fields

    def node(self, node_id: str) -> dict[str, Any]:
        """A node's record."""
        return self.read(paths.node(node_id))

    def request(self, request_id: str) -> dict[str, Any]:
        """A request's record."""
        return self.read(paths.request(request_id))

    def children(self, path: str) -> tuple[str, ...]:
        """Names of children, sorted."""
        return tuple(sorted(self.ensemble.children(path) or ()))

    def last(self, kind: type[I]) -> I:
        """The last instruction of a kind."""
        return next(one for one in reversed(self.asked) if isinstance(one, kind))

    def complaints(self) -> list[str]:
        """Errors that were logged."""
        return [one.message for one in self.asked if isinstance(one, Say) and one.level is Level.ERROR]

    # Inside

    def _handle_now(self) -> None:
        todo: list[Event] = []
        for instruction in self.core.handle([], self.now):
            todo.extend(self._carry_out(instruction))
        self.tell(*todo)

    def _carry_out(self, instruction: Instruction) -> list[Event]:
        self.asked.append(instruction)
        if isinstance(instruction, Commit):
            action = self.before.pop(instruction.purpose, None)
            if action is not None:
                action()
            outcome: Outcome = self.ensemble.commit(instruction.operations, instruction.session)
            if instruction.purpose in self.lost:
                self.lost.remove(instruction.purpose)
                outcome = Uncertain.TIMED_OUT
            return [CommitEnded(instruction, outcome)]
        if isinstance(instruction, PublishPool):
            self._publish(instruction.launcher_id, instruction.component)
        return []

    def _publish(self, launcher_id: str, component: Component | None) -> None:
        path = f"{paths.components('pool')}/{launcher_id}"
        if component is None:
            self.write(Delete(path))
        else:
            self.write(self.storing(component.replace(hostname="us")))
