"""Keeping our component records in ZooKeeper: there, up to date, and gone when we stop (spec zookeeper 4.6).

Level-triggered: what is wanted is compared with what is known to be there, and one operation at a time brings both
together. A new session begins with nothing there; after an uncertain outcome ZooKeeper is read before anything else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nodepool.zk.ensure import ensure
from nodepool.zk.paths import components
from nodepool.zk.store import (
    ChildrenOutcome,
    Committed,
    Connection,
    Create,
    Delete,
    Operation,
    Outcome,
    ReadOutcome,
    Refused,
    RefusedBy,
    SessionChange,
    SetData,
    Store,
    Uncertain,
)

log = logging.getLogger("nodepool.ComponentRegistry")


@dataclass(frozen=True, slots=True)
class _Wanted:
    kind: str
    prefix: str
    data: bytes


@dataclass(frozen=True, slots=True)
class _Known:
    kind: str
    path: str
    version: int
    data: bytes
    sure: bool = True


class Registry:
    """Keeps any number of component records, each under a key of the caller's choice. Any thread may call.

    ``hostname`` is the beginning of the records' names; ZooKeeper adds a number, another one in each session.
    """

    def __init__(self, store: Store, hostname: str) -> None:
        self._store = store
        self._hostname = hostname
        self._lock = threading.RLock()
        self._session = 0
        self._connected = False
        self._busy = False
        self._wanted: dict[str, _Wanted] = {}
        self._known: dict[str, _Known] = {}
        self._doubtful: set[str] = set()
        """Kinds of which a record of ours may exist that we do not know."""
        self._refused: set[str] = set()
        """Keys whose record ZooKeeper does not take; tried again when it changes or in a new session."""
        self._closed: Callable[[], None] | None = None
        store.listen(self._session_changed)

    def put(self, key: str, kind: str, data: bytes) -> None:
        """Register a component of a kind (``launcher``, ``builder``, ``pool``), or change its record."""
        with self._lock:
            self._wanted[key] = _Wanted(kind, f"{components(kind)}/{self._hostname}", data)
            self._refused.discard(key)
            self._advance()

    def drop(self, key: str) -> None:
        """Remove a component."""
        with self._lock:
            self._wanted.pop(key, None)
            self._advance()

    def path(self, key: str) -> str | None:
        """Where a component is registered, None while it is not."""
        with self._lock:
            known = self._known.get(key)
            return known.path if known else None

    def close(self, closed: Callable[[], None]) -> None:
        """Remove all components; ``closed`` is called when they are gone, or cannot be removed now."""
        with self._lock:
            self._wanted.clear()
            self._closed = closed
            self._advance()

    def _session_changed(self, change: SessionChange) -> None:
        with self._lock:
            if change.session != self._session or change.connection is Connection.LOST:
                self._known.clear()
                self._doubtful.clear()
                self._refused.clear()
            self._session = change.session
            self._connected = change.connection is Connection.CONNECTED
            self._advance()

    def _advance(self) -> None:
        """Do the next operation, if one is needed and none is on its way."""
        if self._busy:
            return
        if self._connected:
            self._busy = self._repair() or self._remove() or self._register()
        if not self._busy and self._closed is not None:
            closed, self._closed = self._closed, None
            closed()

    def _repair(self) -> bool:
        unsure = {key: known.path for key, known in self._known.items() if not known.sure}
        if unsure:
            self._store.read(list(unsure.values()), partial(self._reread, self._session, unsure))
            return True
        if self._doubtful:
            kind = min(self._doubtful)
            self._store.children(components(kind), partial(self._listed, self._session, kind))
            return True
        return False

    def _remove(self) -> bool:
        for key, known in self._known.items():
            if key not in self._wanted:
                self._commit(Delete(known.path), partial(self._removed, self._session, key))
                return True
        return False

    def _register(self) -> bool:
        for key, wanted in self._wanted.items():
            known = self._known.get(key)
            if key in self._refused or (known is not None and known.data == wanted.data):
                continue
            if known is None:
                creation = Create(wanted.prefix, wanted.data, ephemeral=True, sequence=True)
                self._commit(creation, partial(self._created, self._session, key, wanted))
            else:
                change = SetData(known.path, wanted.data, known.version)
                self._commit(change, partial(self._changed, self._session, key, wanted))
            return True
        return False

    def _commit(self, operation: Operation, done: Callable[[Outcome], None]) -> None:
        self._store.commit([operation], done, self._session)

    # Outcomes. What belongs to an earlier session only frees the way.

    def _created(self, session: int, key: str, wanted: _Wanted, outcome: Outcome) -> None:
        with self._lock:
            if session == self._session:
                match outcome:
                    case Committed(results):
                        self._known[key] = _Known(wanted.kind, str(results[0]), 0, wanted.data)
                    case Refused(reason=RefusedBy.NO_NODE):
                        ensure(self._store, components(wanted.kind), partial(self._ensured, key))
                        return
                    case Refused():
                        self._give_up(key, outcome)
                    case _:
                        self._doubtful.add(wanted.kind)
            self._go_on()

    def _ensured(self, key: str, outcome: Outcome) -> None:
        with self._lock:
            if isinstance(outcome, Refused):
                self._give_up(key, outcome)
            self._go_on()

    def _changed(self, session: int, key: str, wanted: _Wanted, outcome: Outcome) -> None:
        with self._lock:
            known = self._known.get(key)
            if session == self._session and known is not None:
                match outcome:
                    case Committed():
                        self._known[key] = _Known(known.kind, known.path, known.version + 1, wanted.data)
                    case Refused(reason=RefusedBy.OTHER):
                        self._give_up(key, outcome)
                    case _:
                        self._known[key] = _Known(known.kind, known.path, known.version, known.data, sure=False)
            self._go_on()

    def _removed(self, session: int, key: str, outcome: Outcome) -> None:
        with self._lock:
            if session == self._session and isinstance(outcome, Committed | Refused):
                self._known.pop(key, None)
            self._go_on()

    def _reread(self, session: int, paths: dict[str, str], outcome: ReadOutcome) -> None:
        with self._lock:
            if session == self._session and not isinstance(outcome, Uncertain):
                for key, path in paths.items():
                    datum = outcome[path]
                    known = self._known.pop(key, None)
                    if datum is not None and known is not None:
                        self._known[key] = _Known(known.kind, path, datum.version, datum.data)
            self._go_on()

    def _listed(self, session: int, kind: str, outcome: ChildrenOutcome) -> None:
        with self._lock:
            if session == self._session and isinstance(outcome, tuple):
                names = [name for name in outcome if name.startswith(self._hostname)]
                paths = [f"{components(kind)}/{name}" for name in names]
                self._store.read(paths, partial(self._searched, session, kind))
                return
            if isinstance(outcome, Refused):
                self._doubtful.discard(kind)
            self._go_on()

    def _searched(self, session: int, kind: str, outcome: ReadOutcome) -> None:
        with self._lock:
            if session == self._session and not isinstance(outcome, Uncertain):
                known = {entry.path for entry in self._known.values()}
                for path, datum in outcome.items():
                    if datum is not None and datum.ephemeral_owner == session and path not in known:
                        self._known[f"lost record {path}"] = _Known(kind, path, datum.version, datum.data)
                self._doubtful.discard(kind)
            self._go_on()

    def _give_up(self, key: str, outcome: Refused) -> None:
        self._refused.add(key)
        log.error("The component %s cannot be registered: %s", key, outcome.detail)

    def _go_on(self) -> None:
        self._busy = False
        if self._store.session() != self._session:
            # Nothing more can be done in this one; the next one is told of.
            self._connected = False
        self._advance()
