"""kazoo, cut down to one session and one stream of news, and the only module that touches kazoo's inner parts.

Differences from a plain :class:`kazoo.client.KazooClient` (2.11):

* it lives for one session: when that is over it ends, so that no request can ever reach a later session;
* requests are taken only while connected, so that none waits in kazoo's queue through an outage;
* answers, events and changes of state are reported straight from the connection's thread, in the order in which the
  server sent them; kazoo's two callback threads are never started;
* events of persistent recursive watches are understood;
* packets are sent and read as many at a time as there are: kazoo makes a dozen system calls for each, and every one of
  them may hand the interpreter over to another thread;
* it remembers when the server last answered, what it granted, and why each server could not be used.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionDropped, SessionExpiredError
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.protocol.connection import CLOSE_RESPONSE, ConnectionHandler
from kazoo.protocol.serialization import CloseInstance, Connect, Watch, int_struct
from kazoo.protocol.states import KeeperState
from kazoo.retry import KazooRetry

from nodepool.zk.tls import TLSFiles
from nodepool.zk.wire import Request

OVER = frozenset({KeeperState.EXPIRED_SESSION, KeeperState.CLOSED, KeeperState.AUTH_FAILED})
"""States in which the session is over for good."""

_FIRST_PATIENCE = 1.0
_PIPE_SIZE = 4096
_READ_SIZE = 1 << 16
_LAST_XID = (1 << 31) - 1
_REQUEST_HEAD = struct.Struct("!iii")
"""Length of what follows, xid, type."""
_READABLE = select.POLLIN | select.POLLPRI | select.POLLHUP | select.POLLERR
_WRITABLE = select.POLLOUT | select.POLLHUP | select.POLLERR
_THREAD_LIMIT = 0.5


class Result(Protocol):
    """Where the end of a request is reported, from the connection's thread."""

    def set(self, value: Any) -> None:
        """The request was answered with ``value``."""

    def set_exception(self, error: Exception) -> None:
        """The request has failed."""


class SessionClient(KazooClient):
    """A client for one session.

    ``changed`` is called with the client and its :class:`KeeperState`, ``event`` with the path of a znode that was
    created, changed or deleted below a recursive watch; both from the connection's thread. They must not block.
    """

    def __init__(
        self,
        hosts: str,
        timeout: float,
        tls: TLSFiles | None,
        changed: Callable[[SessionClient, str], None],
        event: Callable[[SessionClient, str], None],
    ) -> None:
        super().__init__(
            hosts,
            timeout=timeout,
            handler=_Handler(tls),
            connection_retry=KazooRetry(max_tries=-1, delay=0.1, backoff=1.5, max_jitter=0.3, max_delay=1.0),
            logger=_Quiet(logging.getLogger("kazoo.client"), {}),
            use_ssl=tls is not None,
        )
        self._connection = _Connection(self, self._conn_retry.copy(), logger=self.logger)
        self._changed = changed
        self.event = event
        self._gate = threading.Lock()
        self._open = False
        self.session = 0
        """Id of the session, also when it is over; 0 before the first connection."""
        self.granted = timeout
        """Session timeout in seconds that the server granted; the asked one before the first connection."""
        self.last_answer = time.monotonic()
        """When the server last answered anything (monotonic seconds)."""
        self.failures: dict[str, str] = {}
        """Server to the reason why it could not be used, since the last connection."""
        self.server = ""
        """Host and port of the last server that was tried."""
        self.flying = 0
        """Requests that wait for their answers; kept by the owner."""

    def submit(self, request: Request, result: Result) -> bool:
        """Send a request; False, and nothing is done, while not connected."""
        with self._gate:
            if self._open:
                self._queue.append((request, result))
                self._connection.wake()
            return self._open

    def end(self) -> None:
        """Close the session as soon as it is possible, and never open another. Returns at once."""
        with self._gate:
            self._open = False
            self._stopped.set()
            self._queue.append((CloseInstance, None))
            self._connection.wake()

    def join(self, seconds: float) -> bool:
        """Wait until the connection's thread has ended, and then cut what hangs."""
        ended: bool = self._connection.connection_stopped.wait(seconds)
        if not ended:
            self.cut()
        thread = self._connection._connection_routine
        if thread is not None:
            thread.join(_THREAD_LIMIT)
        return ended

    def cut(self) -> None:
        """Cut the connection, if there is one; the session lives on and is taken up again by the next connection."""
        self._connection.cut()

    def forget_zxid(self) -> None:
        """Accept a server that knows less than we have seen: an ensemble that was emptied or replaced."""
        self.last_zxid = 0

    def refill(self) -> None:
        """Begin a connection: what an old one left in the wake-up pipe is dropped, and what is queued is sent."""
        with self._gate:
            self._connection.drain()
            if self._queue:
                self._connection.wake()

    def free(self) -> None:
        """Give back the sockets; for the connection's thread at its end."""
        with self._gate:
            self._connection.close()

    def _session_callback(self, state: str) -> None:
        if state == self._state:
            return
        if state != KeeperState.CONNECTED:
            with self._gate:
                self._open = False
        super()._session_callback(state)
        if state in OVER:
            self._stopped.set()
        elif state == KeeperState.CONNECTED:
            self.session = self._session_id
            with self._gate:
                self._open = not self._stopped.is_set()
        self._changed(self, state)


class _Connection(ConnectionHandler):
    """kazoo's connection; all but :meth:`wake` and :meth:`cut` runs in its own thread."""

    _patience = _FIRST_PATIENCE
    """Seconds that a server may take to answer the next attempt to connect; twice as long after each that it missed."""
    _xid: int
    _called = False
    """Whether there is a byte in the wake-up pipe. Set after the queue has grown, taken back before it is emptied."""
    _received: bytearray
    """What was read from the server and not used yet."""
    _serving = False
    """Whether more than was asked for may be read: not while connecting, when others would take what is too much."""

    def wake(self) -> None:
        if self._write_sock is not None and not self._called:
            self._called = True
            self._write_sock.send(b"\0")

    def cut(self) -> None:
        try:
            if self._socket is not None:
                # Not SSLSocket.shutdown: it makes the socket a plain one while the other thread may still write to it.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            return

    def drain(self) -> None:
        if self._read_sock is None:
            return
        self._read_sock.setblocking(False)
        try:
            while self._read_sock.recv(_PIPE_SIZE):
                pass
        except BlockingIOError:
            self._read_sock.setblocking(True)
        self._called = False

    def zk_loop(self) -> None:
        try:
            super().zk_loop()
        finally:
            self.client.free()

    def _expand_client_hosts(self) -> list[tuple[str, str, int]]:
        found: list[tuple[str, str, int]] = super()._expand_client_hosts()
        resolved = {host for host, _, _ in found}
        for host, port in self.client.hosts:
            if host not in resolved:
                self.client.failures[f"{host}:{port}"] = "the name cannot be resolved"
        return found

    def _connect(self, host: str, hostip: str, port: int) -> tuple[float, float]:
        self._received, self._serving = bytearray(), False
        self.client.refill()
        self.client.server = f"{host}:{port}"
        try:
            timeouts: tuple[float, float] = super()._connect(host, hostip, port)
        except SessionExpiredError:
            raise
        except Exception as error:
            self.client.failures[f"{host}:{port}"] = explain(error, tls=self.client.use_ssl)
            raise
        return timeouts

    def _invoke(self, timeout: float, request: Any, xid: int | None = None) -> Any:
        if not isinstance(request, Connect):
            return super()._invoke(timeout, request, xid)
        limit = min(self._patience, _attempt_limit(self.client._session_timeout / 1000))
        try:
            result = super()._invoke(limit, request, xid)
        except KazooTimeoutError:
            self._patience *= 2
            raise
        self._patience = _FIRST_PATIENCE
        granted = result[0].time_out
        if granted > 0:
            self.client.granted = granted / 1000
            self.client.last_answer = time.monotonic()
            self.client.failures.clear()
        return result

    def _read_socket(self, read_timeout: float) -> Any:
        """Take a packet, and all others that came with it."""
        self._serving = True
        result = super()._read_socket(read_timeout)
        while result != CLOSE_RESPONSE and self._has_packet():
            result = super()._read_socket(read_timeout)
        self.client.last_answer = time.monotonic()
        return result

    def _has_packet(self) -> bool:
        received = self._received
        return (
            len(received) >= int_struct.size and len(received) - int_struct.size >= int_struct.unpack_from(received)[0]
        )

    def _read(self, length: int, timeout: float) -> bytes:
        received = self._received
        with self._socket_error_handling():
            while len(received) < length:
                received += self._receive(_READ_SIZE if self._serving else length - len(received), timeout)
        part = bytes(received[:length])
        del received[:length]
        return part

    def _receive(self, most: int, timeout: float) -> bytes:
        inside_tls = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()
        if not inside_tls and not self.handler.select([self._socket], [], [], timeout)[0]:
            raise KazooTimeoutError("socket time-out during read")
        try:
            data: bytes = self._socket.recv(most)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        if not data:
            raise ConnectionDropped("socket connection broken")
        return data

    def _send_request(self, read_timeout: float, connect_timeout: float) -> None:  # noqa: ARG002 - as kazoo calls it
        """Send all that is queued. All of it counts as sent: nobody knows how much of it a failure lets through."""
        self._read_sock.recv(_PIPE_SIZE)
        self._called = False
        queue, pending, packets = self.client._queue, self.client._pending, bytearray()
        while queue:
            request, result = queue.popleft()
            self._xid = self._xid % _LAST_XID + 1
            body = request.serialize()
            packets += _REQUEST_HEAD.pack(len(body) + 2 * int_struct.size, self._xid, request.type) + body
            pending.append((request, result, self._xid))
        if packets:
            self._write(packets, connect_timeout)

    def _read_watch_event(self, buffer: bytes, offset: int) -> None:
        watch, _ = Watch.deserialize(buffer, offset)
        self.client.event(self.client, watch.path)


class _Handler(SequentialThreadingHandler):
    """kazoo's handler without its two callback threads, and with connections made by ourselves.

    kazoo's own TLS connections trust all authorities of the system besides the given one, and its ``select`` makes and
    closes a selector each time.
    """

    def __init__(self, tls: TLSFiles | None) -> None:
        super().__init__()
        self._tls = tls

    def start(self) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def select(
        self, readers: list[Any], writers: list[Any], _: list[Any], timeout: float | None = None
    ) -> tuple[list[Any], list[Any], list[Any]]:
        poll = select.poll()
        for sockets, events in ((readers, _READABLE), (writers, _WRITABLE)):
            for one in sockets:
                poll.register(one, events)
        ready = dict(poll.poll(None if timeout is None else timeout * 1000))
        return (
            [one for one in readers if ready.get(one.fileno(), 0) & ~select.POLLOUT],
            [one for one in writers if ready.get(one.fileno(), 0) & ~select.POLLIN],
            [],
        )

    def spawn(self, func: Callable[..., None], *args: Any, **kwargs: Any) -> threading.Thread:
        thread = threading.Thread(target=func, args=args, kwargs=kwargs, name="zookeeper-connection", daemon=True)
        thread.start()
        return thread

    def create_connection(self, address: tuple[str, int], hostname: str, timeout: float, **_: Any) -> socket.socket:
        connection = socket.create_connection(address, _attempt_limit(timeout))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return connection
        try:
            return self._tls.context().wrap_socket(connection, server_hostname=hostname)
        except OSError:
            connection.close()
            raise
        except ValueError as error:
            connection.close()
            raise OSError(str(error)) from error


def _attempt_limit(session_timeout: float) -> float:
    """Seconds for each half of an attempt to connect: the TCP connection with TLS, and the server's answer.

    kazoo waits a whole session timeout for one dead host, so that the session is lost although others live. And a
    server that is starting may accept connections and never answer what was sent on them: so the first answer is
    awaited for a shorter time still.
    """
    return min(max(2.0, session_timeout / 3), 5.0)


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """kazoo's log with its warnings at level DEBUG: the store says the same once, and not at each attempt."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        super().log(level if level >= logging.ERROR else min(level, logging.DEBUG), msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs


def explain(error: Exception, *, tls: bool) -> str:
    """Why a server could not be used, and what to look at."""
    cause = error.__context__ if isinstance(error.__context__, OSError) else error
    match cause:
        case ssl.SSLCertVerificationError():
            return f"TLS: the server's certificate is not trusted: {cause.verify_message} (check ca)"
        case ssl.SSLError() if "ALERT" in (cause.reason or ""):
            return f"TLS: the server does not accept our certificate: {cause.reason} (check cert and key)"
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionError() if tls and not _is_refusal(cause):
            return "TLS: the server broke off the handshake (is this its TLS port? does it accept our certificate?)"
        case ssl.SSLError():
            return f"TLS: {cause.reason or cause} (is this the server's TLS port?)"
        case KazooTimeoutError() | TimeoutError():
            return "no answer in time"
        case OSError():
            return os.strerror(cause.errno) if cause.errno else str(cause)
        case ConnectionDropped() if tls:
            return "the server closed the connection (does it accept our certificate? does it know newer data?)"
        case ConnectionDropped():
            return "the server closed the connection (is this a TLS port? does it lag behind the others?)"
    return f"{type(cause).__name__}: {cause}"


def _is_refusal(error: OSError) -> bool:
    return isinstance(error, ConnectionRefusedError)
