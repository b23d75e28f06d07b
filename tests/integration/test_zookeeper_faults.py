"""A store on a real ZooKeeper that fails in the ways in which ZooKeeper and networks fail."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodepool.zk.kazoo_client import SessionClient
from nodepool.zk.session import KazooStore
from nodepool.zk.store import Connection, Contended, Create, Outcome, Uncertain
from tests.contract.worlds import Caller, Follower, RealWorld
from tests.zookeeper import Place, Proxy, eventually, hosts_of, local_ensemble, local_zookeeper, new_place, running
from tools.zookeeper import LocalZooKeeper, free_port

SESSION = 1.0
"""Seconds that a session lives without its client in these tests."""
CONNECTED, SUSPENDED, LOST = Connection.CONNECTED, Connection.SUSPENDED, Connection.LOST


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalZooKeeper]:
    """A server that the tests of this module hurt, each of which leaves it running."""
    with local_zookeeper(tmp_path_factory.mktemp("faults"), tick=0.1) as server:
        yield server


@pytest.fixture
def server(shared_server: LocalZooKeeper) -> Iterator[LocalZooKeeper]:
    """The server; it goes on at the end of the test whatever was done to it."""
    yield shared_server
    shared_server.resume()
    if not shared_server.pid:
        shared_server.start()
    shared_server.wait_serving()


@pytest.fixture
def proxy(server: LocalZooKeeper) -> Iterator[Proxy]:
    """A network between us and the server."""
    with Proxy(server.port) as proxy:
        yield proxy


def caller_on(store: KazooStore, place: Place) -> Caller:
    """A caller for a store that runs already."""
    return Caller(RealWorld(place), store)


@contextlib.contextmanager
def joined(
    hosts: str, *, place: Place | None = None, session: float = SESSION, deadline: float = 5.0
) -> Iterator[tuple[KazooStore, Caller]]:
    """A connected store, as a rule with a short session, and its caller."""
    place = place or new_place(hosts)
    store = KazooStore(hosts, place.chroot, None, session, deadline)
    with running(store):
        yield store, caller_on(store, place)


def test_a_black_hole_is_suspended_and_then_lost_by_our_own_clock(server: LocalZooKeeper, proxy: Proxy) -> None:
    place = new_place(server.hosts)
    with joined(proxy.hosts, place=place) as (store, caller), joined(server.hosts, place=place) as (_, other):
        session = store.session()
        caller.must(Create("/e", ephemeral=True))
        follower = Follower(store, ["/e"])
        eventually(lambda: follower.znodes)
        proxy.stall()
        eventually(lambda: caller.connections == [CONNECTED, SUSPENDED, LOST])
        assert store.session() == 0
        assert caller.changes[-1].session == session
        assert caller.commit(Create("/late"), session=session) is Uncertain.SESSION_LOST
        eventually(lambda: other.read("/e") is None)
        proxy.resume()
        eventually(lambda: caller.connections == [CONNECTED, SUSPENDED, LOST, CONNECTED])
        assert store.session() not in (0, session)
        assert other.read("/late") is None
        eventually(lambda: follower.batches[-1].session == store.session())
        assert follower.znodes == {}


def test_a_session_that_was_called_lost_is_ended_though_it_was_alive(server: LocalZooKeeper, proxy: Proxy) -> None:
    """Somebody keeps the session alive during the black hole, as a change of the leader would."""
    place = new_place(server.hosts)
    with joined(proxy.hosts, place=place) as (store, caller), joined(server.hosts, place=place) as (_, other):
        caller.must(Create("/e", ephemeral=True))
        old = store.session()
        client = _client(store)
        proxy.stall()
        with kept_alive(server.port, *client.client_id):
            eventually(lambda: caller.connections[-1] is LOST)
            assert other.read("/e") is not None
            proxy.resume()
            eventually(lambda: caller.connections[-1] is CONNECTED)
        assert store.session() != old
        assert other.read("/e") is None


def test_a_paused_server_times_calls_out_and_its_session_goes_on(server: LocalZooKeeper) -> None:
    with joined(server.hosts, session=10.0, deadline=0.2) as (store, caller):
        session = store.session()
        caller.make("/l")
        server.pause()
        assert caller.commit(Create("/a")) is Uncertain.TIMED_OUT
        assert caller.connections == [CONNECTED]
        server.resume()
        eventually(lambda: caller.read("/a") is not None)
        assert store.session() == session


def test_a_server_paused_for_longer_than_the_session_ends_it(server: LocalZooKeeper) -> None:
    with joined(server.hosts) as (store, caller):
        session = store.session()
        caller.must(Create("/e", ephemeral=True))
        server.pause()
        eventually(lambda: caller.connections == [CONNECTED, SUSPENDED, LOST])
        server.resume()
        eventually(lambda: caller.connections == [CONNECTED, SUSPENDED, LOST, CONNECTED])
        assert store.session() != session
        assert caller.read("/e") is None


def test_a_restart_of_the_server_keeps_session_and_data(server: LocalZooKeeper) -> None:
    place = new_place(server.hosts)
    store = KazooStore(server.hosts, place.chroot, None, 10.0)
    with running(store):
        caller = caller_on(store, place)
        session = store.session()
        caller.must(Create("/e", b"x", ephemeral=True))
        follower = Follower(store, ["/e"])
        server.kill()
        eventually(lambda: caller.connections == [CONNECTED, SUSPENDED])
        server.start()
        eventually(lambda: caller.connections == [CONNECTED, SUSPENDED, CONNECTED])
        assert store.session() == session
        eventually(lambda: follower.data() == {"/e": b"x"} and follower.batches[-1].complete)
        caller.must(Create("/more"))


def test_no_contender_is_left_over_when_answers_are_lost(server: LocalZooKeeper, proxy: Proxy) -> None:
    place = new_place(server.hosts)
    with joined(proxy.hosts, place=place) as (store, caller), joined(server.hosts, place=place) as (_, other):
        caller.make("/l")
        known: list[object] = []
        for interruptions in range(1, 6):
            for _ in range(40):
                store.contend("/l", b"", known.append)
            proxy.cut()
            wanted = [CONNECTED] + [SUSPENDED, CONNECTED] * interruptions
            eventually(lambda wanted=wanted: caller.connections == wanted)  # type: ignore[misc]
        eventually(lambda: len(known) == 200)
        ours = {outcome.contender for outcome in known if isinstance(outcome, Contended)}
        assert len(ours) < 200, "no answer was lost: this shows nothing"
        eventually(lambda: set(other.children("/l")) == ours)


def test_a_contender_that_timed_out_is_taken_back(server: LocalZooKeeper, proxy: Proxy) -> None:
    place = new_place(server.hosts)
    with (
        joined(proxy.hosts, place=place, session=10.0, deadline=0.2) as (store, caller),
        joined(server.hosts, place=place) as (_, other),
    ):
        caller.make("/l")
        proxy.stall()
        assert caller.contend("/l") is Uncertain.TIMED_OUT
        proxy.resume()
        held = caller.contend("/l")
        while isinstance(held, Uncertain):
            held = caller.contend("/l")
        eventually(lambda: other.children("/l") == (held.contender,))
        assert caller.connections == [CONNECTED]
        assert store.session()


@pytest.mark.parametrize("fault", ["none", "stall", "refuse"])
def test_closing_takes_little_time_whatever_the_state(server: LocalZooKeeper, proxy: Proxy, fault: str) -> None:
    place = new_place(server.hosts)
    with joined(server.hosts, place=place) as (_, other):
        store = KazooStore(proxy.hosts, place.chroot, None, 10.0)
        store.start()
        assert store.wait_connected(20)
        caller_on(store, place).must(Create("/e", ephemeral=True))
        outcomes: list[Outcome] = []
        if fault != "none":
            {"stall": proxy.stall, "refuse": proxy.refuse}[fault]()
            store.commit([Create("/x")], outcomes.append)
        begin = time.monotonic()
        store.close()
        assert time.monotonic() - begin < 4.0
        if fault == "none":
            assert other.read("/e") is None
        else:
            assert outcomes[0] in (Uncertain.SESSION_LOST, Uncertain.CONNECTION_LOST)
            assert len(outcomes) == 1


def test_a_store_that_never_connected_closes_at_once() -> None:
    store = KazooStore(f"127.0.0.1:{free_port()}")
    store.start()
    assert not store.wait_connected(0.3)
    begin = time.monotonic()
    store.close()
    assert time.monotonic() - begin < 2.0


def test_servers_that_cannot_be_used_are_named_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    store = KazooStore(f"127.0.0.1:{port},no-such-host.invalid:2181")
    with caplog.at_level("WARNING"), running(store, connected=False):
        eventually(lambda: "Waiting for ZooKeeper" in caplog.text)
    assert f"127.0.0.1:{port}: Connection refused" in caplog.text
    assert "no-such-host.invalid:2181: the name cannot be resolved" in caplog.text
    assert len(caplog.records) == 1


def test_servers_are_changed_live(server: LocalZooKeeper, tmp_path: Path) -> None:
    with Proxy(server.port) as first, Proxy(server.port) as second:
        place = new_place(first.hosts)
        store = KazooStore(first.hosts, place.chroot, None, 2.0)
        with running(store), local_zookeeper(tmp_path) as elsewhere:
            caller = caller_on(store, place)
            session = store.session()
            caller.make("/here")
            store.set_hosts(f"{first.hosts},{second.hosts}")
            store.set_hosts(second.hosts)
            eventually(lambda: caller.connections == [CONNECTED, SUSPENDED, CONNECTED])
            first.refuse()
            assert store.session() == session
            assert caller.read("/here") is not None
            store.set_hosts(elsewhere.hosts)
            eventually(lambda: caller.connections[-2:] == [LOST, CONNECTED], 30)
            assert caller.read("/here") is None
            caller.make("/there")


@pytest.mark.parametrize("hosts", ["", "127.0.0.1:2181/chroot", "host:port", ",", "host:99999"])
def test_servers_that_make_no_sense_are_refused_at_once(hosts: str) -> None:
    with pytest.raises(ValueError, match="ZooKeeper servers must be host:port"):
        KazooStore(hosts)
    with pytest.raises(ValueError, match="ZooKeeper servers must be host:port"):
        KazooStore("127.0.0.1:2181").set_hosts(hosts)


def test_a_chroot_is_made_and_keeps_others_out(server: LocalZooKeeper) -> None:
    place = new_place(server.hosts)
    deep = Place(server.hosts, f"{place.chroot}/a/b")
    with running(deep.store()) as below, running(Place(server.hosts, "").store()) as above:
        inner, outer = caller_on(below, deep), caller_on(above, place)
        inner.make("/nodepool")
        assert inner.children("/nodepool") == ()
        assert outer.children(f"{place.chroot}/a/b") == ("nodepool",)
        assert inner.read(place.chroot) is None


def test_a_hundred_clients_come_back_after_a_restart(server: LocalZooKeeper) -> None:
    place = new_place(server.hosts)
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        stores = [KazooStore(server.hosts, place.chroot) for _ in range(100)]
        for store in stores:
            stack.enter_context(running(store, connected=False))
        eventually(lambda: all(store.wait_connected(0) for store in stores))
        assert threading.active_count() - before <= 200
        sessions = [store.session() for store in stores]
        server.kill()
        eventually(lambda: not any(store.wait_connected(0) for store in stores))
        server.start()
        eventually(lambda: all(store.wait_connected(0) for store in stores))
        assert [store.session() for store in stores] == sessions


def test_an_ensemble_that_loses_its_leader_keeps_sessions(tmp_path: Path) -> None:
    patience = 90.0  # elections take their time on a machine that has other things to do
    with local_ensemble(tmp_path) as servers:
        place = new_place(hosts_of(servers))
        store = KazooStore(place.hosts, place.chroot, None, patience)
        with running(store):
            caller = caller_on(store, place)
            session = store.session()
            caller.must(Create("/e", b"1", ephemeral=True))
            follower = Follower(store, ["/e"])
            (leader,) = [server for server in servers if server.mode() == "leader"]
            leader.kill()
            eventually(lambda: SUSPENDED in caller.connections, patience)
            eventually(lambda: caller.connections[-1] is CONNECTED, patience)
            eventually(lambda: follower.batches and follower.batches[-1].complete and follower.znodes, patience)
            caller.must(Create("/more"))
            assert store.session() == session
            (_, standing) = [server for server in servers if server is not leader]
            standing.kill()
            eventually(lambda: caller.connections[-1] is SUSPENDED, patience)
            assert caller.commit(Create("/minority")) is Uncertain.CONNECTION_LOST
            leader.start(wait=False)
            eventually(lambda: caller.connections[-1] is CONNECTED, patience)
            assert caller.read("/minority") is None
            assert caller.read("/more") is not None


@contextlib.contextmanager
def kept_alive(port: int, session: int, password: bytes) -> Iterator[None]:
    """Keep a session alive from another connection."""
    body = struct.pack("!iqiqi", 0, 0, 1000, session, len(password)) + password + b"\0"
    over = threading.Event()
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(struct.pack("!i", len(body)) + body)
        connection.recv(100)

        def ping() -> None:
            with contextlib.suppress(OSError):
                while not over.wait(0.1):
                    connection.sendall(struct.pack("!iii", 8, -2, 11))

        thread = threading.Thread(target=ping)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _client(store: KazooStore) -> SessionClient:
    assert store._client is not None
    return store._client
