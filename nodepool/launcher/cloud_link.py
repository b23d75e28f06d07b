"""Talks to one provider: a few threads for calls, and one that lists.

Nothing here decides anything. A provider that hangs fills its own threads and nobody else's, and as they are daemon
threads, it does not keep the process from ending either. What is asked for is either answered by an event or, when the
connection is replaced after a change of the configuration, passed on to the new one: the decision core waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from nodepool.driver.adapter import CloudAdapter
from nodepool.driver.errors import CloudError, NotFound, UnknownOutcome
from nodepool.launcher.events import CreateEnded, DeleteEnded, Event, LimitsRead, ServersListed
from nodepool.launcher.instructions import CreateServer, DeleteServer, ReadConsole

CALL_THREADS = 4
CALL_DEADLINE = 60.0
"""Seconds that any call of a cloud may take."""
LONGEST_PAUSE = 30.0
"""Longest pause in seconds between two lists of a provider that fails."""


class CloudLink:
    """The connection to one provider. Any thread may call; no method blocks."""

    def __init__(self, name: str, adapter: CloudAdapter, publish: Callable[[Event], None]) -> None:
        self._name = name
        self._adapter = adapter
        self._publish = publish
        self._log = logging.getLogger(f"nodepool.StateMachineProvider.{name}")
        self._lock = threading.Lock()
        self._call_asked = threading.Condition(self._lock)
        self._list_asked = threading.Condition(self._lock)
        self._calls: deque[_Call] = deque()
        self._list_at: float | None = None
        self._ending = False
        self._successor: CloudLink | None = None
        self._ended: Callable[[], None] | None = None
        self._prepared = False
        self._threads = [threading.Thread(target=self._list_when_asked, name=f"poller-{name}", daemon=True)]
        for number in range(1, CALL_THREADS + 1):
            name_of_thread = f"cloud-{name}-{number}"
            self._threads.append(threading.Thread(target=self._call_when_asked, name=name_of_thread, daemon=True))
        self._working = len(self._threads)

    def start(self) -> None:
        """Begin to work. To be called once."""
        for thread in self._threads:
            thread.start()

    def stop(self, ended: Callable[[], None]) -> None:
        """Drop what waits and end; ``ended`` is called by one of our threads when no call is under way any more."""
        self._end(None, ended)

    def hand_over(self, successor: CloudLink, ended: Callable[[], None]) -> None:
        """End as :meth:`stop` does, but pass on to ``successor`` what waits and what will still be asked for here."""
        calls, list_at = self._end(successor, ended)
        for call in calls:
            successor._submit(call)
        if list_at is not None:
            successor.list_servers(list_at)

    def create(self, instruction: CreateServer) -> None:
        """Make a server; ends as :class:`CreateEnded`."""

        def call(link: CloudLink) -> None:
            external_id, error = link._try(lambda: link._adapter.create_server(instruction.order, CALL_DEADLINE))
            node_id, attempt = instruction.order.node_id, instruction.attempt
            link._publish(CreateEnded(link._name, node_id, attempt, external_id, error, time.time()))

        self._submit(call)

    def delete(self, instruction: DeleteServer) -> None:
        """Delete a server; ends as :class:`DeleteEnded`, without error if there is none."""

        def call(link: CloudLink) -> None:
            _, error = link._try(lambda: link._adapter.delete_server(instruction.external_id, CALL_DEADLINE))
            error = None if isinstance(error, NotFound) else error
            node_id, external_id = instruction.node_id, instruction.external_id
            link._publish(DeleteEnded(link._name, node_id, external_id, error, time.time()))

        self._submit(call)

    def list_servers(self, at: float) -> None:
        """List at ``at`` (epoch seconds) or as soon as the poll interval allows; ends as :class:`ServersListed`."""
        with self._lock:
            successor = self._successor
            if successor is None:
                self._list_at = at if self._list_at is None else min(at, self._list_at)
                self._list_asked.notify()
        if successor is not None:
            successor.list_servers(at)

    def read_limits(self) -> None:
        """Ask for the limits; ends as :class:`LimitsRead`."""

        def call(link: CloudLink) -> None:
            limits, error = link._try(link._read_limits)
            link._publish(LimitsRead(link._name, limits, error))

        self._submit(call)

    def read_console(self, instruction: ReadConsole) -> None:
        """Log a server's console, line by line."""

        def call(link: CloudLink) -> None:
            text, error = link._try(lambda: link._adapter.console_log(instruction.external_id, CALL_DEADLINE))
            for line in (text or f"no console log: {error or 'the cloud has none'}").splitlines():
                link._log.info("Console log from external id %s: %s", instruction.external_id, line)

        self._submit(call)

    def _read_limits(self) -> Any:
        if not self._prepared:
            self._adapter.prepare(CALL_DEADLINE)
            self._prepared = True
        return self._adapter.limits(CALL_DEADLINE)

    def _submit(self, call: _Call) -> None:
        with self._lock:
            successor = self._successor
            if not self._ending:
                self._calls.append(call)
                self._call_asked.notify()
        if successor is not None:
            successor._submit(call)

    def _try(self, call: Callable[[], Any]) -> tuple[Any, CloudError | None]:
        try:
            return call(), None
        except CloudError as error:
            return None, error
        except Exception as error:  # noqa: BLE001 - a driver's defect must not end the thread of all others' calls
            self._log.exception("The driver of provider %s failed", self._name)
            return None, UnknownOutcome(f"{type(error).__name__}: {error}")

    def _end(self, successor: CloudLink | None, ended: Callable[[], None]) -> tuple[deque[_Call], float | None]:
        with self._lock:
            self._ending, self._successor, self._ended = True, successor, ended
            calls, self._calls = self._calls, deque()
            list_at, self._list_at = self._list_at, None
            self._call_asked.notify_all()
            self._list_asked.notify_all()
            return calls, list_at

    # The threads

    def _call_when_asked(self) -> None:
        while (call := self._next_call()) is not None:
            call(self)
        self._leave()

    def _next_call(self) -> _Call | None:
        with self._lock:
            self._call_asked.wait_for(lambda: self._calls or self._ending)
            return self._calls.popleft() if self._calls else None

    def _list_when_asked(self) -> None:
        earliest, failures = 0.0, 0
        while self._wait_until_due(earliest):
            began = time.time()
            servers, error = self._try(lambda: tuple(self._adapter.list_servers(CALL_DEADLINE)))
            ended = time.time()
            failures = failures + 1 if error else 0
            pause = self._adapter.poll_interval * 2 ** min(failures, 16)
            earliest = ended + (min(pause, LONGEST_PAUSE) if failures else pause)
            self._publish(ServersListed(self._name, servers or (), error, began, ended))
        self._leave()

    def _wait_until_due(self, earliest: float) -> bool:
        """Wait for the next list to be due; False when there is none any more."""
        with self._lock:
            while not self._ending:
                now = time.time()
                due = None if self._list_at is None else max(self._list_at, earliest)
                if due is not None and due <= now:
                    self._list_at = None
                    return True
                self._list_asked.wait(None if due is None else due - now)
            return False

    def _leave(self) -> None:
        """The last thread to leave turns off the lights."""
        with self._lock:
            self._working -= 1
            last = self._working == 0
        if last and self._ended is not None:
            self._try(self._adapter.stop)
            self._try(self._ended)


_Call = Callable[[CloudLink], None]
"""A call that waits; made with the link that does it in the end."""
