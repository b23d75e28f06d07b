"""The page at ``/``: its files, and the stream of events that keeps it up to date (server-sent events).

All but :meth:`Dashboard.measured` runs in the web server's thread. Who watches costs one overview a second at most,
however many watch, and none while nothing happens.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from aiohttp import web

from nodepool import __version__
from nodepool.model.component import BUILDER
from nodepool.telemetry.facts import Fact, LauncherCensus
from nodepool.web import overview
from nodepool.web.live_view import LiveView

EVENTS = "/events"
"""Path of the stream."""
OVERVIEW_INTERVAL = 1.0
"""Seconds between two looks for something new."""
MOST_WATCHERS = 64
"""More are told to come again later: there must be connections left for those that look whether the daemon lives."""
SILENCE_LIMIT = 15.0
"""Seconds after which something is sent though nothing is new, so that it is noticed when the other end is gone."""
SAMPLE_INTERVAL = 15.0
TIME_LINE = 3600.0
"""Seconds between two points of the time line, and for which it reaches back."""

_PAGE = Path(__file__).parent / "page"
_FILES = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'"
"""The page needs nothing from elsewhere; should a record ever get into it as markup, nothing of it would run."""


class Dashboard:
    """See the module's description. ``kind`` is the daemon's own kind of component."""

    def __init__(self, kind: str, view: LiveView) -> None:
        self._kind = kind
        self._view = view
        self._census: LauncherCensus | None = None
        self._samples: deque[dict[str, float]] = deque(maxlen=int(TIME_LINE / SAMPLE_INTERVAL))
        self._time_line = _event("time-line", [])
        self._overview = b""
        self._seen: object = None
        """What the overview was made of."""
        self._shown: overview.Object = {}
        self._looked = 0.0
        self._watchers = 0
        self.files: Mapping[str, Callable[[web.BaseRequest], web.Response]] = {
            path: partial(_file, _PAGE.joinpath(name).read_bytes(), media_type)
            for path, (name, media_type) in _FILES.items()
        }
        """What makes up the page, by path."""

    def measured(self, fact: Fact) -> None:
        """Remember the last census; from any thread."""
        if isinstance(fact, LauncherCensus):
            self._census = fact

    async def keep_time_line(self) -> None:
        """Take a sample now and then, for as long as the server runs."""
        if self._kind == BUILDER:
            return
        while True:
            mirror = self._view.mirror()
            if mirror is not None:
                self._samples.append({"at": round(time.time(), 1), **overview.sample(mirror)})
                self._time_line = _event("time-line", list(self._samples))
            await asyncio.sleep(OVERVIEW_INTERVAL if mirror is None else SAMPLE_INTERVAL)

    async def stream(self, request: web.BaseRequest, headers: Mapping[str, str]) -> web.StreamResponse:
        """Send what is new, until the other end is gone."""
        if self._watchers >= MOST_WATCHERS:
            return web.Response(status=503, text="too many watch already\n", headers={**headers, "Retry-After": "10"})
        self._watchers += 1
        try:
            return await self._stream(request, headers)
        finally:
            self._watchers -= 1

    async def _stream(self, request: web.BaseRequest, headers: Mapping[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={**headers, "Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        try:
            await response.prepare(request)
            told: list[bytes] = []
            told_at = time.monotonic()
            while request.transport is not None:
                state = [self._time_line, self._present()]
                news = b"".join(event for event in state if event not in told)
                if news or time.monotonic() - told_at > SILENCE_LIMIT:
                    await response.write(news or b": nothing is new\n\n")
                    told, told_at = state, time.monotonic()
                await asyncio.sleep(OVERVIEW_INTERVAL)
        except ConnectionError:
            pass  # as good an end as any
        return response

    def _present(self) -> bytes:
        """The overview as an event, made anew if something has changed."""
        now = time.monotonic()
        if now - self._looked < OVERVIEW_INTERVAL / 2:
            return self._overview
        self._looked = now
        mirror, trouble, census = self._view.mirror(), self._view.trouble(), self._census
        seen = (self._view.version, trouble, census)
        if seen != self._seen:
            self._seen = seen
            shown: overview.Object = {"kind": self._kind, "version": __version__, "trouble": trouble}
            if mirror is not None:
                shown |= overview.of_builder(mirror) if self._kind == BUILDER else overview.of_launcher(mirror, census)
            if shown != self._shown:
                self._shown = shown
                self._overview = _event("overview", {"now": time.time(), **shown})
        return self._overview


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _file(body: bytes, media_type: str, _: web.BaseRequest) -> web.Response:
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
    return web.Response(body=body, content_type=media_type, charset="utf-8", headers=headers)
