"""Taking part in an election: the lock recipe, where the winner stays until its session ends (spec zookeeper 7)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from enum import Enum

from nodepool.zk.contenders import queue
from nodepool.zk.ensure import ensure
from nodepool.zk.paths import election
from nodepool.zk.store import (
    Connection,
    Contended,
    ContendOutcome,
    Delete,
    Outcome,
    Refused,
    RefusedBy,
    SessionChange,
    Store,
)

log = logging.getLogger("nodepool.zk.election")


class Step(Enum):
    """What a participant has to do, or may do."""

    JOIN = "enter the queue"
    WAIT = "somebody else leads, or nobody can say"
    LEAD = "we lead"


def next_step(ours: str | None, seen: Collection[str], connected: bool) -> Step:
    """The step of one whose contender is ``ours`` and who sees the contenders ``seen``."""
    if not connected:
        return Step.WAIT
    if ours is None:
        return Step.JOIN
    return Step.LEAD if queue(seen)[:1] == (ours,) else Step.WAIT


class Election:
    """Our part in the election ``name``; enters again in each new session. Any thread may call.

    ``identifier`` tells people who we are, as ``hostname-pid``. Whoever has a feed of the election's directory must
    report its contenders through :meth:`seen`.
    """

    def __init__(self, store: Store, name: str, identifier: bytes) -> None:
        self._store = store
        self._directory = election(name)
        self._identifier = identifier
        self._lock = threading.RLock()
        self._connected = False
        self._session = 0
        self._ours: str | None = None
        self._was_seen = False
        self._seen: Collection[str] = ()
        self._joining = False
        self._left = False
        store.listen(self._session_changed)

    @property
    def leading(self) -> bool:
        """Whether we lead, as far as we know; False while the connection is in doubt."""
        with self._lock:
            return next_step(self._ours, self._seen, self._connected) is Step.LEAD

    def seen(self, contenders: Collection[str]) -> None:
        """The contenders that a feed shows now."""
        with self._lock:
            self._seen = frozenset(contenders)
            if self._ours in self._seen:
                self._was_seen = True
            elif self._was_seen:
                self._forget()
                self._advance()

    def leave(self) -> None:
        """Give up leading, for good."""
        with self._lock:
            self._left = True
            if self._ours is not None:
                self._store.commit([Delete(f"{self._directory}/{self._ours}")], _ignore, self._session)
            self._forget()

    def _session_changed(self, change: SessionChange) -> None:
        with self._lock:
            if change.session != self._session or change.connection is Connection.LOST:
                self._forget()
            self._session = change.session
            self._connected = change.connection is Connection.CONNECTED
            self._advance()

    def _advance(self) -> None:
        if self._joining or self._left or next_step(self._ours, self._seen, self._connected) is not Step.JOIN:
            return
        self._joining = True
        session = self._session
        self._store.contend(
            self._directory, self._identifier, lambda outcome: self._contended(outcome, session), session
        )

    def _contended(self, outcome: ContendOutcome, session: int) -> None:
        with self._lock:
            if isinstance(outcome, Refused) and outcome.reason is RefusedBy.NO_NODE:
                ensure(self._store, self._directory, self._ensured)
                return
            self._joining = False
            match outcome:
                case Contended() if self._left:
                    self._store.commit([Delete(f"{self._directory}/{outcome.contender}")], _ignore, session)
                case Contended() if session == self._session:
                    self._ours = outcome.contender
                    self._was_seen = outcome.contender in self._seen
                case Refused():
                    log.error("Cannot take part in the election %s: %s", self._directory, outcome.detail)
                case _:
                    self._advance()

    def _ensured(self, outcome: Outcome) -> None:
        with self._lock:
            self._joining = False
            if isinstance(outcome, Refused):
                log.error("Cannot take part in the election %s: %s", self._directory, outcome.detail)
            else:
                self._advance()

    def _forget(self) -> None:
        self._ours = None
        self._was_seen = False


def _ignore(_: Outcome) -> None:
    """It goes with the session anyway."""
