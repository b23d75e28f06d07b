"""The lowest layer of HTTP: gives every exchange what is left of its call's deadline, and notes what was sent.

keystoneauth and openstacksdk exchange more than they are asked for (tokens, discovery, redirects, repeats after 401),
each time without limit unless told otherwise. All of it goes through here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from keystoneauth1 import session as keystone_session
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from nodepool.driver.errors import CloudError
from nodepool.driver.openstack.pace import Pace

CONNECTIONS = 32
"""Connections that are kept open per host."""
CONNECT_TIMEOUT = 10.0
"""Longest time in seconds to connect."""
DEFAULT_DEADLINE = 60.0
"""Seconds for what is done outside of :meth:`Deadlines.within`."""


class TooLate(CloudError):
    """The deadline has passed."""


class Deadlines:
    """The deadline of what each thread is doing. The time that it waits for its turn does not count."""

    def __init__(self) -> None:
        self._local = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Let all exchanges of this thread end within ``seconds`` from now, or sooner if told so before."""
        outer = self.end
        own = self._clock() + seconds
        self._local.end = own if outer is None else min(own, outer)
        try:
            yield
        finally:
            self._local.end = outer

    @property
    def end(self) -> float | None:
        """The end of what this thread is doing, by its own clock."""
        end: float | None = getattr(self._local, "end", None)
        return end

    def left(self) -> float:
        """Seconds that are left. Raises TooLate if there are none."""
        end = self.end
        if end is None:
            return DEFAULT_DEADLINE
        left = end - self._clock()
        if left <= 0:
            raise TooLate("no time left")
        return left

    @contextmanager
    def watched(self, total: int, progress: Callable[[int, int], None] | None) -> Iterator[None]:
        """Tell ``progress`` how many bytes of ``total`` have been sent of the files that this thread sends."""
        self._local.progress = None if progress is None else (total, progress)
        try:
            yield
        finally:
            self._local.progress = None

    def has_sent(self, count: int) -> None:
        """So many bytes of a file have been sent."""
        watched = getattr(self._local, "progress", None)
        if watched is not None:
            total, progress = watched
            progress(min(count, total), total)

    def waited(self, seconds: float) -> None:
        """This thread has waited for its turn."""
        self._local.waited = getattr(self._local, "waited", 0.0) + seconds

    def _clock(self) -> float:
        """The monotonic clock, standing still while this thread waits for its turn."""
        waited: float = getattr(self._local, "waited", 0.0)
        return time.monotonic() - waited

    def call(self, method: str, path: str) -> None:
        """Begin a call: from here on, see :attr:`sent`."""
        self._local.call, self._local.sent = (method, path), False

    @property
    def sent(self) -> bool:
        """Whether the request of this thread's call may have reached the cloud."""
        return bool(getattr(self._local, "sent", False))

    def note(self, request: requests.PreparedRequest, sent: bool) -> None:
        """Note that a request is sent, or that it could not be; of interest is only that of the call itself."""
        method, path = getattr(self._local, "call", ("", ""))
        if request.method == method and (request.path_url.partition("?")[0]).endswith(path):
            self._local.sent = sent


class Transport(keystone_session.TCPKeepAliveAdapter):
    """Sends the requests of one provider."""

    def __init__(self, deadlines: Deadlines, pace: Pace) -> None:
        super().__init__(pool_connections=CONNECTIONS, pool_maxsize=CONNECTIONS)
        self._deadlines = deadlines
        self._pace = pace

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,  # noqa: ARG002 - what the libraries think of it does not matter
        verify: bool | str = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send when it is our turn, with what is left of the deadline for each step."""
        self._deadlines.waited(self._pace.wait(self._deadlines.left()))
        left = self._deadlines.left()
        self._deadlines.note(request, True)
        if hasattr(request.body, "read"):
            request.body = cast(Any, _TimedBody(request.body, self._deadlines))
        try:
            return super().send(request, stream, (min(left, CONNECT_TIMEOUT), left), verify, cert, proxies)
        except requests.ConnectionError as error:
            if _never_left(error):
                self._deadlines.note(request, False)
            raise


class _Session(requests.Session):
    """A session that asks the environment for proxies and certificates once per host, not with each request."""

    def __init__(self) -> None:
        super().__init__()
        self._settings: dict[Any, dict[str, Any]] = {}

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """What the environment adds to the settings of one request."""
        if proxies:
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        key = (*urlsplit(url)[:2], stream, verify, cert)
        settings = self._settings.get(key)
        if settings is None:
            settings = self._settings[key] = super().merge_environment_settings(url, proxies, stream, verify, cert)
        return {**settings, "proxies": dict(settings["proxies"])}


class _TimedBody:
    """A file that is being sent, as long as there is time: no time-out of the libraries ends an upload that goes on."""

    def __init__(self, file: Any, deadlines: Deadlines) -> None:
        self._file = file
        self._deadlines = deadlines
        self._sent = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes; those before have been sent. Raises TooLate."""
        self._deadlines.left()
        self._deadlines.has_sent(self._sent)
        content: bytes = self._file.read(size)
        self._sent += len(content)
        return content


def new_session(deadlines: Deadlines, pace: Pace) -> requests.Session:
    """A session that sends everything by :class:`Transport`."""
    session = _Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, Transport(deadlines, pace))
    return session


def _never_left(error: requests.ConnectionError) -> bool:
    """Whether the request surely did not reach the cloud: there was no connection to send it by."""
    if isinstance(error, requests.exceptions.SSLError):
        return "CERTIFICATE_VERIFY_FAILED" in str(error)
    reason = error.args[0] if error.args else None
    if isinstance(reason, MaxRetryError):
        reason = reason.reason
    return isinstance(reason, ConnectTimeoutError | NewConnectionError)
