"""Clouds of a simulation: an adapter on a fake cloud, and calls that take their time without threads."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nodepool.driver.adapter import CloudAdapter, Leftover, Server, ServerOrder
from nodepool.driver.breaker import Breaker, Health
from nodepool.driver.call_pool import CallLimits
from nodepool.driver.call_queue import CallQueue, Lane
from nodepool.driver.errors import BadLabel, CloudError, NotBegun, NotFound, UnknownOutcome
from nodepool.launcher.events import (
    CreateEnded,
    DeleteEnded,
    Event,
    FinishEnded,
    HealthChanged,
    LeftoverRemoved,
    LeftoversFound,
    LimitsRead,
    ServersListed,
)
from nodepool.launcher.instructions import (
    CancelCreate,
    CreateServer,
    DeleteServer,
    FinishServer,
    ReadConsole,
    RemoveLeftover,
)
from nodepool.model.resources import Resources
from tests.simulation.launchers.project import Project, complete

if TYPE_CHECKING:
    from tests.simulation.launchers.process import SimulatedLauncher

DEADLINE = 60.0
PATIENCE = CallLimits().patience


class SimulatedAdapter(CloudAdapter):
    """A provider's view of a project. ``costs`` are by label; ``floating`` servers need a floating address each."""

    threads: int | None = None
    """Calls at a time; None to leave it to chance."""

    def __init__(
        self,
        name: str,
        project: Project,
        costs: Mapping[str, Resources],
        poll_interval: float = 1.0,
        floating: bool = False,
    ) -> None:
        self.name = name
        self.project = project
        self.cloud = cloud = project.cloud
        self.floating = floating
        self.poll_interval = poll_interval
        self.list_lag = cloud.settings.list_lag
        self.uncertain: set[str] = set()
        """Nodes with a creation of unknown outcome."""
        self._costs = costs

    def list_servers(self, deadline: float) -> Sequence[Server]:  # noqa: ARG002
        """All servers of the cloud."""
        return [complete(server, self.project) for server in self.cloud.list()]

    def create_server(self, order: ServerOrder, deadline: float) -> Any:  # noqa: ARG002
        """Start making a server."""
        self.project.check_room(order.az)
        try:
            external_id = self.cloud.create(order.tags, self.cost(order.pool, order.label), order.az)
        except UnknownOutcome:
            self.uncertain.add(order.node_id)
            raise
        self.project.made(external_id)
        return external_id

    def delete_server(self, external_id: Any, deadline: float) -> None:  # noqa: ARG002
        """Start deleting a server."""
        self.cloud.delete(external_id)
        self.project.deleted(external_id)

    def is_finished(self, pool: str, server: Server) -> bool:  # noqa: ARG002
        """Whether it has a floating address, if it needs one."""
        return not self.floating or server.public_ipv4 is not None

    def finish_server(self, pool: str, server: Server, deadline: float) -> Server:  # noqa: ARG002
        """Give it a floating address."""
        address = self.project.give(str(server.external_id))
        return replace(server, interface_ip=address, public_ipv4=address)

    def leftovers(self, deadline: float) -> Sequence[Leftover]:  # noqa: ARG002
        """What servers that are gone have left."""
        return tuple(self.project.leftovers(self.name))

    def remove_leftover(self, leftover: Leftover, deadline: float) -> None:  # noqa: ARG002
        """Remove it."""
        self.project.remove(leftover)

    def cost(self, pool: str, label: str) -> Resources:
        """Use of one node."""
        if label not in self._costs:
            raise BadLabel(f"the pool '{pool}' cannot make '{label}'")
        return self._costs[label]

    def limits(self, deadline: float) -> Resources:  # noqa: ARG002
        """The cloud's quota."""
        return self.cloud.limits()


Ended = Callable[[Any, CloudError | None], Event] | None
"""Makes the event of what came of a call."""


@dataclass(frozen=True, slots=True)
class _Call:
    do: Callable[[], Any]
    ended: Ended


class SimulatedCloud:
    """A provider's adapter as the executor sees it: few calls at a time, in turn, and none while it does not answer."""

    def __init__(self, process: SimulatedLauncher, name: str, adapter: SimulatedAdapter) -> None:
        self._process = process
        self._name = name
        self._adapter = adapter
        self._next_list = 0.0
        self._queue: CallQueue[_Call] = CallQueue()
        self._under_way = 0
        self._threads = adapter.threads or process.chance.choice((1, 4))
        self._breaker = Breaker(process.chance.random, process.clock.now)

    def create(self, instruction: CreateServer) -> None:
        """Make a server."""
        order = instruction.order

        def ended(external_id: Any, error: CloudError | None) -> Event:
            now = self._process.clock.now
            return CreateEnded(self._name, order.node_id, instruction.attempt, external_id, error, now)

        key = (order.node_id, instruction.attempt)
        self._submit(Lane.CREATE, key, _Call(lambda: self._adapter.create_server(order, DEADLINE), ended))

    def cancel_create(self, instruction: CancelCreate) -> None:
        """Do not make a server."""
        call = self._queue.remove(Lane.CREATE, (instruction.node_id, instruction.attempt))
        if call is not None:
            self._refuse(call)

    def finish(self, instruction: FinishServer) -> None:
        """Complete a server."""

        def ended(server: Any, error: CloudError | None) -> Event:
            return FinishEnded(self._name, instruction.node_id, instruction.attempt, server, error)

        def do() -> Any:
            return self._adapter.finish_server(instruction.pool, instruction.server, DEADLINE)

        self._submit(Lane.OTHER, ("finish", instruction.node_id, instruction.attempt), _Call(do, ended))

    def delete(self, instruction: DeleteServer) -> None:
        """Delete a server."""

        def ended(_: Any, error: CloudError | None) -> Event:
            error = None if isinstance(error, NotFound) else error
            now = self._process.clock.now
            return DeleteEnded(self._name, instruction.node_id, instruction.external_id, error, now)

        key = (instruction.node_id, str(instruction.external_id))
        self._submit(
            Lane.DELETE, key, _Call(lambda: self._adapter.delete_server(instruction.external_id, DEADLINE), ended)
        )

    def list_servers(self, at: float) -> None:
        """List the servers, at most once per poll interval."""
        delay = max(at, self._next_list) - self._process.clock.now
        self._process.later(delay, self._list)

    def read_limits(self) -> None:
        """Ask for the limits."""

        def ended(limits: Any, error: CloudError | None) -> Event:
            return LimitsRead(self._name, limits, error)

        self._submit(Lane.OTHER, "limits", _Call(lambda: self._adapter.limits(DEADLINE), ended))

    def find_leftovers(self) -> None:
        """Look for leftovers."""

        def ended(leftovers: Any, error: CloudError | None) -> Event:
            return LeftoversFound(self._name, tuple(leftovers or ()), error, self._process.clock.now)

        self._submit(Lane.OTHER, "leftovers", _Call(lambda: self._adapter.leftovers(DEADLINE), ended))

    def remove_leftover(self, instruction: RemoveLeftover) -> None:
        """Remove one, unless it is too late."""
        leftover = instruction.leftover

        def ended(_: Any, error: CloudError | None) -> Event:
            return LeftoverRemoved(self._name, error)

        def do() -> None:
            if self._process.clock.now < instruction.until:
                self._adapter.remove_leftover(leftover, DEADLINE)

        self._submit(Lane.DELETE, (leftover.kind, leftover.external_id), _Call(do, ended))

    def read_console(self, instruction: ReadConsole) -> None:
        """Nobody reads it here."""

    # The calls

    def _submit(self, lane: Lane, key: Hashable, call: _Call) -> None:
        if lane is Lane.CREATE and self._out_of_patience():
            self._refuse(call)
            return
        self._queue.add(lane, key, call)
        self._serve()

    def _serve(self) -> None:
        while self._process.alive and self._breaker.closed and self._under_way < self._threads:
            call = self._queue.next()
            if call is None:
                return
            self._under_way += 1
            self._make(call, counts=True)

    def _list(self) -> None:
        """A list that is asked for while the cloud does not answer is answered by the probe."""
        if self._breaker.closed:
            self._list_now()

    def _list_now(self) -> None:
        began = self._process.clock.now
        self._next_list = began + self._adapter.poll_interval

        def ended(servers: Any, error: CloudError | None) -> Event:
            return ServersListed(self._name, tuple(servers or ()), error, began, self._process.clock.now)

        self._make(_Call(lambda: self._adapter.list_servers(DEADLINE), ended), counts=False)

    def _make(self, call: _Call, *, counts: bool) -> None:
        """The request takes a while, and so does the answer; the process may die before, between and after."""
        began = self._process.clock.now

        def arrive() -> None:
            try:
                answer: tuple[Any, CloudError | None] = (call.do(), None)
            except CloudError as error:
                answer = (None, error)
            self._process.later(self._process.cloud_latency(), lambda: self._end(call, answer, began, counts=counts))

        if self._process.dies("before a call of the cloud"):
            return
        # A call that was sent arrives, whatever becomes of the process.
        self._process.clock.schedule(self._process.cloud_latency(), arrive)
        self._process.dies("after a call of the cloud")

    def _end(self, call: _Call, answer: tuple[Any, CloudError | None], began: float, *, counts: bool) -> None:
        self._under_way -= counts
        if self._breaker.ended(answer[1], began, self._process.clock.now):
            self._tell()
            if self._breaker.next_try is not None:
                self._process.later(self._breaker.next_try - self._process.clock.now, self._probe)
                self._process.later(PATIENCE, self._lose_patience)
        if call.ended is not None:
            self._process.publish(call.ended(*answer))
        self._serve()

    # Health

    def _probe(self) -> None:
        self._breaker.probe(self._process.clock.now)
        self._tell()
        self._list_now()

    def _lose_patience(self) -> None:
        if self._out_of_patience():
            for call in self._queue.clear(Lane.CREATE):
                self._refuse(call)

    def _out_of_patience(self) -> bool:
        return not self._breaker.closed and self._process.clock.now >= self._breaker.since + PATIENCE

    def _refuse(self, call: _Call) -> None:
        self._process.count("creations not begun")
        if call.ended is not None:
            self._process.publish(call.ended(None, NotBegun("simulated")))

    def _tell(self) -> None:
        breaker = self._breaker
        self._process.count(f"provider: {breaker.circuit.value}")
        health = Health(breaker.circuit, breaker.since, breaker.error, breaker.next_try)
        self._process.publish(HealthChanged(self._name, health))
