"""How a launcher ends, and what it leaves behind (spec operation 1, launcher 1.2)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launcher_process import LauncherProcess, fake_provider
from tests.requestor import NODES, POOLS, REQUEST_LOCKS, REQUESTS, Zuul, zuul
from tests.zookeeper import Place, Proxy, eventually

LAUNCHERS = "/nodepool/components/launcher"
AT_ONCE = 4.0
"""Seconds; a session lasts ten, and so does the longest orderly stop."""
SLOW = {"boot-time": 300}
"""A cloud whose servers are never up in time."""
DEAF = {"latency": 300}
"""A cloud that does not answer."""

Start = Callable[..., LauncherProcess]


@pytest.fixture
def start(tmp_path: Path, zookeeper: Place) -> Iterator[Start]:
    """Starts launchers with one provider of the fake driver."""
    started: list[LauncherProcess] = []

    def start(fake: dict[str, Any], name: str = "launcher", **options: Any) -> LauncherProcess:
        provider = fake_provider("fake-cloud", ["a"], fake={"instances": 1000, "cores": 10000, **fake})
        launcher = LauncherProcess(tmp_path / name, zookeeper, providers=[provider], labels=["a"], **options)
        started.append(launcher)
        launcher.start()
        return launcher

    yield start
    for launcher in started:
        launcher.kill()


@pytest.fixture
def client(zookeeper: Place) -> Iterator[Zuul]:
    with zuul(zookeeper) as client:
        yield client


def states(client: Zuul) -> set[str]:
    """States of all requests."""
    return {(client.request(name) or {})["state"] for name in client.names(REQUESTS)}


def locks(client: Zuul) -> list[str]:
    """Everything that anybody holds or waits for."""
    roots = [f"{REQUEST_LOCKS}/{name}" for name in client.names(REQUEST_LOCKS)]
    roots += [f"{NODES}/{name}/lock" for name in client.names(NODES)]
    return [f"{root}/{name}" for root in roots for name in client.names(root)]


def components(client: Zuul) -> list[str]:
    return client.names(POOLS) + client.names(LAUNCHERS)


def working(client: Zuul, count: int = 3) -> list[str]:
    """Requests that the launcher works on."""
    names = [client.submit("a", "a") for _ in range(count)]
    for name in names:
        client.wait(f"{REQUESTS}/{name}", lambda request: (request or {})["state"] == "pending")
    return names


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_an_orderly_stop_gives_everything_back(start: Start, client: Zuul, number: signal.Signals) -> None:
    launcher = start(SLOW)
    names = working(client)
    began = time.monotonic()
    assert launcher.stop(number) == 0
    assert time.monotonic() - began < AT_ONCE
    assert states(client) == {"requested"}
    assert all((client.request(name) or {})["declined_by"] == [] for name in names)
    assert (locks(client), components(client)) == ([], [])
    assert "Traceback" not in launcher.log


def test_what_was_given_back_is_served_by_the_next(start: Start, client: Zuul) -> None:
    launcher = start(SLOW)
    names = working(client, 1)
    assert launcher.stop() == 0
    start({}, "next")
    assert len(client.fulfilled(names[0])) == 2


def test_a_stop_in_a_rush_leaves_nothing_half_done(start: Start, client: Zuul) -> None:
    """Transactions are under way when the signal comes."""
    launcher = start(SLOW)
    for _ in range(60):
        client.submit("a")
    eventually(lambda: "pending" in states(client))
    began = time.monotonic()
    assert launcher.stop() == 0
    assert time.monotonic() - began < AT_ONCE
    assert states(client) == {"requested"}
    assert (locks(client), components(client)) == ([], [])


def test_sigterm_ends_the_session_at_once(start: Start, client: Zuul) -> None:
    launcher = start(SLOW)
    working(client)
    began = time.monotonic()
    assert launcher.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < AT_ONCE
    assert (locks(client), components(client)) == ([], [])
    assert states(client) == {"pending"}
    assert "Traceback" not in launcher.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_an_orderly_stop(start: Start, client: Zuul, number: signal.Signals) -> None:
    """The stop waits for a call of the cloud, which does not end; nor does it keep the process from ending."""
    launcher = start({})
    client.fulfilled(client.submit("a"))
    launcher.configure(providers=[fake_provider("fake-cloud", ["a"], fake=DEAF)], labels=["a"])
    launcher.wait_log("Configuration taken over")
    names = [client.submit("a") for _ in range(3)]
    eventually(lambda: launcher.log.count("Launch attempt 1/3") == 4)
    os.kill(launcher.pid, signal.SIGINT)
    for name in names:
        client.wait(f"{REQUESTS}/{name}", lambda request: (request or {})["state"] == "requested")
    assert client.names(LAUNCHERS)
    began = time.monotonic()
    assert launcher.stop(number) == 0
    assert time.monotonic() - began < AT_ONCE
    assert (locks(client), components(client)) == ([], [])


def test_a_stop_while_zookeeper_is_away(start: Start, zookeeper: Place, client: Zuul) -> None:
    with Proxy(int(zookeeper.hosts.rpartition(":")[2])) as proxy:
        launcher = start(SLOW, hosts=proxy.hosts)
        working(client, 1)
        proxy.refuse()
        launcher.wait_log("The connection to ZooKeeper is broken")
        began = time.monotonic()
        assert launcher.stop() == 0
        assert time.monotonic() - began < AT_ONCE


def test_a_second_signal_while_zookeeper_is_mute(start: Start, zookeeper: Place, client: Zuul) -> None:
    with Proxy(int(zookeeper.hosts.rpartition(":")[2])) as proxy:
        launcher = start(SLOW, hosts=proxy.hosts)
        working(client, 1)
        proxy.stall()
        os.kill(launcher.pid, signal.SIGINT)
        launcher.wait_log("giving back")
        began = time.monotonic()
        assert launcher.stop() == 0
        assert time.monotonic() - began < AT_ONCE


def test_debug_shows_more_than_the_foreground_alone(start: Start) -> None:
    quiet, loud = start({}, "quiet"), start({}, "loud", debug=True)
    for launcher in (quiet, loud):
        os.kill(launcher.pid, signal.SIGUSR2)
    loud.wait_log(" DEBUG nodepool.stack_dump: End debug handler")
    assert quiet.stop() == loud.stop() == 0
    assert " INFO nodepool.NodePool: Ended" in quiet.log
    assert " DEBUG " not in quiet.log
