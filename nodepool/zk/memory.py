"""A store on a ZooKeeper in memory, for simulation: no threads, no real time, faults to order.

All that happens later goes through the scheduler that is passed in. Requests reach the ensemble in the order in which
they were made, and answers come back in that order; how long each takes is drawn from ``latency``. With the same
scheduler and the same draws, everything happens again in the same way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from nodepool.zk.contenders import PREFIX_END, ahead_of
from nodepool.zk.memory_ensemble import MemoryEnsemble
from nodepool.zk.memory_feed import MemoryFeed
from nodepool.zk.store import (
    Batch,
    ChildrenOutcome,
    Connection,
    Contended,
    ContendOutcome,
    Create,
    Delete,
    Operation,
    Outcome,
    ReadOutcome,
    Refused,
    RefusedBy,
    SessionChange,
    Uncertain,
)

__all__ = ["MemoryEnsemble", "MemoryStore", "Schedule"]

Action = Callable[[], None]
Schedule = Callable[[float, Action], object]
"""Runs an action after some seconds; actions of the same time run in the order in which they were scheduled."""


@dataclass(slots=True)
class _Request:
    """A request, and after its arrival its answer, on the way."""

    session: int
    execute: Callable[[], Action]
    """Done at the ensemble; returns what reports the outcome."""
    fail: Callable[[Uncertain], None]
    writes: bool


class MemoryStore:
    """A :class:`~nodepool.zk.store.Store` in memory. ``latency`` is drawn, in seconds, for each way of each message.

    ``session_timeout`` is the time in seconds after which the ensemble ends the session of a store that is
    disconnected, paused or crashed.
    """

    def __init__(
        self,
        ensemble: MemoryEnsemble,
        schedule: Schedule,
        latency: Callable[[], float],
        session_timeout: float = 10.0,
    ) -> None:
        self._ensemble = ensemble
        self._schedule = schedule
        self._latency = latency
        self._session_timeout = session_timeout
        self._session = 0
        self._linked = False
        """Whether messages get through to the ensemble."""
        self._connection = Connection.LOST
        self._last_change: SessionChange | None = None
        self._silence = 0
        """Number of the present silence: a crash, pause or interruption; used to see whether it has ended."""
        self._crashed = False
        self._paused = False
        self._held: list[Action] = []
        self._outbox: deque[_Request] = deque()
        self._inbox: deque[tuple[_Request | None, Action]] = deque()
        """Answers, and news of a feed, in the order of what they tell."""
        self._listeners: list[Callable[[SessionChange], None]] = []
        self._feeds: list[MemoryFeed] = []
        self._tokens = 0
        self._doubts: dict[str, str] = {}
        """Prefix of a contender that nobody was told of, to its directory."""
        self._lost_answers: deque[tuple[bool, Uncertain]] = deque()
        self.feed_lag = 0.0
        """Seconds that each batch of a feed takes beyond the latency."""

    # Life and faults

    def start(self) -> None:
        """Connect, after a latency."""
        self._linked = True
        self._later(self._open)

    def close(self) -> None:
        """End the session at once, in order; nothing of this store runs any more."""
        self._crashed = True
        self._drop_feeds()
        self._ensemble.expire(self._session)

    def crash(self) -> None:
        """The process is gone: nothing of this store runs any more, and its session ends after the timeout.

        What it has sent still arrives.
        """
        self._crashed = True
        self._drop_feeds()
        self._fall_silent()

    def pause(self) -> None:
        """SIGSTOP: nothing is delivered until :meth:`resume`; the session ends if that takes too long."""
        self._paused = True
        self._fall_silent()

    def resume(self) -> None:
        """SIGCONT: what was held back is delivered, and then what has happened to the session is learnt."""
        self._paused = False
        self._be_heard()
        held, self._held = self._held, []
        for action in held:
            action()
        self._later(partial(self._learn, self._session))

    def disconnect(self) -> None:
        """Break the connection: calls on their way end as uncertain, whether they had arrived or not."""
        if not self._linked:
            return
        self._linked = False
        self._fall_silent()
        self._fail_all(Uncertain.CONNECTION_LOST)
        self._drop_feeds()
        if self._session:
            self._change(Connection.SUSPENDED)

    def reconnect(self) -> None:
        """Restore the connection, after a latency: with the same session if it is still alive."""
        if not self._linked:
            self._linked = True
            self._be_heard()
            self._later(self._open)

    def lose_answer(self, *, executed: bool, verdict: Uncertain = Uncertain.CONNECTION_LOST) -> None:
        """Let the next write (``commit`` or ``contend``) end as ``verdict``, after doing it or instead of doing it."""
        self._lost_answers.append((executed, verdict))

    # Store

    def session(self) -> int:
        """Id of the present session, 0 while there is none."""
        return self._session

    def commit(self, operations: Sequence[Operation], done: Callable[[Outcome], None], session: int = 0) -> None:
        """Do all operations or none (see :class:`~nodepool.zk.store.Store`)."""
        ours = self._session

        def execute() -> Action:
            return partial(done, self._ensemble.commit(operations, ours))

        self._send(_Request(session, execute, done, True))

    def contend(
        self, directory: str, identifier: bytes, done: Callable[[ContendOutcome], None], session: int = 0
    ) -> None:
        """Join the queue of a lock (see :class:`~nodepool.zk.store.Store`)."""
        self._tokens += 1
        ours = self._session
        prefix = f"{ours:016x}{self._tokens:016x}{PREFIX_END}"

        def fail(verdict: Uncertain) -> None:
            self._doubt(prefix, directory, verdict)
            done(verdict)

        def execute() -> Action:
            creation = Create(f"{directory}/{prefix}", identifier, ephemeral=True, sequence=True)
            outcome = self._ensemble.commit([creation], ours)
            if isinstance(outcome, Refused):
                return partial(done, outcome)
            name = str(outcome.results[0]).rpartition("/")[2]
            return partial(done, Contended(directory, name, ahead_of(name, self._ensemble.children(directory) or ())))

        self._send(_Request(session, execute, fail, True))

    def read(self, paths: Sequence[str], done: Callable[[ReadOutcome], None]) -> None:
        """Read data of many znodes (see :class:`~nodepool.zk.store.Store`)."""

        def execute() -> Action:
            return partial(done, {path: self._ensemble.read(path) for path in paths})

        self._send(_Request(0, execute, done, False))

    def children(self, path: str, done: Callable[[ChildrenOutcome], None]) -> None:
        """Names of the children of one znode (see :class:`~nodepool.zk.store.Store`)."""

        def execute() -> Action:
            names = self._ensemble.children(path)
            missing = Refused(0, RefusedBy.NO_NODE, f"{path}: {RefusedBy.NO_NODE.value}")
            return partial(done, missing if names is None else names)

        self._send(_Request(0, execute, done, False))

    def listen(self, listener: Callable[[SessionChange], None]) -> None:
        """Tell ``listener`` the present state, if there was a connection yet, and then each change."""
        self._listeners.append(listener)
        if self._last_change is not None:
            self._soon(partial(listener, self._last_change))

    def feed(self, roots: Sequence[str], publish: Callable[[Batch], None]) -> None:
        """Keep publishing what is below ``roots`` (see :class:`~nodepool.zk.store.Store`)."""
        feed = MemoryFeed(self._ensemble, roots, publish, self._feed_later, self._deliver_news)
        self._feeds.append(feed)
        if self._connection is Connection.CONNECTED:
            feed.connected(self._session)

    # Delivery

    def _deliver(self, action: Action) -> None:
        """Run an action of the process, unless it is crashed; later if it is paused."""
        if self._crashed:
            return
        if self._paused:
            self._held.append(action)
        else:
            action()

    def _deliver_news(self, action: Action) -> None:
        """As on a real connection: after the answers to all that was done before."""
        if self._inbox:
            self._inbox.append((None, action))
            self._schedule(self._latency(), self._answer)
        else:
            self._deliver(action)

    def _feed_later(self, action: Action) -> None:
        self._schedule(self._latency() + self.feed_lag, action)

    def _later(self, action: Action) -> None:
        self._schedule(self._latency(), partial(self._deliver, action))

    def _soon(self, action: Action) -> None:
        self._schedule(0.0, partial(self._deliver, action))

    def _send(self, request: _Request) -> None:
        if not self._session or request.session not in (0, self._session):
            self._soon(partial(request.fail, Uncertain.SESSION_LOST))
        elif self._connection is not Connection.CONNECTED:
            self._soon(partial(request.fail, Uncertain.CONNECTION_LOST))
        else:
            request.session = self._session
            self._outbox.append(request)
            self._schedule(self._latency(), self._arrive)

    def _arrive(self) -> None:
        if not self._outbox:
            return
        request = self._outbox.popleft()
        answer: Action
        if not self._ensemble.is_alive(request.session):
            answer = partial(self._answer_expired, request)
        elif request.writes and self._lost_answers:
            answer = self._lose(request)
        else:
            answer = request.execute()
        self._inbox.append((request, answer))
        self._schedule(self._latency(), self._answer)

    def _lose(self, request: _Request) -> Action:
        executed, verdict = self._lost_answers.popleft()
        if executed:
            request.execute()
        return partial(request.fail, verdict)

    def _answer(self) -> None:
        if self._inbox:
            self._deliver(self._inbox.popleft()[1])

    def _answer_expired(self, request: _Request) -> None:
        request.fail(Uncertain.SESSION_LOST)
        self._learn(request.session)

    # Session

    def _open(self) -> None:
        if not self._linked or self._connection is Connection.CONNECTED:
            return
        if self._session and not self._ensemble.is_alive(self._session):
            self._learn(self._session)
            return
        if not self._session:
            self._session = self._ensemble.open_session(self._expired)
        self._change(Connection.CONNECTED)
        for feed in self._feeds:
            feed.connected(self._session)
        for prefix in list(self._doubts):
            self._later(partial(self._take_back, prefix))

    def _expired(self, notice: float | None) -> None:
        if notice is not None:
            self._schedule(notice, partial(self._deliver, partial(self._learn, self._session)))

    def _learn(self, session: int) -> None:
        """Notice that a session is over, if it is, and begin a new one."""
        if session != self._session or not session or self._ensemble.is_alive(session):
            return
        self._fail_all(Uncertain.SESSION_LOST)
        self._drop_feeds()
        self._doubts.clear()
        self._session = 0
        self._change(Connection.LOST, session)
        if self._linked:
            self._later(self._open)

    def _fall_silent(self) -> None:
        """The ensemble hears nothing of us from now on; the session ends unless that has changed in time."""
        self._silence += 1
        self._schedule(self._session_timeout, partial(self._end_session, self._silence, self._session))

    def _end_session(self, silence: int, session: int) -> None:
        if silence == self._silence:
            # A disconnected process has a clock of its own; a paused one learns of it when it runs again.
            self._ensemble.expire(session, notice=None if self._paused else 0.0)

    def _be_heard(self) -> None:
        self._silence += 1
        if self._paused or self._crashed or not self._linked:
            self._fall_silent()

    def _change(self, connection: Connection, session: int = 0) -> None:
        self._connection = connection
        change = self._last_change = SessionChange(connection, session or self._session)
        for listener in self._listeners:
            self._soon(partial(listener, change))

    def _fail_all(self, verdict: Uncertain) -> None:
        requests = [*(request for request, _ in self._inbox if request is not None), *self._outbox]
        self._inbox.clear()
        self._outbox.clear()
        for request in requests:
            self._soon(partial(request.fail, verdict))

    def _drop_feeds(self) -> None:
        for feed in self._feeds:
            feed.disconnected()

    def _doubt(self, prefix: str, directory: str, verdict: Uncertain) -> None:
        if verdict is not Uncertain.SESSION_LOST:
            self._doubts[prefix] = directory
            if self._connection is Connection.CONNECTED:
                self._later(partial(self._take_back, prefix))

    def _take_back(self, prefix: str) -> None:
        if not self._linked or prefix not in self._doubts:
            return
        directory = self._doubts.pop(prefix)
        for name in self._ensemble.children(directory) or ():
            if name.startswith(prefix):
                self._ensemble.commit([Delete(f"{directory}/{name}")])
