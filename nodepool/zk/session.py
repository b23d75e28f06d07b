"""A store on a real ZooKeeper: connects, notices the loss of the session, and starts anew.

kazoo learns of the loss of a session only from a server, that is at the next connection. A clock here declares it lost
when no server has answered for as long as the session lasts. Should the session turn out to be alive after all, it is
closed: once it was called lost, it is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from kazoo.hosts import collect_hosts
from kazoo.protocol.states import KeeperState

from nodepool.zk.calls import Answer, Calls, Reply
from nodepool.zk.contend import Contention
from nodepool.zk.feed import Feed, Load
from nodepool.zk.kazoo_client import OVER, SessionClient
from nodepool.zk.loop import Loop, perform
from nodepool.zk.paths import parents
from nodepool.zk.store import (
    Batch,
    Check,
    ChildrenOutcome,
    Committed,
    Connection,
    ContendOutcome,
    Create,
    Datum,
    Operation,
    Outcome,
    ReadOutcome,
    Refused,
    SessionChange,
    Uncertain,
)
from nodepool.zk.tls import TLSFiles
from nodepool.zk.wire import READ_LIMIT, Request, children_of, committed, data_of, refused, sync, transaction

log = logging.getLogger("nodepool.zk.ZooKeeper")

DEFAULT_SESSION_TIMEOUT = 10.0
DEFAULT_CALL_DEADLINE = 10.0
_REPORT_INTERVAL = 10.0
_FIRST_REPORT = 2.0
_PAUSE = 1.0
_CLOSE_LIMIT = 2.0


class KazooStore:
    """A :class:`~nodepool.zk.store.Store` on a real ZooKeeper. Any thread may call; callbacks run in its own thread.

    ``hosts`` is ``host:port,host:port`` (IPv6 in brackets) without a chroot; ``chroot`` is empty or an absolute path,
    which is created if it is missing. ``session_timeout`` and ``call_deadline`` are seconds; a call that was not
    answered within the deadline ends as ``Uncertain.TIMED_OUT``. Raises :class:`ValueError` for TLS files that cannot
    be used and for a chroot or hosts that make no sense.
    """

    def __init__(
        self,
        hosts: str,
        chroot: str = "",
        tls: TLSFiles | None = None,
        session_timeout: float = DEFAULT_SESSION_TIMEOUT,
        call_deadline: float = DEFAULT_CALL_DEADLINE,
    ) -> None:
        if tls:
            tls.context()
        if chroot and not chroot.startswith("/"):
            raise ValueError(f"the chroot {chroot!r} must begin with /")
        self._hosts = _checked(hosts)
        self._chroot = chroot.rstrip("/")
        self._tls = tls
        self._session_timeout = session_timeout
        self._loop = Loop("zookeeper")
        self._calls = Calls(self._loop, call_deadline)
        self._contention = Contention(self._chroot, self._calls.submit)
        self._listeners: list[Callable[[SessionChange], None]] = []
        self._feeds: list[Feed] = []
        self._client: SessionClient | None = None
        self._last_change: SessionChange | None = None
        self._condemned = False
        """The client's session was called lost; it is closed as soon as a server can be reached."""
        self._closing = False
        self._reporting = False
        self._connected = threading.Event()

    # Life

    def start(self) -> None:
        """Begin to connect, and go on trying for ever about once a second. Returns at once; to be called once."""
        self._loop.post(self._begin)
        self._loop.start()

    def wait_connected(self, timeout: float | None = None) -> bool:
        """Wait until there is a connection, at most ``timeout`` seconds; says whether there is one."""
        return self._connected.wait(timeout)

    @property
    def pending_calls(self) -> int:
        """How many calls ZooKeeper has not answered yet; from any thread."""
        return self._calls.pending

    def trouble(self) -> str:
        """Why there is no connection: each server that was tried, with the reason. Empty while connected."""
        client = self._client
        if self._connected.is_set():
            return ""
        reasons = [f"{server}: {reason}" for server, reason in list(client.failures.items())] if client else []
        return "; ".join(reasons) or f"{self._hosts}: no answer yet"

    def set_hosts(self, hosts: str) -> None:
        """Use these servers from now on; the session is kept if they know it. Raises :class:`ValueError`."""
        self._hosts = _checked(hosts)
        self._loop.post(self._switch_hosts)

    def close(self) -> None:
        """Close the session, so that its ephemeral znodes are gone at once; takes at most about two seconds.

        Calls in flight end as ``Uncertain.SESSION_LOST``; listeners are told nothing. Not for callbacks of the store.
        """
        over = threading.Event()
        self._loop.post(partial(self._shut, over))
        self._loop.stop()
        over.wait()

    # Store

    def session(self) -> int:
        """Id of the present session, 0 while there is none."""
        return self._calls.session

    def commit(self, operations: Sequence[Operation], done: Callable[[Outcome], None], session: int = 0) -> None:
        """Do all operations or none (see :class:`~nodepool.zk.store.Store`)."""
        request = transaction(self._chroot, operations)
        if isinstance(request, Refused):
            self._loop.post(partial(done, request))
        else:
            self._calls.submit(request, partial(self._committed, operations, done), session)

    def contend(
        self, directory: str, identifier: bytes, done: Callable[[ContendOutcome], None], session: int = 0
    ) -> None:
        """Join the queue of a lock (see :class:`~nodepool.zk.store.Store`)."""
        refusal = self._contention.join(directory, identifier, done, session or self._calls.session or -1)
        if refusal is not None:
            self._loop.post(partial(done, refusal))

    def read(self, paths: Sequence[str], done: Callable[[ReadOutcome], None]) -> None:
        """Read data of many znodes (see :class:`~nodepool.zk.store.Store`)."""
        _Read(self._chroot, paths, done).go(self._calls.submit, self._loop.post)

    def children(self, path: str, done: Callable[[ChildrenOutcome], None]) -> None:
        """Names of the children of one znode (see :class:`~nodepool.zk.store.Store`)."""
        self._calls.submit(children_of(self._chroot + path), partial(_children, path, done))

    def listen(self, listener: Callable[[SessionChange], None]) -> None:
        """Tell ``listener`` the present state, if there was a connection yet, and then each change."""
        self._loop.post(partial(self._add_listener, listener))

    def feed(self, roots: Sequence[str], publish: Callable[[Batch], None]) -> None:
        """Keep publishing what is below ``roots`` (see :class:`~nodepool.zk.store.Store`)."""
        feed = Feed(self._chroot, roots, publish, self._calls.submit, self._loop.after)
        self._loop.post(partial(self._add_feed, feed))

    def tree(self, roots: Sequence[str], done: Callable[[ReadOutcome], None]) -> None:
        """Read all znodes at and below ``roots`` once, as new as all that was committed before; not in one moment."""
        cut = len(self._chroot)

        def loaded(reply: Reply, entries: dict[str, Datum]) -> None:
            if isinstance(reply, Answer):
                done({path[cut:]: datum for path, datum in entries.items()})
            else:
                done(reply if isinstance(reply, Uncertain) else Uncertain.TIMED_OUT)

        load = Load([self._chroot + root for root in roots], self._calls.submit, loaded)
        self._calls.submit(sync(), _ignore)
        self._loop.post(load.go)

    # All below runs in the loop.

    def _committed(self, operations: Sequence[Operation], done: Callable[[Outcome], None], reply: Reply) -> None:
        match reply:
            case Uncertain():
                done(reply)
            case Answer(value=results, zxid=zxid):
                outcome = committed(self._chroot, operations, results, zxid)
                if isinstance(outcome, Committed):
                    self._overtake_feeds(operations, outcome)
                done(outcome)
            case _:
                done(refused(reply, 0, operations[0].path if operations else "/"))

    def _overtake_feeds(self, operations: Sequence[Operation], outcome: Committed) -> None:
        changed = [
            result if isinstance(result, str) else operation.path
            for operation, result in zip(operations, outcome.results, strict=True)
            if not isinstance(operation, Check)
        ]
        for feed in self._feeds:
            feed.overtaken(changed)

    def _add_listener(self, listener: Callable[[SessionChange], None]) -> None:
        self._listeners.append(listener)
        if self._last_change is not None:
            listener(self._last_change)

    def _add_feed(self, feed: Feed) -> None:
        self._feeds.append(feed)
        if self._connected.is_set():
            feed.connected(self._calls.session)

    def _begin(self) -> None:
        if self._closing:
            return
        client = SessionClient(
            self._hosts,
            self._session_timeout,
            self._tls,
            changed=lambda client, state: self._loop.post(partial(self._on_state, client, state)),
            event=lambda client, path: self._loop.post(partial(self._on_event, client, path)),
        )
        self._client = client
        self._condemned = False
        client.start_async()
        self._report_later(_FIRST_REPORT)

    def _on_event(self, client: SessionClient, path: str) -> None:
        if client is self._client and self._connected.is_set():
            for feed in self._feeds:
                feed.changed(path)

    def _on_state(self, client: SessionClient, state: str) -> None:
        if client is not self._client:
            return
        if state == KeeperState.CONNECTED:
            if self._condemned:
                client.end()
            else:
                self._on_connected(client)
        elif state in OVER:
            if self._calls.session:
                self._on_lost()
            self._client = None
            wanted = state == KeeperState.EXPIRED_SESSION or self._condemned
            self._loop.after(0 if wanted else _PAUSE, self._begin)
        elif self._connected.is_set():
            self._on_suspended()

    def _on_connected(self, client: SessionClient) -> None:
        is_new = client.session != self._calls.session
        self._calls.attach(client)
        if is_new:
            log.info("Connected to ZooKeeper at %s, session %#x", client.server, client.session)
            self._create_chroot()
            self._watch_session(client)
        else:
            log.info("Connected again to ZooKeeper at %s", client.server)
        self._connected.set()
        self._contention.connected()
        self._tell(SessionChange(Connection.CONNECTED, client.session))
        for feed in self._feeds:
            feed.connected(client.session)

    def _on_suspended(self) -> None:
        self._connected.clear()
        self._calls.detach(Uncertain.CONNECTION_LOST)
        for feed in self._feeds:
            feed.disconnected()
        log.warning("The connection to ZooKeeper is broken")
        self._tell(SessionChange(Connection.SUSPENDED, self._calls.session))
        self._report_later(_FIRST_REPORT)

    def _on_lost(self) -> None:
        session = self._calls.session
        self._connected.clear()
        self._calls.detach(Uncertain.SESSION_LOST)
        self._contention.session_lost()
        for feed in self._feeds:
            feed.disconnected()
        log.error("The ZooKeeper session %#x is lost, and with it all locks", session)
        self._tell(SessionChange(Connection.LOST, session))
        self._report_later(_FIRST_REPORT)

    def _watch_session(self, client: SessionClient) -> None:
        if client is not self._client or not self._calls.session:
            return
        left = client.last_answer + client.granted - time.monotonic()
        if left > 0:
            self._loop.after(left, partial(self._watch_session, client))
            return
        self._on_lost()
        self._condemned = True
        client.forget_zxid()
        if client.connected:
            client.end()

    def _create_chroot(self) -> None:
        for path in [*parents(self._chroot), self._chroot] if self._chroot else ():
            request = transaction("", [Create(path)])
            assert isinstance(request, Request)
            self._calls.submit(request, partial(_chroot_created, path))

    def _tell(self, change: SessionChange) -> None:
        self._last_change = change
        for listener in self._listeners:
            perform(partial(listener, change))

    def _switch_hosts(self) -> None:
        client = self._client
        if client is None:
            return
        client.set_hosts(self._hosts)
        client.failures.clear()
        if client.server not in {f"{host}:{port}" for host, port in client.hosts}:
            log.info("Leaving the ZooKeeper server %s for %s", client.server, self._hosts)
            client.cut()

    def _report_later(self, seconds: float) -> None:
        if not self._reporting:
            self._reporting = True
            self._loop.after(seconds, self._report)

    def _report(self) -> None:
        self._reporting = False
        if not self._connected.is_set() and not self._closing:
            log.warning("Waiting for ZooKeeper: %s", self.trouble())
            self._report_later(_REPORT_INTERVAL)

    def _shut(self, over: threading.Event) -> None:
        was_connected = self._connected.is_set()
        self._closing = True
        self._connected.clear()
        client, self._client = self._client, None
        # First: whoever tries again at once would do so without end on a client that takes nothing any more.
        self._calls.detach(Uncertain.SESSION_LOST)
        if client is not None:
            client.end()
            client.join(_CLOSE_LIMIT if was_connected else 0.0)
        self._contention.session_lost()
        over.set()


class _Read:
    """One read of any number of znodes: as many multi-reads as it takes."""

    def __init__(self, chroot: str, paths: Sequence[str], done: Callable[[ReadOutcome], None]) -> None:
        self._chroot = chroot
        self._paths = paths
        self._done = done
        self._found: dict[str, Datum | None] = {}
        self._left = 0
        self._ended = False

    def go(self, submit: Callable[..., None], post: Callable[[Callable[[], None]], None]) -> None:
        parts = [self._paths[start : start + READ_LIMIT] for start in range(0, len(self._paths), READ_LIMIT)]
        self._left = len(parts)
        for part in parts:
            submit(data_of([self._chroot + path for path in part]), partial(self._answered, part))
        if not parts:
            post(partial(self._done, {}))

    def _answered(self, part: Sequence[str], reply: Reply) -> None:
        self._left -= 1
        if self._ended:
            return
        if isinstance(reply, Answer):
            self._found.update(zip(part, reply.value, strict=True))
            if self._left == 0:
                self._done(self._found)
            return
        self._ended = True
        self._done(reply if isinstance(reply, Uncertain) else Uncertain.TIMED_OUT)


def _children(path: str, done: Callable[[ChildrenOutcome], None], reply: Reply) -> None:
    match reply:
        case Uncertain():
            done(reply)
        case Answer(value=names):
            done(tuple(names))
        case _:
            done(refused(reply, 0, path))


def _ignore(_: Reply) -> None:
    """What follows it fails too, and tells."""


def _chroot_created(path: str, reply: Reply) -> None:
    if isinstance(reply, Exception):
        log.error("The chroot %s cannot be created: %r", path, reply)


def _checked(hosts: str) -> str:
    try:
        if not hosts or "/" in hosts:
            raise ValueError("there must be at least one, and no chroot")
        collect_hosts(hosts)
    except ValueError as error:
        raise ValueError(f"ZooKeeper servers must be host:port, separated by commas: {hosts!r} ({error})") from error
    return hosts
