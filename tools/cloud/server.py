"""The HTTP server: one event loop, no thread, a timer for each answer that takes time."""

from __future__ import annotations

import asyncio
import gc
import ssl
import time
from email.utils import formatdate
from functools import lru_cache

from tools.cloud.api import Api, Reaction
from tools.cloud.exchange import Answer
from tools.cloud.state import Cloud
from tools.cloud.wire import BadRequest, RequestReader, written

_BACKLOG = 4096
_MOST_BUFFERED = 1024 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


class CloudServer:
    """Serves one cloud. Use it in one event loop."""

    def __init__(self, cloud: Cloud) -> None:
        self.api = Api(cloud)
        self.requests = 0
        self._server: asyncio.Server | None = None
        self._behind = cloud.now - time.monotonic()

    def now(self) -> float:
        """Epoch seconds that never go back."""
        return time.monotonic() + self._behind

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; returns the URL. Port 0 takes a free one. Raises OSError."""
        cloud = self.api.cloud
        context: ssl.SSLContext | None = None
        if cloud.settings.tls_certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cloud.settings.tls_certificate, cloud.settings.tls_key or None)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), host, port, backlog=_BACKLOG, ssl=context, reuse_address=True
        )
        chosen = self._server.sockets[0].getsockname()[1]
        cloud.url = f"{'https' if context else 'http'}://{host}:{chosen}"
        gc.freeze()
        return cloud.url

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()


class _Connection(asyncio.Protocol):
    """One client's connection. It carries one request at a time."""

    def __init__(self, server: CloudServer) -> None:
        self._owner = server
        self._reader = RequestReader()
        self._busy = False
        self._last = False
        self._paused = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        del error
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._reader.feed(data)
        if not self._busy:
            self._proceed()
        elif self._reader.buffered > _MOST_BUFFERED and self._transport and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _proceed(self) -> None:
        while self._transport is not None and not self._busy:
            try:
                request = self._reader.next_request()
            except BadRequest:
                self._transport.write(written(Answer(400), 0))
                self._transport.close()
                return
            if request is None:
                if self._reader.continues:
                    self._reader.continues = False
                    self._transport.write(_CONTINUE)
                return
            self._owner.requests += 1
            self._last = request.headers.get("connection", "").lower() == "close"
            reaction = self._owner.api.react(request, self._owner.now())
            if reaction.delay <= 0:
                self._finish(reaction, self._owner.requests)
            else:
                self._busy = True
                loop = asyncio.get_running_loop()
                loop.call_later(reaction.delay, self._finish_later, reaction, self._owner.requests)

    def _finish_later(self, reaction: Reaction, number: int) -> None:
        self._busy = False
        self._finish(reaction, number)
        if self._transport is not None and self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._proceed()

    def _finish(self, reaction: Reaction, number: int) -> None:
        if self._transport is None:
            return
        if reaction.answer is None:
            self._transport.abort()
            self._transport = None
        else:
            self._transport.write(written(reaction.answer, number, _date(int(self._owner.now()))))
            if self._last:
                self._transport.close()
                self._transport = None
