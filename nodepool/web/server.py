"""A web server in a thread of its own, which can neither be filled up nor held up by its callers.

Its socket listens before, so that a port that is taken is known early; answers come from :meth:`WebServer.start` on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from nodepool.telemetry.facts import Fact
from nodepool.web.endpoint import Endpoint
from nodepool.web.live_view import LiveView
from nodepool.web.pages import Daemon, Pages
from nodepool.zk.store import Batch, SessionChange

log = logging.getLogger("nodepool.WebApp")

MOST_CONNECTIONS = 256
"""More are closed at once: a daemon needs its file descriptors for other things."""
FIRST_REQUEST_LIMIT = 20.0
"""Seconds within which a new connection has to ask for something."""
IDLE_LIMIT = 60.0
"""Seconds for which a connection may stay open after an answer."""
UNREAD_LIMIT = 20.0
"""Seconds within which a caller has to take some of what it is sent: else the connection is cut, by the kernel."""
ACCEPT_PAUSE = 1.0
"""Seconds before the next try, when the system has no more file descriptors."""
ANSWER_LIMIT = 1.0
"""Seconds that answers under way may take at the end."""
SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that makes a long list lets others have the interpreter. With Python's own 5 ms a
hand-over, which passes through several threads, takes up to a half longer while many look on."""
STOP_LIMIT = 2.0
"""Most seconds that the end of the server is waited for."""


class WebServer:
    """Serves the pages of one daemon at one endpoint."""

    def __init__(self, endpoint: Endpoint, daemon: Daemon) -> None:
        self._endpoint = endpoint
        self._view = LiveView(daemon.kind, self._post)
        self._pages = Pages(daemon, self._view, endpoint.token)
        self._loop: asyncio.AbstractEventLoop | None = None
        """Made in the thread: the process may fork before."""
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._open: set[socket.socket] = set()
        """Connections, also some that have ended."""
        self._mute: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}
        """Connections that have asked for nothing yet, with what is going to end them."""

    def start(self) -> None:
        """Answer from now on."""
        sys.setswitchinterval(SWITCH_INTERVAL)
        log.info("The web server is at %s", self._endpoint.address)
        self._thread.start()

    def session_changed(self, change: SessionChange) -> None:
        """The connection to ZooKeeper changed; from the store's thread."""
        self._view.session_changed(change)

    def news(self, batch: Batch) -> None:
        """There is something new in ZooKeeper; from the store's thread."""
        self._view.news(batch)

    def measured(self, fact: Fact) -> None:
        """Something has happened, or is so; from any thread."""
        self._pages.dashboard.measured(fact)

    def stop(self) -> None:
        """End; answers under way are cut off after a second. Nothing happens if it was never started."""
        if self._thread.ident is not None:
            if self._loop is None:
                self._stopping.set()
            self._post(self._stopping.set)
            self._thread.join(STOP_LIMIT)
        self._endpoint.socket.close()

    def _post(self, action: Callable[[], object]) -> None:
        # It may end between a question and the call.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(action)

    # In the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:  # the last line of defence: the daemon goes on without its web server
            log.exception("The web server has ended")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_log_trouble)
        self._handlers = web.Server(
            self._answer, access_log=None, logger=_connections_log(), keepalive_timeout=IDLE_LIMIT
        )
        work = [asyncio.create_task(self._accept()), asyncio.create_task(self._pages.dashboard.keep_time_line())]
        await self._stopping.wait()
        for task in work:
            task.cancel()
        await self._handlers.shutdown(ANSWER_LIMIT)

    async def _accept(self) -> None:
        """Take connections, for as long as there is room."""
        loop = asyncio.get_running_loop()
        self._endpoint.socket.setblocking(False)
        attending: set[asyncio.Task[None]] = set()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._endpoint.socket)
            except OSError as error:
                log.warning("No connection can be taken: %s", error.strerror or error)
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            if self._is_full():
                connection.close()
                continue
            self._open.add(connection)
            task = asyncio.create_task(self._attend(connection))
            attending.add(task)
            task.add_done_callback(attending.discard)

    def _is_full(self) -> bool:
        if len(self._open) >= MOST_CONNECTIONS:
            self._open = {connection for connection in self._open if connection.fileno() >= 0}
        return len(self._open) >= MOST_CONNECTIONS

    async def _attend(self, connection: socket.socket) -> None:
        """Hand a connection over to aiohttp, after the handshake of TLS."""
        loop = asyncio.get_running_loop()
        protocol = self._handlers()
        self._mute[protocol] = loop.call_later(FIRST_REQUEST_LIMIT, self._close_mute, protocol)
        tls = self._endpoint.tls
        limit = None if tls is None else FIRST_REQUEST_LIMIT
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNREAD_LIMIT * 1000))
            await loop.connect_accepted_socket(lambda: protocol, connection, ssl=tls, ssl_handshake_timeout=limit)
        except OSError as error:
            log.debug("A connection has ended before it began: %s", error)
            self._has_asked(protocol)
            connection.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self._has_asked(request.protocol)
        return await self._pages.answer(request)

    def _has_asked(self, protocol: asyncio.BaseProtocol) -> None:
        limit = self._mute.pop(protocol, None)
        if limit is not None:
            limit.cancel()

    def _close_mute(self, protocol: web.RequestHandler) -> None:
        del self._mute[protocol]
        protocol.force_close()


def _connections_log() -> logging.Logger:
    """Where aiohttp tells of its own troubles, without those that callers make: who sends no HTTP is answered."""
    connections = log.getChild("connections")
    connections.addFilter(_is_ours)
    return connections


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _log_trouble(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """What a connection's own code raised: it ends that connection alone."""
    log.error("A connection has failed: %s", context.get("message"), exc_info=context.get("exception"))
