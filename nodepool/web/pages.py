"""What is answered under which path.

All runs in the web server's thread. Answers to those who do not know the token, or ask for what there is not, are one
clear line of text; what goes wrong here is told to the log alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from nodepool.admin.listing import Listing
from nodepool.admin.table import Column
from nodepool.web.accept import Form, form_for
from nodepool.web.access import CHALLENGE, knows
from nodepool.web.dashboard import EVENTS, Dashboard
from nodepool.web.lists import NODES, UnknownFields, chosen_columns, rows_of, told
from nodepool.web.live_view import LiveView
from nodepool.web.node_list import NodeList
from nodepool.zk.mirror import Mirror

log = logging.getLogger("nodepool.WebApp")

CACHE_SECONDS = 1.0
"""For how long a list is told again as it is (spec operation 8)."""
MOST_CACHED = 64
"""Lists in different forms that are kept; there are as many as there are choices of columns and nodes."""
STUCK_SECONDS = 60.0
"""A decision that takes longer than this will not end: the usual ones take milliseconds."""

_HEADERS = {"Server": "Nodepool", "X-Content-Type-Options": "nosniff"}
Page = Callable[[web.BaseRequest], web.Response]


@dataclass(frozen=True, slots=True)
class Daemon:
    """What the pages tell of besides the lists. All is called in the web server's thread and returns at once."""

    kind: str
    """Its kind of component."""
    lists: Mapping[str, Listing]
    """By the path under which they are told."""
    stuck_for: Callable[[], float]
    """For how many seconds the decision thread has not come back from its work."""
    exposition: Callable[[], tuple[str, bytes]]
    """Content type and text of the metrics."""


@dataclass(frozen=True, slots=True)
class _Told:
    body: bytes
    at: float
    """Epoch seconds."""


class Pages:
    """See the module's description. ``token`` is what callers have to know, None if nothing."""

    def __init__(self, daemon: Daemon, view: LiveView, token: str | None) -> None:
        self._daemon = daemon
        self._view = view
        self._token = token
        self._nodes = NodeList()
        self._cache: dict[tuple[object, ...], _Told] = {}
        self._open: dict[str, Page] = {"/ready": self._ready, "/live": self._live}
        """Pages for everybody."""
        lists = {f"/{name}": self._list_page(listing) for name, listing in daemon.lists.items()}
        self._pages: dict[str, Page] = {**lists, "/metrics": self._metrics, **self._open}
        self.dashboard = Dashboard(daemon.kind, view)

    # The lists

    def _list_page(self, listing: Listing) -> Page:
        return lambda request: self._list(listing, request)

    def _list(self, listing: Listing, request: web.BaseRequest) -> web.Response:
        form = form_for(request.headers.get("Accept"))
        if form is None:
            return _plain("this is told as text/plain and as application/json: accept one of them", 406)
        try:
            columns = chosen_columns(listing.columns, request.query.get("fields"))
        except UnknownFields as error:
            return _plain(str(error), 400)
        key = (listing.title, form, columns, request.query.get("node_id"))
        now = time.time()
        found = self._cache.get(key)
        if found is None or not 0.0 <= now - found.at < CACHE_SECONDS:
            mirror = self._view.mirror()
            if mirror is None:
                return _plain("what ZooKeeper holds has not been read yet", 503, {"Retry-After": "1"})
            found = _Told(self._made(listing, mirror, request.query.get("node_id"), form, columns, now), now)
            self._keep(key, found)
        return self._cached(request, found, form)

    def _made(
        self, listing: Listing, mirror: Mirror, node_id: str | None, form: Form, columns: Sequence[Column], now: float
    ) -> bytes:
        if listing is NODES and node_id is None and len(columns) == len(listing.columns):
            return self._nodes.told(mirror, form, now)
        return told(listing, form, columns, rows_of(listing, mirror, node_id, now), now)

    def _keep(self, key: tuple[object, ...], answer: _Told) -> None:
        recent = {key: one for key, one in self._cache.items() if 0.0 <= answer.at - one.at < CACHE_SECONDS}
        self._cache = {**(recent if len(recent) < MOST_CACHED else {}), key: answer}

    def _cached(self, request: web.BaseRequest, answer: _Told, form: Form) -> web.Response:
        modified = datetime.fromtimestamp(int(answer.at), UTC)
        # What only some may see must not stay in a cache that serves all.
        scope = "public" if self._token is None else "private"
        headers = {
            "Cache-Control": f"max-age={CACHE_SECONDS:.0f}, {scope}",
            "Vary": "Accept",
            "Access-Control-Allow-Origin": "*",
        }
        if request.if_modified_since is not None and request.if_modified_since >= modified:
            response = web.Response(status=304, headers=headers)
        else:
            response = web.Response(body=answer.body, headers={**headers, "Content-Type": form.value})
        response.last_modified = modified
        response.headers["Expires"] = _http_date(int(answer.at) + CACHE_SECONDS)
        return response

    # How the daemon is

    def _ready(self, _: web.BaseRequest) -> web.Response:
        trouble = self._view.trouble()
        return _plain(trouble, 503) if trouble else _plain("OK")

    def _live(self, _: web.BaseRequest) -> web.Response:
        seconds = self._daemon.stuck_for()
        if seconds > STUCK_SECONDS:
            return _plain(f"the decision thread has not come back for {seconds:.0f} s", 503)
        return _plain("OK")

    def _metrics(self, _: web.BaseRequest) -> web.Response:
        content_type, body = self._daemon.exposition()
        return web.Response(body=body, headers={"Content-Type": content_type})

    # Around all answers

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to whatever is asked."""
        try:
            response = self._refusal(request)
            if response is None and request.path == EVENTS and request.method == "GET":
                return await self.dashboard.stream(request, _HEADERS)
            if response is None:
                response = self._chosen(request)
        except Exception:  # the edge: one request that fails must not end the service
            log.exception("The request for %s failed", request.path)
            response = _plain("this failed; the log of the daemon says why", 500)
        response.headers.update(_HEADERS)
        return response

    def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        if self._token is None or request.path in self._open:
            return None
        if knows(self._token, request.headers.get("Authorization")):
            return None
        return _plain("give the token of webapp.token-file", 401, {"WWW-Authenticate": CHALLENGE})

    def _chosen(self, request: web.BaseRequest) -> web.Response:
        page = self._pages.get(request.path) or self.dashboard.files.get(request.path)
        if page is None:
            there = ["/", *self._pages]
            return _plain(f"there is no such page; the {self._daemon.kind} has {', '.join(there)}", 404)
        if request.method not in ("GET", "HEAD"):
            return _plain("only GET and HEAD are answered: nothing can be changed here", 405, {"Allow": "GET, HEAD"})
        return page(request)


def _plain(text: str, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """One line of text. Whoever has to know how things are now asks again."""
    body = text if status == 200 else f"{text}\n"
    return web.Response(text=body, status=status, headers={"Cache-Control": "no-store", **(headers or {})})


def _http_date(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
