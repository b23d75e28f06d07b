"""Requests under way while ZooKeeper hangs, restarts, cannot be reached or changes its leader.

Nothing is lost, and work goes on as soon as the connection is back, not at the next tick of some clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.audit import Audit
from tests.installation import SESSION, Installation, session_of, sessions_of
from tests.journal import Transaction
from tests.launcher_process import LauncherProcess
from tests.requestor import Zuul, zuul
from tests.zookeeper import Proxy, eventually, hosts_of, local_ensemble, local_zookeeper
from tools.zookeeper import LocalZooKeeper

LONG_SESSION = 10.0
PROMPT = 2.0
"""Seconds within which work has to go on when the connection can be had again, which is tried once a second."""
SLOW = {"boot-time": 0.3, "latency": 0.05}


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalZooKeeper]:
    """A server that the tests of this module hurt, each of which leaves it running."""
    with local_zookeeper(tmp_path_factory.mktemp("zookeeper"), tick=0.2) as server:
        yield server


@pytest.fixture
def server(shared_server: LocalZooKeeper) -> Iterator[LocalZooKeeper]:
    """The server; it goes on at the end of the test whatever was done to it."""
    yield shared_server
    shared_server.resume()
    if not shared_server.pid:
        shared_server.start()
    shared_server.wait_serving()


def submit_until_busy(site: Installation, client: Zuul) -> list[str]:
    """Submit requests until some are served and others are under way; returns them all."""
    requests: list[str] = []

    def busy(audit: Audit) -> bool:
        requests.append(client.submit("small"))
        states = audit.states()
        return all(states[state] for state in ("request pending", "node building", "request fulfilled"))

    site.wait(busy)
    return requests


def use_up(site: Installation, client: Zuul, requests: list[str]) -> None:
    """Accept and return the nodes of all requests; nothing is left over then."""
    for request in requests:
        for node in client.accept(request):
            client.use(node)
            client.give_back(node)
    site.wait_clean()


def writes_record(transaction: Transaction) -> bool:
    """Whether a node or request is written."""
    paths = [change.path for change in transaction.changes]
    return any("/nodepool/nodes/" in path or "/nodepool/requests/" in path for path in paths)


@contextmanager
def timed_return(what: str, site: Installation, launcher: LauncherProcess) -> Iterator[None]:
    """Measure from the end of an outage, which is the inner block, until the launcher writes a record again."""
    before = site.zxid
    yield
    back = time.monotonic()
    site.wait(lambda _: any(writes_record(one) for one in site.writes(session_of(launcher), after=before)))
    seconds = time.monotonic() - back
    print(f"\n{what}: work goes on {seconds * 1000:.0f} ms after the end of the outage")
    assert seconds < PROMPT


def test_a_server_that_hangs_for_less_than_the_session(site: Installation, server: LocalZooKeeper) -> None:
    provider = site.provider(fake=SLOW)
    launcher = site.launcher(providers=[provider], zookeeper_timeout=LONG_SESSION)
    with launcher, zuul(site.place, session_timeout=LONG_SESSION) as client:
        requests = submit_until_busy(site, client)
        server.pause()
        hung = time.monotonic()
        with timed_return("ZooKeeper hung for 5 s", site, launcher):
            eventually(lambda: time.monotonic() > hung + 5.0)
            server.resume()
        use_up(site, client, requests)
        assert len(sessions_of(launcher)) == 1


def test_a_server_that_is_restarted(site: Installation, server: LocalZooKeeper) -> None:
    launcher = site.launcher(providers=[site.provider(fake=SLOW)], zookeeper_timeout=LONG_SESSION)
    with launcher, zuul(site.place, session_timeout=LONG_SESSION) as client:
        requests = submit_until_busy(site, client)
        with timed_return("ZooKeeper was restarted", site, launcher):
            server.kill()
            server.start()
        eventually(lambda: client.client.connected)
        use_up(site, client, requests)
        assert len(sessions_of(launcher)) == 1


def test_a_network_that_loses_everything_for_longer_than_the_session(
    site: Installation, server: LocalZooKeeper
) -> None:
    with Proxy(server.port) as proxy:
        launcher = site.launcher(providers=[site.provider(fake=SLOW)], hosts=proxy.hosts)
        with launcher, zuul(site.place) as client:
            requests = submit_until_busy(site, client)
            session = session_of(launcher)
            proxy.stall()
            launcher.wait_log("The connection to ZooKeeper is broken")
            suspended = site.zxid
            requests.append(client.submit("small"))
            ended = site.wait_end(session)
            launcher.wait_log("is lost, and with it all locks")
            with timed_return(f"No network for longer than the session of {SESSION} s", site, launcher):
                proxy.resume()
                eventually(lambda: session_of(launcher) != session)
            use_up(site, client, requests)
            assert [one.zxid for one in site.writes(session, after=suspended)] == [ended]
            assert len(sessions_of(launcher)) == 2


def test_a_network_that_loses_everything_for_a_moment(site: Installation, server: LocalZooKeeper) -> None:
    """The connection is given up, the session is not."""
    with Proxy(server.port) as proxy:
        launcher = site.launcher(
            providers=[site.provider(fake=SLOW)], hosts=proxy.hosts, zookeeper_timeout=LONG_SESSION
        )
        with launcher, zuul(site.place) as client:
            requests = submit_until_busy(site, client)
            with timed_return("Connections were cut and refused", site, launcher):
                proxy.refuse()
                launcher.wait_log("The connection to ZooKeeper is broken")
                requests.append(client.submit("small"))
                proxy.resume()
            use_up(site, client, requests)
            assert len(sessions_of(launcher)) == 1


def test_an_ensemble_that_loses_its_leader(tmp_path: Path) -> None:
    with local_ensemble(tmp_path / "ensemble") as servers:
        leader = next(server for server in servers if server.mode() == "leader")
        follower = next(server for server in servers if server is not leader)
        site = Installation(follower, tmp_path, hosts_of(servers))
        launcher = site.launcher(providers=[site.provider(fake=SLOW)], zookeeper_timeout=LONG_SESSION)
        with launcher, zuul(site.place) as client:
            requests = submit_until_busy(site, client)
            with timed_return("The leader of three was killed", site, launcher):
                leader.kill()
                others = [server for server in servers if server is not leader]
                eventually(lambda: sorted(server.mode() for server in others) == ["follower", "leader"])
            eventually(lambda: client.client.connected)
            requests += [client.submit("small") for _ in range(5)]
            use_up(site, client, requests)
            assert len(sessions_of(launcher)) == 1
