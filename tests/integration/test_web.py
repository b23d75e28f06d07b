"""The web server of a launcher, as its users meet it (spec launcher 6, operation 8)."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from email.utils import parsedate_to_datetime

import pytest

from nodepool.web.server import MOST_CONNECTIONS
from tests.launcher_process import LauncherProcess, fake_provider
from tests.web_client import TIMEOUT, Web, address_of
from tests.zookeeper import eventually, new_place

LOCAL = {"port": 0, "listen_address": "127.0.0.1"}
LISTS = ("node-list", "request-list", "label-list", "image-list", "dib-image-list", "image-status")
JSON = "application/json"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, zookeeper_hosts: str) -> Iterator[LauncherProcess]:
    """A launcher that keeps two nodes ready."""
    providers = [fake_provider("fake-cloud", ["small"])]
    labels = [{"name": "small", "min-ready": 2}]
    directory, place = tmp_path_factory.mktemp("web"), new_place(zookeeper_hosts)
    with LauncherProcess(directory, place, providers=providers, labels=labels, webapp=LOCAL) as launcher:
        yield launcher
        assert "Traceback" not in launcher.log


@pytest.fixture(scope="module")
def web(daemon: LauncherProcess) -> Web:
    web = Web(address_of(daemon))
    eventually(lambda: [node["state"] for node in web.json("/node-list")] == ["ready"] * 2, pause=0.1)
    return web


def told_raw(web: Web, data: bytes) -> bytes:
    """What comes back, until the connection is closed, where just this is sent; nothing if it is closed at once."""
    with socket.create_connection(web.place, TIMEOUT) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while more := connection.recv(65536):
                answer += more
        except ConnectionError:
            pass
        return answer


# Lists


def test_the_nodes(web: Web) -> None:
    for node in web.json("/node-list"):
        assert (node["provider"], node["pool"], node["label"]) == ("fake-cloud", "main", ["small"])
        assert (node["locked"], node["connection_port"]) == ("unlocked", 22)
        assert len(node) == 21
    header, *rows = (line for line in web.get("/node-list").text.splitlines() if line.startswith("|"))
    assert header.startswith("| ID         | Provider   | Label |")
    assert [row.split("|")[1].strip() for row in rows] == [node["id"] for node in web.json("/node-list")]


def test_one_node_and_some_columns(web: Web) -> None:
    first = web.json("/node-list")[0]["id"]
    assert web.json(f"/node-list?node_id={first}&fields=state,id") == [{"id": first, "state": "ready"}]
    assert web.get("/node-list?node_id=x&fields=id").text == "+----+\n| ID |\n+----+\n+----+\n"
    assert web.json("/label-list?node_id=x&_=1") == [{"label": "small"}]


@pytest.mark.parametrize("name", LISTS)
def test_each_list_in_both_forms(web: Web, name: str) -> None:
    text, data = web.get(f"/{name}"), web.get(f"/{name}", Accept=JSON)
    assert (text.status, data.status) == (200, 200)
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert data.headers["Content-Type"] == JSON
    assert text.text.startswith("+-")
    assert isinstance(data.json, list)
    assert web.get(f"/{name}", method="HEAD").body == b""


@pytest.mark.parametrize("name", LISTS)
def test_how_long_a_list_may_be_kept(web: Web, name: str) -> None:
    headers = web.get(f"/{name}").headers
    assert headers["Cache-Control"] == "max-age=1, public"
    assert headers["Access-Control-Allow-Origin"] == "*"
    modified, expires = (parsedate_to_datetime(headers[key]) for key in ("Last-Modified", "Expires"))
    assert (expires - modified).total_seconds() == 1
    assert abs(modified.timestamp() - time.time()) < TIMEOUT


def test_a_list_that_is_known_already_is_not_sent_again(web: Web) -> None:
    def again() -> int:
        known = web.get("/node-list").headers["Last-Modified"]
        return web.get("/node-list", If_Modified_Since=known).status

    # Between the two it may have been made anew.
    eventually(lambda: again() == 304)
    answer = web.get("/node-list", If_Modified_Since="Thu, 01 Jan 1970 00:00:00 GMT")
    assert (answer.status, answer.headers["ETag"]) == (200, None)
    assert web.get("/node-list", If_Modified_Since="yesterday").status == 200


def test_what_is_new_is_shown(web: Web, daemon: LauncherProcess) -> None:
    providers = [fake_provider("fake-cloud", ["small", "large"])]
    daemon.configure(
        providers=providers, labels=[{"name": "small", "min-ready": 2}, {"name": "large", "min-ready": 1}], webapp=LOCAL
    )
    expected = [["large"], ["small"], ["small"]]
    eventually(lambda: sorted(node["label"] for node in web.json("/node-list")) == expected, pause=0.1)
    # A list may be told as it was for a second.
    eventually(lambda: web.json("/label-list") == [{"label": "large"}, {"label": "small"}], pause=0.1)


# How the daemon is


def test_ready_and_alive(web: Web) -> None:
    for path in ("/ready", "/live"):
        answer = web.get(path)
        assert (answer.status, answer.text, answer.headers["Cache-Control"]) == (200, "OK", "no-store")


def test_metrics(web: Web) -> None:
    answer = web.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "# TYPE nodepool" in answer.text


# What cannot be had


def test_a_page_that_there_is_not(web: Web) -> None:
    for path in ("/nodes", "/node-list/", "/%2e%2e/etc/passwd", "//node-list"):
        answer = web.get(path)
        assert answer.status == 404
        assert answer.text.startswith("there is no such page; the launcher has /, /node-list, ")


def test_columns_that_there_are_not(web: Web) -> None:
    answer = web.get("/label-list?fields=cloud")
    assert (answer.status, answer.text) == (400, "fields: there is no column 'cloud' here, but label\n")
    assert web.get("/label-list?fields=%ff%00", Accept=JSON).status == 400


def test_a_form_that_there_is_not(web: Web) -> None:
    answer = web.get("/label-list", Accept="image/png")
    assert answer.status == 406
    assert answer.text == "this is told as text/plain and as application/json: accept one of them\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(web: Web, method: str) -> None:
    answer = web.get("/node-list", method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello, TLS?\r\n\r\n",
        b"GET /ready HTTP/9.9\r\n\r\n",
        b"GET /ready HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n",
        b"GET /ready HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 50_000 + b"\r\n\r\n",
        b"GET /ready?" + b"x" * 50_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\0" * 1000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(web: Web, data: bytes) -> None:
    status, _, rest = told_raw(web, data).partition(b"\r\n")
    assert status in (b"HTTP/1.0 400 Bad Request", b"HTTP/1.1 400 Bad Request")
    assert b"Traceback" not in rest
    assert web.get("/live").status == 200


def test_there_is_no_room_for_any_number_of_connections(web: Web) -> None:
    with ExitStack() as open_connections:
        for _ in range(MOST_CONNECTIONS):
            open_connections.enter_context(socket.create_connection(web.place, TIMEOUT))
        assert told_raw(web, b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n") == b""
    eventually(lambda: told_raw(web, b"GET /live HTTP/1.0\r\nHost: a\r\n\r\n"))
