"""Turns instructions about one provider into calls of its adapter, and what comes of them into events.

Nothing here decides anything; the threads, deadlines and pauses are those of :mod:`nodepool.driver.call_pool`. What is
asked for is either answered by an event or, when the connection is replaced after a change of the configuration, passed
on to the new one: the decision core waits for it.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nodepool.driver.adapter import CloudAdapter
from nodepool.driver.breaker import Health
from nodepool.driver.call_pool import Call, CallLimits, CallPool, Result
from nodepool.driver.call_queue import Lane
from nodepool.driver.errors import CloudError, NotBegun, NotFound
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
from nodepool.telemetry.facts import CallEnded, Fact, nowhere
from nodepool.telemetry.logs import annotate

CONSOLE_DEADLINE = 15.0
"""Seconds to read a console: the deletion of its server waits for it."""
FEW_THREADS = 2
"""For providers that are to be polled less than once a second: they are to be called seldom."""
MARGIN_POLLS = 30
"""Poll intervals by which a call may exceed its deadline at least: such providers wait for their own turns, too."""
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


class CloudLink:
    """The connection to one provider. Any thread may call; no method blocks."""

    def __init__(
        self,
        name: str,
        adapter: CloudAdapter,
        publish: Callable[[Event], None],
        limits: CallLimits | None = None,
        measure: Callable[[Fact], None] = nowhere,
    ) -> None:
        self._name = name
        self._adapter = adapter
        self._publish = publish
        self._log = logging.getLogger(f"nodepool.StateMachineProvider.{name}")
        self._prepared = False
        self._lock = threading.Lock()
        self._read_first: dict[str, list[Call[CloudLink]]] = {}
        """Deletions that wait until the console is read, by the server's id."""
        poll: Call[CloudLink] = Call(Lane.OTHER, "list", CloudLink._list, self._listed, "list")
        limits = limits or _limits_of(adapter)
        self._measure = measure
        self._pool = CallPool(name, self, poll, adapter.poll_interval, self._tell, limits, ended=self._call_ended)

    def start(self) -> None:
        """Begin to work. To be called once."""
        self._pool.start()

    def stop(self, ended: Callable[[], None]) -> None:
        """Drop what waits and end; ``ended`` is called by one of our threads when no call is under way any more."""
        self._pool.end(lambda: self._end(ended))

    def hand_over(self, successor: CloudLink, ended: Callable[[], None]) -> None:
        """End as :meth:`stop` does, but pass on to ``successor`` what waits and what will still be asked for here."""
        self._pool.end(lambda: self._end(ended), successor._pool)

    def create(self, instruction: CreateServer) -> None:
        """Make a server; ends as :class:`CreateEnded`, a second time if it took too long and was made after all."""
        node_id, attempt = instruction.order.node_id, instruction.attempt

        def done(result: Result) -> None:
            self._publish(CreateEnded(self._name, node_id, attempt, result.value, result.error, result.ended))

        def do(link: CloudLink, deadline: float) -> Any:
            return link._adapter.create_server(instruction.order, deadline)

        self._pool.submit(Call(Lane.CREATE, (node_id, attempt), do, done, "create"))

    def cancel_create(self, instruction: CancelCreate) -> None:
        """Do not make a server that nobody wants any more, unless that has begun; the creation ends as ever."""
        call = self._pool.withdraw(Lane.CREATE, (instruction.node_id, instruction.attempt))
        if call is not None:
            now = time.time()
            call.done(Result(None, NotBegun("nobody wants it any more"), now, now))

    def finish(self, instruction: FinishServer) -> None:
        """Complete a server; ends as :class:`FinishEnded`."""
        node_id, attempt = instruction.node_id, instruction.attempt

        def done(result: Result) -> None:
            self._publish(FinishEnded(self._name, node_id, attempt, result.value, result.error))

        def do(link: CloudLink, deadline: float) -> Any:
            return link._adapter.finish_server(instruction.pool, instruction.server, deadline)

        self._pool.submit(Call(Lane.OTHER, ("finish", node_id, attempt), do, done, "finish"))

    def delete(self, instruction: DeleteServer) -> None:
        """Delete a server; ends as :class:`DeleteEnded`, without error if there is none."""
        node_id, external_id = instruction.node_id, instruction.external_id
        console = self._pool.withdraw(Lane.IDLE, str(external_id))

        def done(result: Result) -> None:
            error = None if isinstance(result.error, NotFound) else result.error
            self._publish(DeleteEnded(self._name, node_id, external_id, error, result.ended))

        def do(link: CloudLink, deadline: float) -> None:
            if console is not None:
                console.do(link, deadline)
            link._adapter.delete_server(external_id, deadline)

        call = Call(Lane.DELETE, (node_id, str(external_id)), do, done, "delete")
        with self._lock:
            if console is not None:
                self._read_first.pop(str(external_id), None)
            elif (waiting := self._read_first.get(str(external_id))) is not None:
                waiting.append(call)
                return
        self._pool.submit(call)

    def list_servers(self, at: float) -> None:
        """List at ``at`` (epoch seconds) or as soon as the poll interval allows; ends as :class:`ServersListed`."""
        self._pool.poll_at(at)

    def read_limits(self) -> None:
        """Ask for the limits; ends as :class:`LimitsRead`."""

        def done(result: Result) -> None:
            self._publish(LimitsRead(self._name, result.value, result.error))

        self._pool.submit(Call(Lane.OTHER, "limits", CloudLink._read_limits, done, "limits"))

    def find_leftovers(self) -> None:
        """Look for leftovers; ends as :class:`LeftoversFound`."""

        def done(result: Result) -> None:
            self._publish(LeftoversFound(self._name, result.value or (), result.error, result.ended))

        def do(link: CloudLink, deadline: float) -> Any:
            return tuple(link._adapter.leftovers(deadline))

        self._pool.submit(Call(Lane.OTHER, "leftovers", do, done, "find-leftovers"))

    def remove_leftover(self, instruction: RemoveLeftover) -> None:
        """Remove a leftover, unless it is too late; ends as :class:`LeftoverRemoved`."""
        kind, external_id = instruction.leftover.kind, instruction.leftover.external_id

        def done(result: Result) -> None:
            if result.error is not None:
                self._log.warning("Leaked %s %s could not be removed: %s", kind, external_id, result.error)
            self._publish(LeftoverRemoved(self._name, result.error, result.value or ""))

        def do(link: CloudLink, deadline: float) -> str:
            if time.time() >= instruction.until:
                return ""
            link._adapter.remove_leftover(instruction.leftover, deadline)
            return kind

        self._pool.submit(Call(Lane.DELETE, (kind, external_id), do, done, "remove-leftover"))

    def read_console(self, instruction: ReadConsole) -> None:
        """Log a server's console, line by line; when nothing else is to be done, or before the server is deleted.

        A deletion waits until it is read: the console of a server that is being deleted cannot be had any more.
        """
        external_id = instruction.external_id
        ids = {"event_id": instruction.event_id, "node_request_id": instruction.request_id}
        log = annotate(self._log, node_id=instruction.node_id, **ids)
        with self._lock:
            self._read_first.setdefault(str(external_id), [])

        def done(_: Result) -> None:
            with self._lock:
                waiting = self._read_first.pop(str(external_id), ())
            for call in waiting:
                self._pool.submit(call)

        def do(link: CloudLink, deadline: float) -> None:
            text, error = None, None
            try:
                text = link._adapter.console_log(external_id, min(deadline, CONSOLE_DEADLINE))
            except CloudError as raised:
                error = raised
            for line in (text or f"no console log: {error or 'the cloud has none'}").splitlines():
                log.info("Console log from external id %s: %s", external_id, line)

        self._pool.submit(Call(Lane.IDLE, str(external_id), do, done, "console"))

    # Inside

    def _list(self, deadline: float) -> Any:
        return tuple(self._adapter.list_servers(deadline))

    def _listed(self, result: Result) -> None:
        self._publish(ServersListed(self._name, result.value or (), result.error, result.began, result.ended))

    def _read_limits(self, deadline: float) -> Any:
        if not self._prepared:
            self._adapter.prepare(deadline)
            self._prepared = True
        return self._adapter.limits(deadline)

    def _call_ended(self, operation: str, error: CloudError | None, seconds: float) -> None:
        self._measure(CallEnded(self._name, operation, "ok" if error is None else _words(error), seconds))

    def _tell(self, health: Health) -> None:
        self._publish(HealthChanged(self._name, health))

    def _end(self, ended: Callable[[], None]) -> None:
        for action in (self._adapter.stop, ended):
            try:
                action()
            except Exception:  # noqa: BLE001 - a driver's own code: its provider has ended anyway
                self._log.exception("The driver of provider %s failed", self._name)


def _words(error: CloudError) -> str:
    """The type of an error, such as ``quota-exceeded``."""
    return _CAPITAL.sub("-", type(error).__name__).lower()


def _limits_of(adapter: CloudAdapter) -> CallLimits:
    limits, interval = CallLimits(), adapter.poll_interval
    if interval <= 1.0:
        return limits
    return replace(limits, threads=FEW_THREADS, margin=max(limits.margin, MARGIN_POLLS * interval))
