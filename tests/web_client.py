"""Asks the web server of a daemon as its users do: with the standard library's client."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

from tests.daemon_process import DaemonProcess
from tests.zookeeper import eventually

TIMEOUT = 20.0
"""Seconds that an answer may take on a busy machine."""
_ADDRESS = re.compile(r"The web server is at (\S+)")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as a whole."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def address_of(daemon: DaemonProcess) -> str:
    """The URL of a daemon's web server: the last that it has logged."""
    eventually(lambda: _ADDRESS.search(daemon.log))
    return str(_ADDRESS.findall(daemon.log)[-1])


@dataclass(frozen=True, slots=True)
class Web:
    """The web server at ``address``, a URL. ``trust`` is needed for HTTPS."""

    address: str
    trust: ssl.SSLContext | None = None

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.address)
        return parts.hostname or "", parts.port or 0

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """Ask once, on a connection of its own. In the names of headers ``_`` stands for ``-``."""
        host, port = self.place
        connection = (
            http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=self.trust)
            if self.address.startswith("https")
            else http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        )
        try:
            connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        """A list as JSON."""
        return self.get(path, Accept="application/json").json

    def is_ready(self) -> bool:
        """Whether the daemon says that it is ready."""
        return self.get("/ready").status == 200
