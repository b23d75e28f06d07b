"""What the rest of Nodepool knows of ZooKeeper: operations, outcomes and the interface of a store.

Two implementations keep this contract: :mod:`nodepool.zk.session` (a real ZooKeeper through kazoo) and
:mod:`nodepool.zk.memory` (in memory, with virtual time, for simulation). One test suite holds them to it.

Every call returns at once. Its outcome is handed to a callback, exactly once, from a thread of the store's own
choosing; a callback must not block. Paths are absolute and below the chroot. Nothing here decodes records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

SIZE_LIMIT = 1_000_000
"""Most bytes of a transaction. ZooKeeper's own limit is ``jute.maxbuffer``, by default 1,048,575 bytes; it answers a
longer request by cutting the connection, which would look like an outage. So a store refuses it unsent."""


@dataclass(frozen=True, slots=True)
class Create:
    """Create a znode; fails if it exists or if its parent does not. With ``sequence`` ten digits are appended."""

    path: str
    data: bytes = b""
    ephemeral: bool = False
    sequence: bool = False


@dataclass(frozen=True, slots=True)
class SetData:
    """Replace the data of a znode that still has ``version``."""

    path: str
    data: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a znode without children; ``version`` -1 means whatever version it has."""

    path: str
    version: int = -1


@dataclass(frozen=True, slots=True)
class Check:
    """Refuse the whole transaction unless the znode exists (and has ``version``, if that is not -1)."""

    path: str
    version: int = -1


Operation = Create | SetData | Delete | Check


@dataclass(frozen=True, slots=True)
class Datum:
    """Data and the part of a znode's stat that somebody needs. Times are epoch seconds."""

    data: bytes
    version: int
    czxid: int
    mzxid: int
    ctime: float
    mtime: float
    ephemeral_owner: int
    """Session id of the owner of an ephemeral znode, else 0."""


class RefusedBy(Enum):
    """Why ZooKeeper refused a transaction; nothing of it was done."""

    NO_NODE = "a znode does not exist"
    NODE_EXISTS = "a znode exists already"
    BAD_VERSION = "a znode was changed meanwhile"
    NOT_EMPTY = "a znode still has children"
    OTHER = "ZooKeeper refused it"


@dataclass(frozen=True, slots=True)
class Committed:
    """The transaction was done as a whole.

    ``results`` has one element per operation: the path for a :class:`Create`, the new version for a
    :class:`SetData`, None for the others. ``zxid`` is the transaction's id, 0 when it is not known.
    """

    results: tuple[str | int | None, ...]
    zxid: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """The transaction was refused because of operation number ``index``; nothing was changed."""

    index: int
    reason: RefusedBy
    detail: str = ""


class Uncertain(Enum):
    """The store cannot say whether the transaction was done: read again and decide again."""

    SESSION_LOST = "the ZooKeeper session is gone"
    CONNECTION_LOST = "the connection to ZooKeeper broke while the answer was awaited"
    TIMED_OUT = "ZooKeeper did not answer in time"


Outcome = Committed | Refused | Uncertain


@dataclass(frozen=True, slots=True)
class Contended:
    """We have a contender in the lock directory ``directory``.

    ``ahead`` are the names of contenders before ours; the lock is ours when it is empty.
    """

    directory: str
    contender: str
    ahead: tuple[str, ...]


ContendOutcome = Contended | Refused | Uncertain
ReadOutcome = Mapping[str, Datum | None] | Uncertain
ChildrenOutcome = tuple[str, ...] | Refused | Uncertain


class Connection(Enum):
    """State of our session as far as we may rely on it."""

    CONNECTED = "writes and locks are good"
    SUSPENDED = "no server answers; locks are in doubt and nothing is written"
    LOST = "the session is gone, and with it all locks and ephemeral znodes"


@dataclass(frozen=True, slots=True)
class SessionChange:
    """A change of the connection. ``session`` is the id of the session it is about (0 if there is none)."""

    connection: Connection
    session: int


@dataclass(frozen=True, slots=True)
class Batch:
    """News of a feed, in the order in which ZooKeeper did it.

    ``entries`` maps a path to its present data, or to None if it is gone. With ``complete`` the batch is all there
    is below the feed's roots: whatever it does not name does not exist.
    """

    session: int
    entries: Mapping[str, Datum | None]
    complete: bool


class Store(Protocol):
    """One ZooKeeper session. Any thread may call; calls made while not connected end as :class:`Uncertain`."""

    def session(self) -> int:
        """Id of the present session, 0 while there is none."""

    def commit(self, operations: Sequence[Operation], done: Callable[[Outcome], None], session: int = 0) -> None:
        """Do all operations or none.

        With ``session`` the transaction is refused as ``Uncertain.SESSION_LOST``, unsent, when that is not the
        present session any more.
        """

    def contend(
        self, directory: str, identifier: bytes, done: Callable[[ContendOutcome], None], session: int = 0
    ) -> None:
        """Join the queue of a lock: create our contender and list who is ahead of it, in one go.

        The recipe is kazoo's (spec zookeeper 6.1). The directory is never created here: a missing one is a
        ``Refused(NO_NODE)``. Whoever does not want to wait deletes the contender that is reported. When the
        outcome is uncertain the store removes the contender by its unique name as soon as it can.
        """

    def read(self, paths: Sequence[str], done: Callable[[ReadOutcome], None]) -> None:
        """Read data of many znodes (multi-read); a missing one is None."""

    def children(self, path: str, done: Callable[[ChildrenOutcome], None]) -> None:
        """Names of the children of one znode, unsorted."""

    def listen(self, listener: Callable[[SessionChange], None]) -> None:
        """Call ``listener`` at each change of the connection, from the store's thread, in order.

        A listener that comes later than the first connection is told the present state first. Before
        ``SUSPENDED`` or ``LOST`` is told, the calls that it interrupted have ended.
        """

    def feed(self, roots: Sequence[str], publish: Callable[[Batch], None]) -> None:
        """Keep publishing what is and what changes below ``roots`` (roots need not exist).

        A complete batch comes first and again after every reconnection. A path is read after each change of it,
        so a batch may skip states in between; what it holds is never older than what an earlier batch held.
        """
