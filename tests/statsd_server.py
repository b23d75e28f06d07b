"""A statsd server that remembers what it was sent: a real UDP socket on the loopback."""

from __future__ import annotations

import socket
import threading
from types import TracebackType


class StatsdServer:
    """A context manager. ``environment`` makes daemons send here."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.environment = {"STATSD_HOST": "127.0.0.1", "STATSD_PORT": str(self.port)}
        self.packets: list[bytes] = []
        self._samples: dict[tuple[str, str], list[float]] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._receive, name="statsd-server", daemon=True)

    def __enter__(self) -> StatsdServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A packet wakes the thread; closing the socket alone does not.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def values(self, name: str, kind: str) -> list[float]:
        """All values of one metric, in the order in which they came; ``kind`` is ``g``, ``c`` or ``ms``."""
        with self._lock:
            return list(self._samples.get((name, kind), ()))

    def last(self, name: str) -> float | None:
        """The last value of a gauge."""
        return next(iter(self.values(name, "g")[-1:]), None)

    def sent(self) -> set[tuple[str, str]]:
        """Name and kind of every metric that came."""
        with self._lock:
            return set(self._samples)

    def _receive(self) -> None:
        while packet := self._socket.recv(65536):
            with self._lock:
                self.packets.append(packet)
                for line in packet.decode("ascii").splitlines():
                    name, _, rest = line.partition(":")
                    value, _, kind = rest.partition("|")
                    self._samples.setdefault((name, kind), []).append(float(value))
