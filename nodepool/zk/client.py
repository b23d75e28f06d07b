"""ZooKeeper for a command: one call after the other, each waits for its end. Never for a daemon's threads."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from nodepool.zk.contenders import ahead_of, sequence_of
from nodepool.zk.ensure import ensure
from nodepool.zk.session import DEFAULT_SESSION_TIMEOUT, KazooStore
from nodepool.zk.store import (
    Batch,
    Check,
    Committed,
    Contended,
    ContendOutcome,
    Create,
    Datum,
    Delete,
    Operation,
    Outcome,
    ReadOutcome,
    Refused,
    RefusedBy,
    Uncertain,
)
from nodepool.zk.tls import TLSFiles

T = TypeVar("T")


class ZooKeeperError(Exception):
    """Something could not be done in ZooKeeper; the message is for people."""


class TransactionRefused(ZooKeeperError):
    """Nothing was done; ``refused`` says why."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(f"{refused.reason.value} ({refused.detail})")
        self.refused = refused


class OutcomeUnknown(ZooKeeperError):
    """It may have been done or not; ``verdict`` says why nobody knows."""

    def __init__(self, verdict: Uncertain) -> None:
        super().__init__(f"{verdict.value}: what was asked for may have been done or not")
        self.verdict = verdict


class RecordMissing(ZooKeeperError):
    """What should be locked does not exist."""


class LockTimeout(ZooKeeperError):
    """The lock is held by somebody else. ``holder`` is the identifier that it gave, or its contender's name."""

    def __init__(self, directory: str, holder: str) -> None:
        super().__init__(f"{directory} is held by {holder}")
        self.holder = holder


class LockLost(ZooKeeperError):
    """Our place in the queue of a lock is gone."""


def connect(
    hosts: str,
    chroot: str = "",
    tls: TLSFiles | None = None,
    session_timeout: float = DEFAULT_SESSION_TIMEOUT,
    patience: float | None = None,
) -> Client:
    """A client that is connected. Waits for ever, or for ``patience`` seconds; the log says each 10 s what is wrong.

    Raises :class:`ValueError` for settings that make no sense and :class:`ZooKeeperError` when the patience is over.
    """
    store = KazooStore(hosts, chroot, tls, session_timeout)
    store.start()
    try:
        connected = store.wait_connected(patience)
    except BaseException:
        store.close()
        raise
    if not connected:
        trouble = store.trouble()
        store.close()
        raise ZooKeeperError(f"no connection to ZooKeeper: {trouble}")
    return Client(store)


class Client:
    """Blocking calls on a store that was started; one thread at a time. A context manager: closes the store."""

    def __init__(self, store: KazooStore) -> None:
        self.store = store

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session, and with it all locks."""
        self.store.close()

    def tree(self, roots: Sequence[str]) -> dict[str, Datum]:
        """All znodes at and below ``roots``; takes as long as it takes to have a connection for it."""
        while True:
            outcome: ReadOutcome = self._result(partial(self.store.tree, roots))
            if not isinstance(outcome, Uncertain):
                return {path: datum for path, datum in outcome.items() if datum is not None}

    def commit(self, operations: Sequence[Operation]) -> Committed:
        """Do all operations or none. Raises :class:`TransactionRefused` or :class:`OutcomeUnknown`."""
        return _committed(self._result(partial(self.store.commit, operations)))

    def ensure(self, path: str) -> None:
        """Create a znode and its parents where they are missing: for roots, never for records."""
        _committed(self._result(partial(ensure, self.store, path)))

    @contextlib.contextmanager
    def lock(self, directory: str, identifier: bytes = b"", wait_seconds: float = 0.0) -> Iterator[Contended]:
        """Hold the lock whose directory this is. Every write under it should check the contender that is yielded.

        The directory is created if it is missing, but nothing above it. Raises :class:`RecordMissing`,
        :class:`LockTimeout`, :class:`LockLost` or :class:`OutcomeUnknown`.
        """
        held = self._join(directory, identifier)
        try:
            if held.ahead:
                self._wait_turn(held, wait_seconds)
            yield held
        finally:
            # Whatever the outcome: what is left of it ends with the session.
            self.store.commit([Delete(f"{directory}/{held.contender}")], lambda _: None)

    def _join(self, directory: str, identifier: bytes) -> Contended:
        contend = partial(self.store.contend, directory, identifier)
        outcome: ContendOutcome = self._result(contend)
        if isinstance(outcome, Refused) and outcome.reason is RefusedBy.NO_NODE:
            self._make_directory(directory)
            outcome = self._result(contend)
        match outcome:
            case Contended():
                return outcome
            case Refused():
                raise TransactionRefused(outcome)
            case _:
                raise OutcomeUnknown(outcome)

    def _make_directory(self, directory: str) -> None:
        record = directory.rpartition("/")[0]
        try:
            self.commit([Check(record), Create(directory)])
        except TransactionRefused as error:
            if error.refused.reason is RefusedBy.NO_NODE:
                raise RecordMissing(f"{record} does not exist") from None
            if error.refused.reason is not RefusedBy.NODE_EXISTS:
                raise

    def _wait_turn(self, held: Contended, seconds: float) -> None:
        changed = threading.Condition()
        contenders: dict[str, Datum] = {}
        loaded = False

        def take(batch: Batch) -> None:
            nonlocal loaded
            with changed:
                loaded = True
                if batch.complete:
                    contenders.clear()
                for path, datum in batch.entries.items():
                    name = path.rpartition("/")[2]
                    if datum is None:
                        contenders.pop(name, None)
                    elif sequence_of(name) is not None:
                        contenders[name] = datum
                changed.notify_all()

        def gone() -> bool:
            return loaded and held.contender not in contenders

        def ours() -> bool:
            return held.contender in contenders and not ahead_of(held.contender, contenders)

        deadline = time.monotonic() + seconds
        self.store.feed([held.directory], take)
        with changed:
            changed.wait_for(lambda: loaded)
            changed.wait_for(lambda: ours() or gone(), max(0.0, deadline - time.monotonic()))
            if gone():
                raise LockLost(f"{held.directory}: our place in the queue is gone")
            if not ours():
                first = ahead_of(held.contender, contenders)[0]
                raise LockTimeout(held.directory, contenders[first].data.decode("utf-8", "replace") or first)

    def _result(self, start: Callable[[Callable[[T], None]], None]) -> T:
        self.store.wait_connected()
        ended = threading.Event()
        results: list[T] = []

        def done(result: T) -> None:
            if not results:
                results.append(result)
                ended.set()

        start(done)
        ended.wait()
        return results[0]


def _committed(outcome: Outcome) -> Committed:
    match outcome:
        case Committed():
            return outcome
        case Refused():
            raise TransactionRefused(outcome)
        case _:
            raise OutcomeUnknown(outcome)
