"""Where a daemon tells what happens to it: Prometheus always; statsd and traces, if the environment names a server.

One per process, made by its service. It must never decide anything, keep anybody waiting, or raise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from nodepool.telemetry.facts import Fact, nowhere
from nodepool.telemetry.prometheus import Prometheus
from nodepool.telemetry.statsd import Server, Statsd

COLLECTORS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Variables of the environment that name a collector of traces."""

log = logging.getLogger("nodepool.telemetry")


class Sink(Protocol):
    """Whom facts are told."""

    def take(self, fact: Fact) -> None:
        """Something has happened. From any thread; never blocks, never raises."""

    def stop(self) -> None:
        """Send what waits, as far as there is time, and end."""


class Metrics:
    """See the module's description. ``daemon`` is ``launcher`` or ``builder``, ``host`` the full name of this host.

    Raises ValueError if the environment's ``STATSD_PORT`` is no port.
    """

    def __init__(self, daemon: str, host: str, version: str, environment: Mapping[str, str]) -> None:
        server = Server.of(environment)
        self.daemon = daemon
        self._prometheus = Prometheus(daemon, version)
        self._statsd = Statsd(server, host) if server is not None else None
        self._wants_traces = any(environment.get(name) for name in COLLECTORS)
        self._about = daemon, host, version
        self._traces: Sink | None = None
        self._listener: Callable[[Fact], None] = nowhere

    @property
    def wants_reporter(self) -> bool:
        """Whether one daemon of its kind is to be elected that tells what all of them see."""
        return self._statsd is not None

    def show_to(self, listener: Callable[[Fact], None]) -> None:
        """Have each fact told to somebody else as well, who must neither block nor raise. To be called at the start."""
        self._listener = listener

    def start(self) -> None:
        """Begin to send. To be called once, not before the process has forked."""
        if self._statsd is not None:
            self._statsd.start()
        if self._wants_traces:
            self._traces = _open_traces(*self._about)

    def stop(self) -> None:
        """Send what waits, as far as there is time, and end."""
        if self._statsd is not None:
            self._statsd.stop()
        if self._traces is not None:
            self._traces.stop()

    def take(self, fact: Fact) -> None:
        """Something has happened. From any thread; never blocks, never raises."""
        self._listener(fact)
        self._prometheus.take(fact)
        if self._statsd is not None:
            self._statsd.take(fact)
        if self._traces is not None:
            self._traces.take(fact)

    def exposition(self) -> tuple[str, bytes]:
        """Content type and body of the answer to a scrape. From any thread; of no cost to any other."""
        return self._prometheus.exposition()


def _open_traces(daemon: str, host: str, version: str) -> Sink | None:
    """Where traces go; None, and a line in the log, if the extra is not installed or the environment makes no sense."""
    try:
        from nodepool.telemetry.traces import Traces
    except ImportError as error:
        log.warning("There are no traces, for a library is missing (%s): pip install 'nodepool[traces]'", error)
        return None
    try:
        traces = Traces(daemon, host, version)
    except ValueError as error:
        log.warning("There are no traces, for a variable OTEL_* cannot be used: %s", error)
        return None
    log.info("Traces go to the collector that the environment names")
    return traces
