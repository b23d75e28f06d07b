"""TCP servers that behave badly, on the loopback address, for tests of what connects to them."""

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

from tests.sshd import Sshd

END_SECONDS = 10.0

Behaviour = Callable[[socket.socket, int], None]


class Peer:
    """A TCP server that does ``behave(connection, number)`` with each connection in a thread; numbers start with 1."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> "Peer":
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for open_socket in (self._listener, *self._connections):
            with contextlib.suppress(OSError):  # Closed by its thread already.
                open_socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(END_SECONDS)
        self._listener.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._start(self._serve, connection, len(self._connections))

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, contextlib.suppress(OSError):
            self._behave(connection, number)


def say_nothing(connection: socket.socket, _number: int) -> None:
    while connection.recv(4096):
        pass


def close_at_once(connection: socket.socket, _number: int) -> None:
    connection.close()


def say(text: bytes) -> Behaviour:
    def behave(connection: socket.socket, _number: int) -> None:
        connection.sendall(text)
        say_nothing(connection, _number)

    return behave


def relay(connection: socket.socket, sshd: Sshd, chunk: int = 4096) -> None:
    """Pass bytes between ``connection`` and ``sshd``, at most ``chunk`` at once towards the scanner."""
    with socket.create_connection((sshd.address, sshd.port)) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            readable, _, _ = select.select([connection, server], [], [])
            source, target, size = (server, connection, chunk) if server in readable else (connection, server, 4096)
            data = source.recv(size)
            if not data:
                break
            target.sendall(data)
    connection.close()


@contextlib.contextmanager
def silent_listener() -> Iterator[int]:
    """The port of a server that the kernel answers for, and that never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield listener.getsockname()[1]
