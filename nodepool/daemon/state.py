"""What every decision core knows: its session with ZooKeeper, its transactions under way, and what to look at.

Belongs to the decision thread; no I/O. A key is what a transaction, a timer or a look is about: an image, a node, a
request.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nodepool.daemon.instructions import Commit, Key, Measured, Purpose, Say
from nodepool.model.timers import Timers
from nodepool.telemetry.facts import Fact
from nodepool.zk.contenders import PREFIX_END
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Check, Connection, Operation, Refused, SessionChange

if TYPE_CHECKING:
    import random

Order = TypeVar("Order")
"""What only this core asks for."""

RETRY_AFTER_REFUSAL = 0.25
"""Seconds until something is looked at again whose transaction was refused, if no news of it comes first."""
RETRY_AFTER_DOUBT = 2.0
"""Seconds until something is looked at again whose transaction's outcome nobody knows."""


class CoreState(Generic[Purpose, Key, Order]):
    """See the module's description."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = 0.0
        self.connection = Connection.SUSPENDED
        self.session = 0
        self.synced = False
        """Whether the mirror has all there is in this session."""
        self.fence = ""
        """Path of our own component in this session: as long as it stands, so does the session."""
        self.prefix = ""
        """How the names of all our contenders in this session begin."""
        self.stopping = False
        """Whether nothing new is begun."""
        self.mirror = Mirror()
        self.noticed: dict[Hashable, float] = {}
        """When something was first seen that may end without us (epoch seconds)."""
        self.reported: set[str] = set()
        """Broken records that were reported."""
        self.busy: dict[Key, float] = {}
        """Keys with a transaction under way or in doubt, to the time when they are looked at again (0: no time)."""
        self.refused: set[Key] = set()
        """Those of them whose transaction was refused: any news of them is a reason to decide anew at once."""
        self.dirty: set[Key] = set()
        """What to look at."""
        self.out: list[Commit[Purpose, Key] | Say | Measured | Order] = []
        self.timers = Timers()

    # The session

    def take_session(self, change: SessionChange) -> bool:
        """The connection changed; returns whether the session is gone, and all locks with it."""
        connected = change.connection is Connection.CONNECTED
        lost = change.connection is Connection.LOST or (connected and change.session != self.session)
        if lost:
            self.busy.clear()
            self.refused.clear()
            self.noticed.clear()
            self.fence = ""
            self.session = change.session if connected else 0
            self.prefix = f"{self.chance.getrandbits(128):032x}" if connected else ""
        self.connection = change.connection
        self.synced = False
        return lost

    def end_doubts(self) -> None:
        """The mirror has all there is: what became of transactions stands in it."""
        self.synced = True
        for key in [key for key, until in self.busy.items() if until]:
            self.free(key)

    @property
    def working(self) -> bool:
        """Whether we may decide: connected, in step with ZooKeeper, and registered."""
        return self.connection is Connection.CONNECTED and self.synced and bool(self.fence)

    @property
    def contender_path(self) -> str:
        """Name of our contenders, without the sequence that ZooKeeper appends."""
        return self.prefix + PREFIX_END

    def our_contender(self, contenders: Iterable[str]) -> str | None:
        """Our contender among some, None if we have none."""
        if not self.prefix:
            return None
        return next((name for name in contenders if name.startswith(self.contender_path)), None)

    # Transactions

    def commit(self, purpose: Purpose, key: Key, operations: Sequence[Operation], about: Any = None) -> None:
        """Ask for one transaction about ``key``, fenced by our session's own component."""
        self.busy[key] = 0.0
        self.out.append(Commit(purpose, key, (Check(self.fence), *operations), self.session, about))

    def measure(self, fact: Fact) -> None:
        """Tell the metrics."""
        self.out.append(Measured(fact))

    def free(self, key: Key) -> None:
        """The transaction about ``key`` has ended, and what it has changed is in the mirror."""
        self.busy.pop(key, None)
        self.refused.discard(key)

    def put_off(self, keys: Iterable[Key], outcome: object) -> float:
        """A transaction was not done, or nobody knows; returns when its keys are looked at again (epoch seconds)."""
        refused = isinstance(outcome, Refused)
        at = self.now + (RETRY_AFTER_REFUSAL if refused else RETRY_AFTER_DOUBT)
        for key in keys:
            self.busy[key] = at
            self.timers.add(at, key)
            if refused:
                self.refused.add(key)
        return at

    # What to look at

    def touch(self, key: Key) -> None:
        """There is news."""
        self.dirty.add(key)
        if key in self.refused:
            self.free(key)

    def is_due(self, key: Key) -> None:
        """The time has come to look at ``key``; a transaction about it that is in doubt is not waited for any more."""
        until = self.busy.get(key, 0.0)
        if until and until <= self.now:
            self.free(key)
        self.dirty.add(key)
