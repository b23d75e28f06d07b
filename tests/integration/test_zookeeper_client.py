"""The blocking client of the commands, on a real ZooKeeper."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from nodepool.zk.client import (
    Client,
    LockLost,
    LockTimeout,
    OutcomeUnknown,
    RecordMissing,
    TransactionRefused,
    ZooKeeperError,
    connect,
)
from nodepool.zk.store import Check, Contended, Create, Delete, RefusedBy, SetData
from tests.zookeeper import Place, eventually, expire
from tools.zookeeper import free_port


@pytest.fixture
def client(zookeeper: Place) -> Iterator[Client]:
    with connect(zookeeper.hosts, zookeeper.chroot) as client:
        yield client


@pytest.fixture
def other(zookeeper: Place) -> Iterator[Client]:
    with connect(zookeeper.hosts, zookeeper.chroot) as client:
        yield client


def test_a_tree_is_read_at_once(client: Client) -> None:
    client.ensure("/nodepool/nodes")
    client.ensure("/nodepool/nodes")
    client.commit([Create("/nodepool/nodes/1", b"one"), Create("/nodepool/nodes/1/lock"), Create("/nodepool/other")])
    found = client.tree(["/nodepool/nodes", "/nodepool/missing"])
    assert {path: datum.data for path, datum in found.items()} == {
        "/nodepool/nodes": b"",
        "/nodepool/nodes/1": b"one",
        "/nodepool/nodes/1/lock": b"",
    }


def test_a_refused_transaction_is_an_error_that_says_why(client: Client) -> None:
    with pytest.raises(TransactionRefused, match="a znode does not exist \\(/missing: ") as failure:
        client.commit([SetData("/missing", b"", 0)])
    assert failure.value.refused.reason is RefusedBy.NO_NODE


def test_a_lock_makes_its_directory_and_goes_at_the_end(client: Client, other: Client) -> None:
    client.commit([Create("/n", b"record")])
    with client.lock("/n/lock", b"me") as held:
        assert held.ahead == ()
        client.commit([Check(f"/n/lock/{held.contender}"), SetData("/n", b"changed", 0)])
        assert set(other.tree(["/n"])) == {"/n", "/n/lock", f"/n/lock/{held.contender}"}
    eventually(lambda: set(other.tree(["/n"])) == {"/n", "/n/lock"})


def test_a_lock_never_makes_a_record(client: Client) -> None:
    with pytest.raises(RecordMissing, match="/gone does not exist"), client.lock("/gone/lock"):
        pass
    assert client.tree(["/gone"]) == {}


@pytest.mark.parametrize(("identifier", "holder"), [(b"somebody-42", "somebody-42"), (b"", "__lock__0000000000")])
def test_a_held_lock_names_its_holder(client: Client, other: Client, identifier: bytes, holder: str) -> None:
    client.commit([Create("/n"), Create("/n/lock")])
    with other.lock("/n/lock", identifier):
        begin = time.monotonic()
        with pytest.raises(LockTimeout, match="/n/lock is held by ") as failure, client.lock("/n/lock"):
            pass
        assert time.monotonic() - begin < 5
        assert failure.value.holder.endswith(holder)
        eventually(lambda: len(other.tree(["/n/lock"])) == 2)


def test_a_lock_is_waited_for(client: Client, other: Client) -> None:
    client.commit([Create("/n"), Create("/n/lock")])
    got: list[Contended] = []

    def take() -> None:
        with client.lock("/n/lock", wait_seconds=20) as held:
            got.append(held)

    with other.lock("/n/lock"):
        waiter = threading.Thread(target=take)
        waiter.start()
        eventually(lambda: len(other.tree(["/n/lock"])) == 3)
        assert not got
    waiter.join(20)
    assert len(got) == 1


def test_a_place_in_the_queue_that_is_lost_is_an_error(client: Client, other: Client) -> None:
    client.commit([Create("/n"), Create("/n/lock")])
    errors: list[Exception] = []

    def take() -> None:
        try:
            with client.lock("/n/lock", wait_seconds=20):
                pass
        except LockLost as error:
            errors.append(error)

    with other.lock("/n/lock") as held:
        waiter = threading.Thread(target=take)
        waiter.start()

        def told() -> bool:
            # Who has lost its place before it knew that it has one joins again: then the next one is taken.
            for path in other.tree(["/n/lock"]):
                if "__lock__" in path and path != f"/n/lock/{held.contender}":
                    other.commit([Delete(path)])
            return bool(errors)

        eventually(told)
        waiter.join(20)
    assert "our place in the queue is gone" in str(errors[0])


def test_a_lock_that_is_waited_for_does_not_outlive_the_session(client: Client, other: Client) -> None:
    client.commit([Create("/n"), Create("/n/lock")])
    errors: list[Exception] = []

    def take() -> None:
        try:
            with client.lock("/n/lock", wait_seconds=20):
                pass
        # The second: the session ended before it was known whether there is a place in the queue.
        except (LockLost, OutcomeUnknown) as error:
            errors.append(error)

    with other.lock("/n/lock"):
        waiter = threading.Thread(target=take)
        waiter.start()
        eventually(lambda: len(other.tree(["/n/lock"])) == 3)
        expire(client.store)
        waiter.join(20)
    assert errors


def test_no_zookeeper_is_an_error_after_the_patience() -> None:
    port = free_port()
    with pytest.raises(ZooKeeperError, match=f"no connection to ZooKeeper: 127.0.0.1:{port}: Connection refused"):
        connect(f"127.0.0.1:{port}", patience=0.5)


def test_a_stopped_process_writes_nothing_when_it_goes_on(zookeeper: Place, client: Client) -> None:
    """A process holds a lock and writes under it; SIGSTOP past its session, SIGCONT: the record stays as it was."""
    client.commit([Create("/n"), Create("/n/lock")])
    arguments = [sys.executable, "-c", WRITER, zookeeper.hosts, zookeeper.chroot]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "locked\n"
            eventually(lambda: client.tree(["/n"])["/n"].version > 10)
            writer.send_signal(19)
            eventually(lambda: len(client.tree(["/n"])) == 2)
            version = client.tree(["/n"])["/n"].version
            client.commit([SetData("/n", b"ours", version)])
            writer.send_signal(18)
            assert writer.stdout.readline() == "refused\n"
            assert client.tree(["/n"])["/n"].data == b"ours"
        finally:
            writer.kill()


WRITER = """
import sys
from nodepool.zk.client import connect, OutcomeUnknown, TransactionRefused
from nodepool.zk.store import Check, SetData

client = connect(sys.argv[1], sys.argv[2], session_timeout=1.0)
with client.lock("/n/lock") as held:
    print("locked", flush=True)
    number = 0
    while True:
        try:
            client.commit([Check(f"/n/lock/{held.contender}"), SetData("/n", b"%d" % number, -1)])
        except OutcomeUnknown:
            continue
        except TransactionRefused:
            break
        number += 1
print("refused", flush=True)
"""
