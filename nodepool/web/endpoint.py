"""Where a web server is reached, and by whom, as the configuration has it: its socket, certificate and token.

All that can be wrong with them is found here, before the daemon leaves its terminal.
"""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass

from nodepool.config.settings import WebappSettings, WebTLSSettings
from nodepool.web.access import read_token


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A socket that listens."""

    socket: socket.socket
    tls: ssl.SSLContext | None
    """None: plain HTTP."""
    token: str | None
    """What callers have to know; None: nothing."""

    @property
    def address(self) -> str:
        """Where it is, as a URL."""
        host, port = self.socket.getsockname()[:2]
        return f"{'http' if self.tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"


def open_endpoint(settings: WebappSettings, port: int, key: str) -> Endpoint:
    """Listen on ``port``, which comes from the setting ``key``.

    :raises ValueError: that cannot be; the message is for the operator
    """
    tls = None if settings.tls is None else _tls_context(settings.tls)
    token = None if settings.token_file is None else _token(settings.token_file)
    return Endpoint(_listen(settings.listen_address, port, key), tls, token)


def _listen(address: str, port: int, key: str) -> socket.socket:
    """A socket that listens. Raises ValueError with advice."""
    try:
        family, _, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        message = f"webapp.listen_address: {address} is no address of this machine: {error.strerror or error}"
        raise ValueError(message) from error
    try:
        everybody = address == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(where[:2], family=family, backlog=128, dualstack_ipv6=everybody)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        way_out = "start with --no-webapp" if key == "webapp.port" else "leave it out"
        advice = f"end what uses it, choose another port, or {way_out}"
        raise ValueError(f"{key}: cannot listen on {address} port {port}: {reason} ({advice})") from error


def _token(path: str) -> str:
    try:
        return read_token(path)
    except ValueError as error:
        raise ValueError(f"webapp.token-file: {error}") from error


def _tls_context(settings: WebTLSSettings) -> ssl.SSLContext:
    """A context with our certificate. Raises ValueError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.cert, settings.key, password=_no_password)
    except ssl.SSLError as error:
        message = f"{settings.cert} and {settings.key} are no certificate with its key: {error.reason or error}"
        raise ValueError(f"webapp.tls: {message}") from error
    except OSError as error:
        raise ValueError(f"webapp.tls: {settings.cert} or {settings.key} cannot be read: {error.strerror}") from error
    return context


def _no_password() -> str:
    """Called for a key with a password, instead of asking on the terminal."""
    return ""
