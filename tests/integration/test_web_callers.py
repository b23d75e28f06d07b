"""Callers that hold up a web server: it gets rid of them, and others never notice."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from nodepool.config.settings import WebappSettings
from nodepool.web import dashboard, server
from nodepool.web.endpoint import open_endpoint
from nodepool.web.pages import Daemon
from nodepool.web.server import WebServer
from tests.zookeeper import PATIENCE, eventually

LONG = b"#" * (64 << 20)
"""More than the kernel takes for a caller that does not read."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Of a server whose metrics are long, and which has little patience."""
    monkeypatch.setattr(server, "UNREAD_LIMIT", 1.0)
    monkeypatch.setattr(dashboard, "MOST_WATCHERS", 2)
    endpoint = open_endpoint(WebappSettings(listen_address="127.0.0.1"), 0, "webapp.port")
    web = WebServer(endpoint, Daemon("launcher", {}, lambda: 0.0, lambda: ("text/plain", LONG)))
    web.start()
    yield endpoint.socket.getsockname()
    web.stop()


def ask(address: tuple[str, int], path: str) -> socket.socket:
    connection = socket.create_connection(address, PATIENCE)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return connection


def status(address: tuple[str, int], path: str) -> bytes:
    """What the first line of an answer says; nothing if the connection is not taken."""
    try:
        with ask(address, path) as connection:
            return connection.recv(12).removeprefix(b"HTTP/1.1 ")
    except ConnectionError:
        return b""


def test_who_does_not_read_is_cut_off(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 1)
    with ask(address, "/metrics"):
        assert status(address, "/live") == b""
        eventually(lambda: status(address, "/live") == b"200", pause=0.05)


def test_watchers_leave_room_for_others(address: tuple[str, int]) -> None:
    with ask(address, "/events") as first, ask(address, "/events") as second:
        assert first.recv(12) == second.recv(12) == b"HTTP/1.1 200"
        assert status(address, "/events") == b"503"
        assert status(address, "/live") == b"200"
    eventually(lambda: status(address, "/events") == b"200", pause=0.1)
