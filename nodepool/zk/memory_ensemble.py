"""ZooKeeper's data model in memory: the tree, transactions, sequence numbers, sessions and their ephemeral znodes.

Pure and single-threaded; time comes in as a function. It does what a real ensemble does, down to the numbers, and is
held to that by the contract tests. Several :class:`~nodepool.zk.memory.MemoryStore` share one ensemble.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nodepool.zk.store import (
    SIZE_LIMIT,
    Check,
    Committed,
    Create,
    Datum,
    Delete,
    Operation,
    Refused,
    RefusedBy,
    SetData,
)

Changes = Mapping[str, Datum | None]
_OVERHEAD = 60
"""Bytes of a request for each operation, besides path and data."""


@dataclass(slots=True)
class _Znode:
    datum: Datum
    children: dict[str, None] = field(default_factory=dict)
    """Names, in the order of their creation."""
    created: int = 0
    """Children ever created: the next sequence number. Deletions do not count."""


@dataclass(slots=True)
class _Session:
    expired: Callable[[float | None], None]
    ephemerals: dict[str, None] = field(default_factory=dict)


class _Refusal(Exception):
    def __init__(self, reason: RefusedBy) -> None:
        self.reason = reason


class MemoryEnsemble:
    """One ZooKeeper in memory. ``clock`` gives epoch seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.zxid = 0
        """Id of the last transaction."""
        self.writes = 0
        """Transactions that were done, without those of sessions."""
        self._clock = clock
        self._znodes: dict[str, _Znode] = {"/": _Znode(Datum(b"", 0, 0, 0, 0.0, 0.0, 0))}
        self._sessions: dict[int, _Session] = {}
        self._next_session = 1
        self._subscribers: list[Callable[[Changes], None]] = []

    # Sessions

    def open_session(self, expired: Callable[[float | None], None] = lambda _: None) -> int:
        """Begin a session; its id. ``expired`` is called with the ``notice`` of :meth:`expire`."""
        session = self._next_session
        self._next_session += 1
        self._sessions[session] = _Session(expired)
        self.zxid += 1
        return session

    def is_alive(self, session: int) -> bool:
        """Whether the session exists."""
        return session in self._sessions

    def expire(self, session: int, notice: float | None = None) -> None:
        """End a session: its ephemeral znodes are gone at once.

        Its store learns of it after ``notice`` seconds, or with None at its next call. Unknown sessions are ignored.
        """
        ended = self._sessions.pop(session, None)
        if ended is None:
            return
        self.zxid += 1
        changes: dict[str, Datum | None] = {}
        for path in list(ended.ephemerals):
            self._remove(path, changes)
        self._publish(changes)
        ended.expired(notice)

    # Reading

    def read(self, path: str) -> Datum | None:
        """What a znode holds, None if it does not exist."""
        znode = self._znodes.get(path)
        return znode.datum if znode else None

    def children(self, path: str) -> tuple[str, ...] | None:
        """Names of the children of a znode, None if it does not exist."""
        znode = self._znodes.get(path)
        return tuple(znode.children) if znode else None

    def tree(self, roots: Sequence[str]) -> dict[str, Datum]:
        """All znodes at and below ``roots``."""
        return {path: self._znodes[path].datum for root in roots for path in self._below(root)}

    def subscribe(self, changed: Callable[[Changes], None]) -> None:
        """Call ``changed`` after each transaction with the paths it touched and what they hold now."""
        self._subscribers.append(changed)

    def unsubscribe(self, changed: Callable[[Changes], None]) -> None:
        """End a subscription."""
        self._subscribers.remove(changed)

    # Writing

    def commit(self, operations: Sequence[Operation], session: int = 0) -> Committed | Refused:
        """Do all operations or none. Ephemeral znodes belong to ``session``, which must be alive then."""
        too_long = _too_long(operations)
        if too_long is not None:
            return too_long
        self.zxid += 1
        changes: dict[str, Datum | None] = {}
        undo: list[Callable[[], None]] = []
        results: list[str | int | None] = []
        for index, operation in enumerate(operations):
            try:
                results.append(self._apply(operation, session, changes, undo))
            except _Refusal as refusal:
                for action in reversed(undo):
                    action()
                return Refused(index, refusal.reason, f"{operation.path}: {refusal.reason.value}")
        self.writes += 1
        self._publish(changes)
        return Committed(tuple(results), self.zxid)

    def _apply(
        self, operation: Operation, session: int, changes: dict[str, Datum | None], undo: list[Callable[[], None]]
    ) -> str | int | None:
        match operation:
            case Check(path, version):
                self._existing(path, version)
                return None
            case SetData(path, data, version):
                znode = self._existing(path, version)
                old = znode.datum
                now = self._clock()
                znode.datum = Datum(data, old.version + 1, old.czxid, self.zxid, old.ctime, now, old.ephemeral_owner)
                changes[path] = znode.datum
                undo.append(lambda: setattr(znode, "datum", old))
                return znode.datum.version
            case Delete(path, version):
                znode = self._existing(path, version)
                if znode.children:
                    raise _Refusal(RefusedBy.NOT_EMPTY)
                undo.append(self._remove(path, changes))
                return None
            case Create():
                return self._create(operation, session, changes, undo)

    def _existing(self, path: str, version: int) -> _Znode:
        znode = self._znodes.get(path)
        if znode is None:
            raise _Refusal(RefusedBy.NO_NODE)
        if version not in (-1, znode.datum.version):
            raise _Refusal(RefusedBy.BAD_VERSION)
        return znode

    def _create(
        self,
        creation: Create,
        session: int,
        changes: dict[str, Datum | None],
        undo: list[Callable[[], None]],
    ) -> str:
        parent_path, _, name = creation.path.rpartition("/")
        parent = self._znodes.get(parent_path or "/")
        if parent is None:
            raise _Refusal(RefusedBy.NO_NODE)
        path = creation.path
        if creation.sequence:
            name += f"{parent.created:010d}"
            path += f"{parent.created:010d}"
        if path in self._znodes:
            raise _Refusal(RefusedBy.NODE_EXISTS)
        owner = session if creation.ephemeral else 0
        if parent.datum.ephemeral_owner or (creation.ephemeral and session not in self._sessions):
            raise _Refusal(RefusedBy.OTHER)
        now = self._clock()
        znode = self._znodes[path] = _Znode(Datum(creation.data, 0, self.zxid, self.zxid, now, now, owner))
        parent.children[name] = None
        parent.created += 1
        if owner:
            self._sessions[owner].ephemerals[path] = None
        changes[path] = znode.datum
        undo.append(lambda: self._uncreate(path, parent))
        return path

    def _uncreate(self, path: str, parent: _Znode) -> None:
        self._remove(path, {})
        parent.created -= 1

    def _remove(self, path: str, changes: dict[str, Datum | None]) -> Callable[[], None]:
        """Take a znode out of the tree; returns what puts it back."""
        znode = self._znodes.pop(path)
        parent_path, _, name = path.rpartition("/")
        parent = self._znodes[parent_path or "/"]
        del parent.children[name]
        session = self._sessions.get(znode.datum.ephemeral_owner)
        if session is not None:
            session.ephemerals.pop(path, None)
        changes[path] = None

        def put_back() -> None:
            self._znodes[path] = znode
            parent.children[name] = None
            if session is not None:
                session.ephemerals[path] = None

        return put_back

    def _below(self, path: str) -> Iterator[str]:
        todo = [path] if path in self._znodes else []
        while todo:
            path = todo.pop()
            yield path
            base = "" if path == "/" else path
            todo.extend(f"{base}/{name}" for name in self._znodes[path].children)

    def _publish(self, changes: Changes) -> None:
        if changes:
            for changed in self._subscribers:
                changed(changes)


def _too_long(operations: Sequence[Operation]) -> Refused | None:
    size = 0
    for index, operation in enumerate(operations):
        data = operation.data if isinstance(operation, Create | SetData) else b""
        size += _OVERHEAD + len(operation.path) + len(data)
        if size > SIZE_LIMIT:
            return Refused(
                index, RefusedBy.OTHER, f"{operation.path}: the transaction is longer than {SIZE_LIMIT} bytes"
            )
    return None
