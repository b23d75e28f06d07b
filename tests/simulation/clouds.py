"""Clouds of a simulation: an adapter on a fake cloud, and calls that take their time without threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nodepool.driver.adapter import CloudAdapter, Server, ServerOrder
from nodepool.driver.errors import BadLabel, CloudError, NotFound, UnknownOutcome
from nodepool.driver.fake.cloud import FakeCloud
from nodepool.launcher.events import CreateEnded, DeleteEnded, Event, LimitsRead, ServersListed
from nodepool.launcher.instructions import CreateServer, DeleteServer, ReadConsole
from nodepool.model.resources import Resources

if TYPE_CHECKING:
    from tests.simulation.process import SimulatedLauncher

DEADLINE = 60.0


class SimulatedAdapter(CloudAdapter):
    """A provider's view of a fake cloud. ``costs`` are by label."""

    def __init__(self, cloud: FakeCloud, costs: Mapping[str, Resources], poll_interval: float) -> None:
        self.cloud = cloud
        self.poll_interval = poll_interval
        self.list_lag = cloud.settings.list_lag
        self.uncertain: set[str] = set()
        """Nodes with a creation of unknown outcome."""
        self._costs = costs

    def list_servers(self, deadline: float) -> Sequence[Server]:  # noqa: ARG002
        """All servers of the cloud."""
        return self.cloud.list()

    def create_server(self, order: ServerOrder, deadline: float) -> Any:  # noqa: ARG002
        """Start making a server."""
        try:
            return self.cloud.create(order.tags, self.cost(order.pool, order.label), order.az)
        except UnknownOutcome:
            self.uncertain.add(order.node_id)
            raise

    def delete_server(self, external_id: Any, deadline: float) -> None:  # noqa: ARG002
        """Start deleting a server."""
        self.cloud.delete(external_id)

    def cost(self, pool: str, label: str) -> Resources:
        """Use of one node."""
        if label not in self._costs:
            raise BadLabel(f"the pool '{pool}' cannot make '{label}'")
        return self._costs[label]

    def limits(self, deadline: float) -> Resources:  # noqa: ARG002
        """The cloud's quota."""
        return self.cloud.limits()


class SimulatedCloud:
    """A provider's adapter as the executor sees it."""

    def __init__(self, process: SimulatedLauncher, name: str, adapter: SimulatedAdapter) -> None:
        self._process = process
        self._name = name
        self._adapter = adapter
        self._next_list = 0.0

    def create(self, instruction: CreateServer) -> None:
        """Make a server."""
        order = instruction.order

        def ended(external_id: Any, error: CloudError | None) -> Event:
            now = self._process.clock.now
            return CreateEnded(self._name, order.node_id, instruction.attempt, external_id, error, now)

        self._call(lambda: self._adapter.create_server(order, DEADLINE), ended)

    def delete(self, instruction: DeleteServer) -> None:
        """Delete a server."""

        def ended(_: Any, error: CloudError | None) -> Event:
            error = None if isinstance(error, NotFound) else error
            now = self._process.clock.now
            return DeleteEnded(self._name, instruction.node_id, instruction.external_id, error, now)

        self._call(lambda: self._adapter.delete_server(instruction.external_id, DEADLINE), ended)

    def list_servers(self, at: float) -> None:
        """List the servers, at most once per poll interval."""
        delay = max(at, self._next_list) - self._process.clock.now
        self._process.later(delay, self._list)

    def read_limits(self) -> None:
        """Ask for the limits."""
        self._call(lambda: self._adapter.limits(DEADLINE), lambda limits, error: LimitsRead(self._name, limits, error))

    def read_console(self, instruction: ReadConsole) -> None:
        """Nobody reads it here."""

    def _list(self) -> None:
        began = self._process.clock.now
        self._next_list = began + self._adapter.poll_interval

        def ended(servers: Any, error: CloudError | None) -> Event:
            return ServersListed(self._name, tuple(servers or ()), error, began, self._process.clock.now)

        self._call(lambda: self._adapter.list_servers(DEADLINE), ended)

    def _call(self, call: Callable[[], Any], ended: Callable[[Any, CloudError | None], Event]) -> None:
        """The request takes a while, and so does the answer; the process may die before, between and after."""

        def arrive() -> None:
            try:
                answer: tuple[Any, CloudError | None] = (call(), None)
            except CloudError as error:
                answer = (None, error)
            self._process.later(self._process.cloud_latency(), lambda: self._process.publish(ended(*answer)))

        if self._process.dies("before a call of the cloud"):
            return
        # A call that was sent arrives, whatever becomes of the process.
        self._process.clock.schedule(self._process.cloud_latency(), arrive)
        self._process.dies("after a call of the cloud")
