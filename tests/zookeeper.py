"""Real ZooKeeper for tests: where it comes from, and the faults that can be made.

A test that lacks a server fails with the command that installs it. Fault tests use servers of their own.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodepool.zk.session import KazooStore
from nodepool.zk.tls import TLSFiles
from tools.zookeeper import LocalZooKeeper, Member, ask, free_port

HOSTS_VARIABLE = "TEST_ZOOKEEPER_HOSTS"
IMAGE = os.environ.get("TEST_ZOOKEEPER_IMAGE", "zookeeper:3.9")
PATIENCE = 20.0
"""Seconds that a test waits for what should happen in milliseconds."""


def eventually(condition: Callable[[], object], seconds: float = PATIENCE, pause: float = 0.002) -> None:
    """Wait until ``condition`` is true; fail when it is not within ``seconds``. It is asked each ``pause`` seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {condition}")
        time.sleep(pause)


@dataclass(frozen=True, slots=True)
class Place:
    """A tree of its own for one test."""

    hosts: str
    chroot: str

    def store(self, *, session_timeout: float = 10.0, call_deadline: float = 10.0) -> KazooStore:
        """A store that is not started yet."""
        return KazooStore(self.hosts, self.chroot, None, session_timeout, call_deadline)


def new_place(hosts: str) -> Place:
    """A random chroot on ``hosts``."""
    return Place(hosts, f"/test-{uuid.uuid4().hex}")


@contextlib.contextmanager
def some_zookeeper(directory: Path) -> Iterator[str]:
    """Hosts of a server: given by the environment, in a container, or a child process in ``directory``."""
    if hosts := os.environ.get(HOSTS_VARIABLE):
        yield hosts
    elif container := _container():
        with container:
            host, port = container.get_container_host_ip(), int(container.get_exposed_port(2181))
            eventually(lambda: "Mode:" in ask(port, b"srvr"), 60)
            yield f"{host}:{port}"
    else:
        with local_zookeeper(directory) as server:
            yield server.hosts


@contextlib.contextmanager
def local_zookeeper(directory: Path, **options: Any) -> Iterator[LocalZooKeeper]:
    """A server of our own, for tests that hurt it."""
    server = LocalZooKeeper(directory, **options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def local_ensemble(directory: Path, count: int = 3) -> Iterator[list[LocalZooKeeper]]:
    """Several servers that make one ensemble; they serve."""
    members = [Member(number, free_port(), free_port()) for number in range(1, count + 1)]
    servers = [LocalZooKeeper(directory / str(member.number), member=member, ensemble=members) for member in members]
    try:
        for server in servers:
            server.port = free_port()
            server.start(wait=False)
        for server in servers:
            server.wait_serving()
        yield servers
    finally:
        for server in servers:
            server.kill()


def hosts_of(servers: Sequence[LocalZooKeeper]) -> str:
    """Connect string of all these servers."""
    return ",".join(server.hosts for server in servers)


@contextlib.contextmanager
def running(store: KazooStore, *, connected: bool = True) -> Iterator[KazooStore]:
    """Start a store, wait for its connection unless told otherwise, and close it at the end."""
    store.start()
    try:
        if connected and not store.wait_connected(PATIENCE):
            raise AssertionError(f"no connection to ZooKeeper: {store.trouble()}")
        yield store
    finally:
        store.close()


def expire(store: KazooStore) -> None:
    """End the session of a store on the server, as if it had expired: its ephemeral znodes are gone at once.

    Another connection takes the session over and closes it.
    """
    client = store._client
    assert client is not None
    session, password = client.client_id
    host, _, port = client.server.rpartition(":")
    kill_session(host, int(port), session, password)


def cut(store: KazooStore) -> None:
    """Break the connection of a store; the session lives on."""
    assert store._client is not None
    store._client.cut()


def kill_session(host: str, port: int, session: int, password: bytes) -> None:
    """Take over a session and close it."""
    body = struct.pack("!iqiqi", 0, 0, 10000, session, len(password)) + password + b"\0"
    with socket.create_connection((host, port), 5) as connection:
        connection.sendall(struct.pack("!i", len(body)) + body)
        (length,) = struct.unpack("!i", connection.recv(4))
        connection.recv(length)
        connection.sendall(struct.pack("!iii", 8, 1, -11))
        connection.recv(100)


def tls_files(authority: Path, certificate: Path, key: Path) -> TLSFiles:
    """The files of a client."""
    return TLSFiles(str(certificate), str(key), str(authority))


class Proxy:
    """A TCP proxy in front of one local port, which can fail like a network.

    ``stall`` keeps everything back as a network does that loses all packets: what was sent meanwhile arrives when
    ``resume`` is called. ``refuse`` closes the port. ``cut`` breaks all connections.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._selector = selectors.DefaultSelector()
        self._waker, self._wake = socket.socketpair()
        self._orders: list[tuple[Callable[[], None], threading.Event]] = []
        self._stalled = False
        self._ended = False
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._selector.register(self._waker, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def hosts(self) -> str:
        """Connect string of the proxy."""
        return f"127.0.0.1:{self.port}"

    def stall(self) -> None:
        """Let nothing through, break nothing."""
        self._order(self._set_stalled(True))

    def resume(self) -> None:
        """End of ``stall`` or ``refuse``."""
        self._order(self._set_stalled(False))

    def refuse(self) -> None:
        """Break all connections and refuse new ones."""
        self._order(self._close_port)

    def cut(self) -> None:
        """Break all connections, accept new ones."""
        self._order(self._close_pairs)

    def close(self) -> None:
        """End the proxy."""
        self._order(self._end)
        self._thread.join()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _order(self, action: Callable[[], None]) -> None:
        done = threading.Event()
        self._orders.append((action, done))
        self._wake.send(b"\0")
        done.wait()

    def _set_stalled(self, stalled: bool) -> Callable[[], None]:
        def change() -> None:
            self._stalled = stalled
            if not stalled and self._listener.fileno() < 0:
                self._listener = self._listen(self.port)

        return change

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=200)
        self._selector.register(listener, selectors.EVENT_READ)
        return listener

    def _close_port(self) -> None:
        self._selector.unregister(self._listener)
        self._listener.close()
        self._close_pairs()

    def _close_pairs(self) -> None:
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                self._selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]

    def _end(self) -> None:
        self._ended = True
        self._close_pairs()
        self._listener.close()

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select() if not self._stalled else [(None, 0)]:
                if key is None or key.fileobj is self._waker:
                    self._waker.recv(1)
                    action, done = self._orders.pop(0)
                    action()
                    done.set()
                elif self._selector.get_map().get(key.fd) is not key:
                    continue  # closed by what was done just before
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    self._pass_on(key.fileobj, key.data)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        self._selector.register(client, selectors.EVENT_READ, server)
        self._selector.register(server, selectors.EVENT_READ, client)

    def _pass_on(self, source: Any, target: socket.socket) -> None:
        try:
            data = source.recv(65536)
            target.sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (source, target):
                self._selector.unregister(end)
                end.close()


def _container() -> Any:
    """A ZooKeeper container that is not started, or None. An image is never pulled here."""
    engine = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if engine.startswith("unix://") and not Path(engine.removeprefix("unix://")).exists():
        return None
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=3)
        client.images.get(IMAGE)
    except DockerException:
        return None
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.container import DockerContainer

    return DockerContainer(IMAGE).with_exposed_ports(2181)
