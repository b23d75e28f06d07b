"""A ZooKeeper in memory that shows each transaction to observers: who wrote what over what, and who held which lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nodepool.zk import paths
from nodepool.zk.contenders import queue
from nodepool.zk.memory import MemoryEnsemble
from nodepool.zk.store import Check, Committed, Create, Datum, Operation, Refused


@dataclass(frozen=True, slots=True)
class Write:
    """One record of a transaction. ``holders`` are the owners of its lock's contenders before it, the holder first."""

    path: str
    before: Datum | None
    after: Datum | None
    holders: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a session has done; ``session`` is 0 for somebody without one."""

    session: int
    operations: tuple[Operation, ...]
    nodes: tuple[Write, ...]
    requests: tuple[Write, ...]


class WatchedEnsemble(MemoryEnsemble):
    """See the module's description."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.observers: list[Callable[[Transaction], None]] = []
        self.began: dict[int, float] = {}
        """When each session began, and when it ended (epoch seconds)."""
        self.ended: dict[int, float] = {}
        self._time = clock

    def open_session(self, expired: Callable[[float | None], None] = lambda _: None) -> int:
        """Begin a session."""
        session = super().open_session(expired)
        self.began[session] = self._time()
        return session

    def expire(self, session: int, notice: float | None = None) -> None:
        """End a session."""
        if self.is_alive(session):
            self.ended[session] = self._time()
        super().expire(session, notice)

    def commit(self, operations: Sequence[Operation], session: int = 0) -> Committed | Refused:
        """Do all operations or none, and tell."""
        before = [self.read(operation.path) for operation in operations]
        holders = [self._holders_of(operation.path) for operation in operations]
        outcome = super().commit(operations, session)
        if isinstance(outcome, Committed):
            nodes: list[Write] = []
            requests: list[Write] = []
            for operation, result, old, owners in zip(operations, outcome.results, before, holders, strict=True):
                if isinstance(operation, Check):
                    continue
                path = str(result) if isinstance(operation, Create) else operation.path
                parent = path.rpartition("/")[0]
                if parent in (paths.NODES, paths.REQUESTS):
                    write = Write(path, old, self.read(path), owners)
                    (nodes if parent == paths.NODES else requests).append(write)
            transaction = Transaction(session, tuple(operations), tuple(nodes), tuple(requests))
            for observer in self.observers:
                observer(transaction)
        return outcome

    def holders(self, directory: str) -> tuple[int, ...]:
        """Owners of the contenders in a lock directory, the holder first."""
        owners = (self.read(f"{directory}/{name}") for name in queue(self.children(directory) or ()))
        return tuple(owner.ephemeral_owner for owner in owners if owner is not None)

    def _holders_of(self, path: str) -> tuple[int, ...]:
        parent, _, name = path.rpartition("/")
        if parent == paths.NODES:
            return self.holders(paths.node_lock(name))
        if parent == paths.REQUESTS:
            return self.holders(paths.request_lock(name))
        return ()
