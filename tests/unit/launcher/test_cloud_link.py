"""The connection to one provider: whatever is asked for is answered, also when the connection is replaced."""

# ruff: noqa: ARG002 - the cloud of these tests looks at nothing

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from nodepool.driver.adapter import CloudAdapter, Leftover, Server, ServerOrder, ServerState
from nodepool.driver.breaker import MOST_FAILURES, Circuit
from nodepool.driver.call_pool import CallLimits
from nodepool.driver.errors import CloudError, NotBegun, NotFound, QuotaExceeded, UnknownOutcome
from nodepool.launcher.cloud_link import CloudLink
from nodepool.launcher.events import (
    CreateEnded,
    DeleteEnded,
    Event,
    HealthChanged,
    LeftoverRemoved,
    LimitsRead,
    ServersListed,
)
from nodepool.launcher.instructions import CancelCreate, CreateServer, DeleteServer, ReadConsole, RemoveLeftover
from nodepool.model.resources import Resources
from tests.zookeeper import eventually

CALL_THREADS = CallLimits().threads


class Gate(CloudAdapter):
    """A cloud whose calls end when ``open`` is set, and fail with ``error`` if there is one."""

    def __init__(self, name: str = "cloud", poll_interval: float = 0.0) -> None:
        self.name = name
        self.poll_interval = poll_interval
        self.open = threading.Event()
        self.open.set()
        self.error: Exception | None = None
        self.calls: list[str] = []
        self.prepared = 0
        self.stopped = 0
        self.under_way = 0
        self._lock = threading.Lock()

    def _pass(self, what: str) -> None:
        with self._lock:
            self.calls.append(what)
            self.under_way += 1
        assert self.open.wait(20)
        with self._lock:
            self.under_way -= 1
        if self.error is not None:
            raise self.error

    def list_servers(self, deadline: float) -> Sequence[Server]:
        self._pass("list")
        return [Server(f"{self.name}-1", ServerState.ACTIVE)]

    def create_server(self, order: ServerOrder, deadline: float) -> str:
        self._pass(f"create {order.node_id}")
        return f"{self.name}-{order.node_id}"

    def delete_server(self, external_id: Any, deadline: float) -> None:
        self._pass(f"delete {external_id}")

    def cost(self, pool: str, label: str) -> Resources:
        return Resources(instances=1)

    def prepare(self, deadline: float) -> None:
        self.prepared += 1

    def limits(self, deadline: float) -> Resources:
        self._pass("limits")
        return Resources.limit({"instances": 7})

    def console_log(self, external_id: Any, deadline: float) -> str:
        self._pass("console")
        return "one\ntwo"

    def remove_leftover(self, leftover: Leftover, deadline: float) -> None:
        self._pass(f"remove {leftover.external_id}")

    def stop(self) -> None:
        assert self.under_way == 0, "the contract: when no call is under way"
        self.stopped += 1


class World:
    """Links, and the events that they published."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.gates: list[Gate] = []
        self.ended: list[str] = []

    def link(self, gate: Gate, limits: CallLimits | None = None) -> CloudLink:
        self.gates.append(gate)
        link = CloudLink("cloud", gate, self.events.append, limits)
        link.start()
        return link

    def of(self, kind: type[Any]) -> list[Any]:
        """Events of one kind."""
        return [event for event in list(self.events) if isinstance(event, kind)]

    def end(self, name: str) -> Callable[[], None]:
        return lambda: self.ended.append(name)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    for gate in world.gates:
        gate.open.set()


def creation(node_id: str, attempt: int = 1) -> CreateServer:
    return CreateServer("cloud", ServerOrder(node_id, "host", "pool", "label", {}), attempt)


def test_every_call_ends_as_an_event(world: World) -> None:
    gate = Gate()
    link = world.link(gate)
    link.create(creation("1", attempt=2))
    link.delete(DeleteServer("cloud", "1", "x"))
    link.read_limits()
    link.list_servers(0.0)
    eventually(lambda: len(world.events) == 4)
    (created,), (deleted,), (limits,) = world.of(CreateEnded), world.of(DeleteEnded), world.of(LimitsRead)
    assert (created.node_id, created.attempt, created.external_id, created.error) == ("1", 2, "cloud-1", None)
    assert (deleted.node_id, deleted.external_id, deleted.error) == ("1", "x", None)
    assert (limits.limits, limits.error) == (Resources.limit({"instances": 7}), None)
    (listed,) = world.of(ServersListed)
    assert [server.external_id for server in listed.servers] == ["cloud-1"]
    assert listed.began <= listed.ended


@pytest.mark.parametrize("error", [QuotaExceeded("full"), ZeroDivisionError("a defect of the driver")])
def test_errors_end_calls_and_no_threads(world: World, error: Exception) -> None:
    gate = Gate()
    gate.error = error
    link = world.link(gate)
    for number in range(MOST_FAILURES - 2):
        link.create(creation(str(number)))
    link.read_limits()
    link.list_servers(0.0)
    kinds = (CreateEnded, LimitsRead, ServersListed)
    eventually(lambda: all(map(world.of, kinds)) and len(world.of(CreateEnded)) == MOST_FAILURES - 2)
    found = [event.error for kind in kinds for event in world.of(kind)]
    assert all(isinstance(one, CloudError) and str(error) in str(one) for one in found)
    # Nobody knows what a driver had done before its defect showed.
    assert isinstance(found[0], QuotaExceeded if isinstance(error, QuotaExceeded) else UnknownOutcome)


def test_a_leftover_is_not_removed_when_it_is_too_late(world: World) -> None:
    gate = Gate()
    link = world.link(gate)
    gate.error = NotFound("gone")
    port = Leftover("ports", "p1", 0.0)
    link.remove_leftover(RemoveLeftover("cloud", port, time.time() - 1.0))
    eventually(lambda: len(world.of(LeftoverRemoved)) == 1)
    assert gate.calls == []
    link.remove_leftover(RemoveLeftover("cloud", port, time.time() + 60.0))
    eventually(lambda: len(world.of(LeftoverRemoved)) == 2)
    assert gate.calls == ["remove p1"]
    assert [type(event.error) for event in world.of(LeftoverRemoved)] == [type(None), NotFound]


def test_a_server_that_is_not_there_is_deleted(world: World) -> None:
    gate = Gate()
    gate.error = NotFound("gone")
    world.link(gate).delete(DeleteServer("cloud", "1", "x"))
    eventually(lambda: world.events)
    assert world.of(DeleteEnded)[0].error is None


def test_the_console_is_logged_line_by_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world.link(Gate()).read_console(ReadConsole("cloud", "1", "x"))
    eventually(lambda: len(caplog.records) == 2)
    assert [record.getMessage() for record in caplog.records] == [
        "[node: 1] Console log from external id x: one",
        "[node: 1] Console log from external id x: two",
    ]


def test_a_cloud_that_hangs_gets_no_more_calls_than_it_has_threads(world: World) -> None:
    gate = Gate()
    gate.open.clear()
    link = world.link(gate)
    for number in range(20):
        link.create(creation(str(number)))
    link.list_servers(0.0)
    eventually(lambda: gate.under_way == CALL_THREADS + 1)
    assert world.events == []
    gate.open.set()
    eventually(lambda: len(world.events) == 21)
    assert {event.node_id for event in world.of(CreateEnded)} == {str(number) for number in range(20)}


def test_prepare_comes_first_and_once(world: World) -> None:
    gate = Gate()
    link = world.link(gate)
    for count in (1, 2):
        link.read_limits()
        eventually(lambda count=count: len(world.events) == count)  # type: ignore[misc]
    assert gate.prepared == 1


def test_lists_keep_their_distance(world: World) -> None:
    gate = Gate(poll_interval=0.2)
    link = world.link(gate)
    for count in (1, 2):
        link.list_servers(0.0)
        link.list_servers(time.time() + 1000)
        eventually(lambda count=count: len(world.events) == count)  # type: ignore[misc]
    first, second = world.of(ServersListed)
    assert second.began - first.ended >= 0.2


def test_a_list_that_is_asked_for_later_waits(world: World) -> None:
    link = world.link(Gate())
    at = time.time() + 0.2
    link.list_servers(at)
    eventually(lambda: world.events)
    assert world.of(ServersListed)[0].began >= at


def test_lists_of_a_cloud_that_fails_become_rarer(world: World) -> None:
    gate = Gate(poll_interval=0.02)
    gate.error = CloudError("no")
    link = world.link(gate)
    for count in range(1, 5):
        link.list_servers(0.0)
        eventually(lambda count=count: len(world.events) == count)  # type: ignore[misc]
    lists = world.of(ServersListed)
    pauses = [later.began - earlier.ended for earlier, later in itertools.pairwise(lists)]
    assert all(pause >= 0.02 * 2**number for number, pause in enumerate(pauses))


def test_a_successor_does_what_waits_and_what_still_comes(world: World) -> None:
    old, new = Gate("old", poll_interval=1000.0), Gate("new")
    first, second = world.link(old, CallLimits(threads=4)), world.link(new)
    first.list_servers(0.0)
    eventually(lambda: world.of(ServersListed))
    old.open.clear()
    for number in range(7):
        first.create(creation(str(number)))
    eventually(lambda: old.under_way == 4)
    first.list_servers(0.0)
    first.hand_over(second, world.end("old"))
    eventually(lambda: len(world.of(CreateEnded)) == 3)
    eventually(lambda: len(world.of(ServersListed)) == 2)
    first.create(creation("late"))
    first.delete(DeleteServer("cloud", "1", "x"))
    first.read_limits()
    first.list_servers(0.0)
    eventually(lambda: world.of(DeleteEnded) and world.of(LimitsRead) and len(world.of(ServersListed)) == 3)
    assert (old.stopped, world.ended) == (0, [])
    old.open.set()
    eventually(lambda: len(world.of(CreateEnded)) == 8)
    made_by = {event.node_id: event.external_id.partition("-")[0] for event in world.of(CreateEnded)}
    assert made_by == {**dict.fromkeys("0123", "old"), **dict.fromkeys([*"456", "late"], "new")}
    eventually(lambda: world.ended == ["old"])
    assert (old.stopped, new.stopped) == (1, 0)
    assert world.of(ServersListed)[-1].servers[0].external_id == "new-1"


def test_a_list_under_way_at_the_replacement_is_still_told(world: World) -> None:
    old, new = Gate("old"), Gate("new")
    first, second = world.link(old), world.link(new)
    old.open.clear()
    first.list_servers(0.0)
    eventually(lambda: old.under_way == 1)
    first.hand_over(second, world.end("old"))
    old.open.set()
    eventually(lambda: len(world.of(ServersListed)) == 1)
    assert new.calls == []


def test_a_chain_of_successors(world: World) -> None:
    links = [world.link(Gate(name)) for name in ("a", "b", "c")]
    links[0].hand_over(links[1], world.end("a"))
    links[1].hand_over(links[2], world.end("b"))
    links[0].create(creation("1"))
    eventually(lambda: world.of(CreateEnded))
    assert world.of(CreateEnded)[0].external_id == "c-1"
    eventually(lambda: sorted(world.ended) == ["a", "b"])


def test_a_creation_that_nobody_wants_any_more_is_not_made(world: World) -> None:
    gate = Gate()
    gate.open.clear()
    link = world.link(gate)
    for number in range(CALL_THREADS + 1):
        link.create(creation(str(number)))
    eventually(lambda: gate.under_way == CALL_THREADS)
    waiting = str(CALL_THREADS)
    link.cancel_create(CancelCreate("cloud", waiting, 2))
    assert world.events == []
    link.cancel_create(CancelCreate("cloud", waiting, 1))
    (ended,) = world.of(CreateEnded)
    assert (ended.node_id, ended.attempt, ended.external_id) == (waiting, 1, None)
    assert isinstance(ended.error, NotBegun)
    link.cancel_create(CancelCreate("cloud", "0", 1))
    gate.open.set()
    eventually(lambda: len(world.of(CreateEnded)) == CALL_THREADS + 1)
    assert f"create {waiting}" not in gate.calls
    assert {event.external_id for event in world.of(CreateEnded)} == {
        None,
        *(f"cloud-{n}" for n in range(CALL_THREADS)),
    }


def test_a_creation_that_took_too_long_is_told_again_when_it_ends(world: World) -> None:
    gate = Gate()
    gate.open.clear()
    link = world.link(gate, CallLimits(deadline=0.05, margin=0.05))
    link.create(creation("1", attempt=2))
    eventually(lambda: world.of(CreateEnded))
    assert isinstance(world.of(CreateEnded)[0].error, UnknownOutcome)
    gate.open.set()
    eventually(lambda: len(world.of(CreateEnded)) == 2)
    late = world.of(CreateEnded)[1]
    assert (late.node_id, late.attempt, late.external_id, late.error) == ("1", 2, "cloud-1", None)


def test_the_console_of_a_server_is_read_before_it_is_deleted(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    gate = Gate()
    gate.open.clear()
    link = world.link(gate)
    for number in range(CALL_THREADS):
        link.create(creation(str(number)))
    eventually(lambda: gate.under_way == CALL_THREADS)
    link.read_console(ReadConsole("cloud", "1", "x"))
    link.delete(DeleteServer("cloud", "1", "x"))
    gate.open.set()
    eventually(lambda: world.of(DeleteEnded))
    assert gate.calls[CALL_THREADS:] == ["console", "delete x"]
    assert "Console log from external id x: two" in caplog.text


def test_a_console_that_cannot_be_read_does_not_keep_its_server(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    gate = Gate()
    gate.open.clear()
    link = world.link(gate)
    for number in range(CALL_THREADS):
        link.create(creation(str(number)))
    eventually(lambda: gate.under_way == CALL_THREADS)
    gate.error = NotFound("gone")
    link.read_console(ReadConsole("cloud", "1", "x"))
    link.delete(DeleteServer("cloud", "1", "x"))
    gate.open.set()
    eventually(lambda: world.of(DeleteEnded))
    assert world.of(DeleteEnded)[0].error is None
    assert "no console log: gone" in caplog.text


def test_a_server_is_not_deleted_while_its_console_is_read(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    gate = Gate()
    gate.open.clear()
    link = world.link(gate)
    link.read_console(ReadConsole("cloud", "1", "x"))
    eventually(lambda: gate.under_way == 1)
    link.delete(DeleteServer("cloud", "1", "x"))
    link.delete(DeleteServer("cloud", "2", "y"))
    eventually(lambda: gate.under_way == 2)
    assert gate.calls == ["console", "delete y"]
    gate.open.set()
    eventually(lambda: len(world.of(DeleteEnded)) == 2)
    assert gate.calls == ["console", "delete y", "delete x"]
    assert "Console log from external id x: two" in caplog.text


def test_the_health_of_the_provider_is_told(world: World) -> None:
    gate = Gate()
    gate.error = CloudError("connection refused")
    link = world.link(gate)
    asked = 0

    def fails_again() -> bool:
        nonlocal asked
        link.delete(DeleteServer("cloud", "1", str(asked)))
        asked += 1
        eventually(lambda: len(world.of(DeleteEnded)) == asked or world.of(HealthChanged))
        return bool(world.of(HealthChanged))

    eventually(fails_again)
    (away,) = world.of(HealthChanged)[:1]
    assert (away.provider, away.health.circuit, away.health.error) == ("cloud", Circuit.OPEN, "connection refused")
    gate.error = None
    eventually(lambda: not world.of(HealthChanged)[-1].health.away)
    eventually(lambda: len(world.of(DeleteEnded)) == asked)
    assert [event.error for event in world.of(ServersListed)] == [None], "the probe is a list like any other"


def test_a_stop_drops_what_waits_and_waits_for_nobody(world: World) -> None:
    gate = Gate()
    gate.open.clear()
    link = world.link(gate)
    for number in range(CALL_THREADS + 3):
        link.create(creation(str(number)))
    eventually(lambda: gate.under_way == CALL_THREADS)
    link.stop(world.end("gate"))
    link.create(creation("late"))
    link.list_servers(0.0)
    assert world.ended == []
    gate.open.set()
    eventually(lambda: world.ended == ["gate"])
    assert len(gate.calls) == CALL_THREADS
    assert gate.stopped == 1


def test_what_a_driver_raises_at_its_end_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a defect of the driver")

    world.link(Gate()).stop(fail)
    eventually(lambda: "The driver of provider cloud failed" in caplog.text)
    assert "a defect of the driver" in caplog.text
