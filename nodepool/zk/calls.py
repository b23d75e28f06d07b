"""Requests on their way to a real ZooKeeper: at most so many at a time, each with a deadline, each ended exactly once.

Must never hand a request to another session than the one it was meant for, and never keep one for a connection to come.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from nodepool.zk.kazoo_client import SessionClient
from nodepool.zk.loop import Loop, perform
from nodepool.zk.store import Uncertain
from nodepool.zk.wire import Request, uncertain

WINDOW = 200
"""Most requests in kazoo at a time; its wake-up pipe holds 278. Others wait here."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What ZooKeeper answered, and the zxid that came with it."""

    value: Any
    zxid: int


Reply = Answer | Exception | Uncertain
"""An exception is kazoo's and means that ZooKeeper refused the request."""
Done = Callable[[Reply], None]


class _Call:
    """One request; kazoo reports its end through :meth:`set` or :meth:`set_exception`."""

    __slots__ = ("calls", "client", "done", "due", "request")

    def __init__(self, calls: Calls, client: SessionClient, request: Request, done: Done, due: float) -> None:
        self.calls = calls
        self.client = client
        self.request = request
        self.done = done
        self.due = due

    def set(self, value: Any) -> None:
        self.calls.ended(self, Answer(value, self.client.last_zxid))

    def set_exception(self, error: Exception) -> None:
        self.calls.ended(self, uncertain(error) or error)


class Calls:
    """The calls of one store. Any thread may submit; outcomes are reported in the loop.

    ``deadline`` is the time in seconds that each call has.
    """

    def __init__(self, loop: Loop, deadline: float) -> None:
        self._loop = loop
        self._deadline = deadline
        # Reentrant: an ended loop performs what is posted at once, in the thread that posts it.
        self._lock = threading.RLock()
        self._client: SessionClient | None = None
        self._session = 0
        self._open: dict[_Call, None] = {}
        self._waiting: deque[_Call] = deque()
        self._timed = False

    @property
    def session(self) -> int:
        """Id of the present session, 0 while there is none."""
        return self._session

    @property
    def pending(self) -> int:
        """How many calls have not ended."""
        return len(self._open)

    def attach(self, client: SessionClient) -> None:
        """The client is connected: take requests for its session."""
        with self._lock:
            self._client = client
            self._session = client.session

    def detach(self, verdict: Uncertain) -> None:
        """Take no requests and end all calls as ``verdict``; with ``SESSION_LOST`` there is no session any more."""
        with self._lock:
            self._client = None
            if verdict is Uncertain.SESSION_LOST:
                self._session = 0
            calls = list(self._open)
            self._open.clear()
            self._waiting.clear()
        for call in calls:
            perform(partial(call.done, verdict))

    def submit(self, request: Request, done: Done, session: int = 0) -> None:
        """Send a request, with ``session`` in that session or not at all; ``done`` is called exactly once."""
        with self._lock:
            verdict = self._obstacle(session)
            if verdict is None:
                self._enter(request, done)
                return
        self._loop.post(partial(done, verdict))

    def ended(self, call: _Call, reply: Reply) -> None:
        """The request of a call has ended; called by the connection's thread."""
        self._loop.post(partial(self._finish, call, reply))

    def _obstacle(self, session: int) -> Uncertain | None:
        if not self._session or session not in (0, self._session):
            return Uncertain.SESSION_LOST
        return None if self._client else Uncertain.CONNECTION_LOST

    def _enter(self, request: Request, done: Done) -> None:
        assert self._client is not None
        call = _Call(self, self._client, request, done, time.monotonic() + self._deadline)
        self._open[call] = None
        self._waiting.append(call)
        self._send_waiting()
        if not self._timed:
            self._timed = True
            self._loop.post(partial(self._loop.after, self._deadline, self._end_overdue))

    def _send_waiting(self) -> None:
        client = self._client
        while client is not None and self._waiting and client.flying < WINDOW:
            call = self._waiting.popleft()
            if client.submit(call.request, call):
                client.flying += 1
            else:
                self._loop.post(partial(self._report, call, Uncertain.CONNECTION_LOST))

    def _finish(self, call: _Call, reply: Reply) -> None:
        with self._lock:
            call.client.flying -= 1
            self._send_waiting()
        self._report(call, reply)

    def _report(self, call: _Call, reply: Reply) -> None:
        with self._lock:
            if call not in self._open:
                return
            del self._open[call]
        call.done(reply)

    def _end_overdue(self) -> None:
        now = time.monotonic()
        overdue = []
        with self._lock:
            for call in self._open:
                if call.due > now:
                    break
                overdue.append(call)
            for call in overdue:
                del self._open[call]
            self._waiting = deque(call for call in self._waiting if call.due > now)
            oldest = next(iter(self._open), None)
            self._timed = oldest is not None
        if oldest is not None:
            self._loop.after(oldest.due - now, self._end_overdue)
        for call in overdue:
            perform(partial(call.done, Uncertain.TIMED_OUT))
