"""Sends metrics to a statsd server, if the environment names one (spec launcher 5, cli 6).

Whoever has something to tell is never kept waiting and never told of trouble: facts go into a queue, and one thread
finds the server, writes lines and sends them. What does not fit into the queue is dropped, as UDP would.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from statsd import StatsClient

from nodepool.telemetry.facts import (
    BuilderCensus,
    Fact,
    ImageBuilt,
    ImageUploaded,
    LaunchEnded,
    LauncherCensus,
    LeakRemoved,
    QueueSizes,
)
from nodepool.telemetry.statsd_metrics import Kind, samples

log = logging.getLogger("nodepool.telemetry.statsd")

DEFAULT_HOST, DEFAULT_PORT = "localhost", 8125
MOST_WAITING = 10_000
"""Facts that wait for being sent, at most."""
PACKET = 1200
"""Most bytes of a datagram: fits into the packets of every path."""
LOOK_UP_AGAIN = 30.0
"""Seconds until a name is looked up again that could not be resolved."""
END_LIMIT = 1.0
"""Most seconds that the last metrics are waited for at the end."""

_WANTED = (LaunchEnded, LeakRemoved, ImageBuilt, ImageUploaded, LauncherCensus, BuilderCensus, QueueSizes)


@dataclass(frozen=True, slots=True)
class Server:
    """A statsd server."""

    host: str
    port: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Server | None:
        """The server that ``STATSD_HOST`` and ``STATSD_PORT`` name; None if neither is set.

        Raises ValueError for a port that is none.
        """
        host, port = environment.get("STATSD_HOST", ""), environment.get("STATSD_PORT", "")
        if not host and not port:
            return None
        if port and not (port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f"STATSD_PORT: '{port}' is not a port (1 to 65535); correct or unset it")
        return cls(host or DEFAULT_HOST, int(port or DEFAULT_PORT))


class Statsd:
    """See the module's description. ``host`` is the full name of this host, for metrics that have it."""

    def __init__(self, server: Server, host: str) -> None:
        self._server = server
        self._host = host
        self._waiting: queue.SimpleQueue[Fact | None] = queue.SimpleQueue()
        self._client: StatsClient | None = None
        self._look_up_at = 0.0
        self._thread = threading.Thread(target=self._run, name="statsd", daemon=True)

    def start(self) -> None:
        """Begin to send. To be called once, not before the process has forked."""
        self._thread.start()

    def take(self, fact: Fact) -> None:
        """Send what follows from a fact, soon. From any thread; never blocks, never raises."""
        if isinstance(fact, _WANTED) and self._waiting.qsize() < MOST_WAITING:
            self._waiting.put(fact)

    def stop(self) -> None:
        """Send what waits, as far as there is time, and end."""
        self._waiting.put(None)
        if self._thread.ident is not None:
            self._thread.join(END_LIMIT)

    def _run(self) -> None:
        while (fact := self._waiting.get()) is not None:
            try:
                self._send(fact)
            except Exception:  # the last line of defence: metrics must not end with one that cannot be written
                log.exception("A metric could not be sent: %s", type(fact).__name__)

    def _send(self, fact: Fact) -> None:
        client = self._client or self._look_up()
        if client is None:
            return
        with client.pipeline() as lines:
            for sample in samples(fact, self._host):
                match sample.kind:
                    case Kind.GAUGE:
                        lines.gauge(sample.name, sample.value)
                    case Kind.COUNTER:
                        lines.incr(sample.name, sample.value)
                    case Kind.TIMER:
                        lines.timing(sample.name, sample.value)

    def _look_up(self) -> StatsClient | None:
        """A client, once the server's name can be resolved."""
        if time.monotonic() < self._look_up_at:
            return None
        host, port = self._server.host, self._server.port
        try:
            # IPv4 first, as Nodepool 11 has nothing else: many a server listens for nothing else either.
            family, _, _, _, address = sorted(socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM))[0]
            client = StatsClient(address[0], port, maxudpsize=PACKET, ipv6=family == socket.AF_INET6)
        except OSError as error:
            log.warning("The statsd server %s is not found, metrics are dropped: %s", host, error)
            self._look_up_at = time.monotonic() + LOOK_UP_AGAIN
            return None
        log.info("Metrics go to the statsd server %s port %d", host, port)
        self._client = client
        return client
