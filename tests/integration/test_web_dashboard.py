"""The page at ``/`` and the stream of events that keeps it up to date."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.launcher_process import LauncherProcess, fake_provider
from tests.requestor import zuul
from tests.web_client import TIMEOUT, Web, address_of
from tests.zookeeper import PATIENCE, Place, Proxy

FULL = "the provider's quota is used up"


class Stream:
    """The events of one connection, read as browsers do."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def wait(self, name: str, wanted: Any) -> Any:
        """The data of the next event of this name for which ``wanted`` holds."""
        deadline = time.monotonic() + PATIENCE
        seen = None
        while time.monotonic() < deadline:
            event, data = self._next()
            if event == name:
                seen = data
                if wanted(data):
                    return data
        raise AssertionError(f"no such {name} within {PATIENCE} s; the last was {seen}")

    def _next(self) -> tuple[str, Any]:
        lines: dict[str, str] = {}
        while line := self._response.readline().decode().rstrip("\n"):
            key, _, value = line.partition(": ")
            lines[key] = value
        return lines.get("event", ""), json.loads(lines.get("data", "null"))


@contextmanager
def watching(web: Web) -> Iterator[Stream]:
    host, port = web.place
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/events")
        response = connection.getresponse()
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        yield Stream(response)
    finally:
        connection.close()


@pytest.fixture
def proxy(zookeeper: Place) -> Iterator[Proxy]:
    with Proxy(int(zookeeper.hosts.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
def launcher(zookeeper: Place, proxy: Proxy, tmp_path: Path) -> Iterator[LauncherProcess]:
    """A launcher whose cloud has room for two nodes."""
    providers = [fake_provider("fake-cloud", ["small"], fake={"instances": 2})]
    webapp = {"port": 0, "listen_address": "127.0.0.1"}
    daemon = LauncherProcess(
        tmp_path, zookeeper, providers=providers, labels=["small"], hosts=proxy.hosts, webapp=webapp
    )
    with daemon:
        yield daemon
        assert "Traceback" not in daemon.log


@pytest.fixture
def web(launcher: LauncherProcess) -> Web:
    return Web(address_of(launcher))


def test_the_page_needs_nothing_from_elsewhere(web: Web) -> None:
    types = {"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css"}
    for path, media_type in types.items():
        answer = web.get(path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, f"{media_type}; charset=utf-8")
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; ")
        assert "innerHTML" not in answer.text
        assert set(re.findall(r"[a-z]+://[^\s\"]+", answer.text)) <= {"http://www.w3.org/2000/svg"}


def test_it_is_told_what_happens(web: Web, launcher: LauncherProcess, proxy: Proxy) -> None:
    with watching(web) as stream, zuul(launcher.place) as scheduler:
        first = stream.wait("overview", lambda one: one.get("providers"))
        assert (first["kind"], first["trouble"], first["images"]) == ("launcher", "", [])
        (pool,) = first["pools"]
        assert (pool["pool"], pool["labels"], pool["quota"], pool["free"]) == ("main", ["small"], 2, 2)
        scheduler.fulfilled(scheduler.submit("small", "small"))
        waiting = scheduler.submit("small")
        busy = stream.wait("overview", lambda one: [wish["reason"] for wish in one["requests"]["waiting"]] == [FULL])
        assert busy["requests"]["waiting"][0]["id"] == waiting
        assert (busy["states"], busy["pools"][0]["ready"]) == ({"ready": 2}, 2)
        (provider,) = busy["providers"]
        assert provider["answers"]
        assert {"resource": "instances", "ours": 2, "others": 0, "limit": 2} in provider["use"]
        proxy.refuse()
        away = stream.wait("overview", lambda one: one["trouble"])
        assert away["trouble"] == "there is no connection to ZooKeeper"
        assert away["pools"][0]["ready"] == 2
        proxy.resume()
        stream.wait("overview", lambda one: not one["trouble"])


def test_the_time_line_begins_at_the_start(web: Web) -> None:
    with watching(web) as stream:
        (first, *_) = stream.wait("time-line", lambda samples: samples)
        assert set(first) == {"at", "used", "ready", "building", "held", "going", "waiting"}


def test_a_provider_that_does_not_answer(zookeeper: Place, tmp_path: Path) -> None:
    provider = fake_provider("fake-cloud", ["small"], fake={"poll-interval": 0.05, "faults": {"list-unknown": 1}})
    webapp = {"port": 0, "listen_address": "127.0.0.1"}
    labels = [{"name": "small", "min-ready": 1}]
    with LauncherProcess(tmp_path, zookeeper, providers=[provider], labels=labels, webapp=webapp) as launcher:
        with watching(Web(address_of(launcher))) as stream:
            told = stream.wait("overview", lambda one: [one["answers"] for one in one.get("providers", [])] == [False])
        assert "no list of servers came in time" in told["providers"][0]["error"]


def test_who_watches_does_not_keep_the_launcher_from_ending(web: Web, launcher: LauncherProcess) -> None:
    with watching(web) as stream:
        stream.wait("overview", lambda one: one["pools"])
        assert launcher.stop() == 0
