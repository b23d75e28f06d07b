"""The metrics of one daemon for Prometheus: what has happened since it started, and what it sees now.

Each daemon has a registry of its own, so that several can live in one process. What is seen at one moment is kept as
the last census and written out only when somebody asks, so that what is gone from Nodepool is gone from the answer.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector

from nodepool.telemetry.facts import (
    BuilderCensus,
    CallEnded,
    Decided,
    Fact,
    ImageBuilt,
    ImageUploaded,
    LaunchEnded,
    LauncherCensus,
    LeakRemoved,
    QueueSizes,
    RequestDeclined,
    RequestFulfilled,
    SessionHeld,
)
from nodepool.telemetry.prometheus_census import builder_families, launcher_families

_MACHINES = (1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 900, 1800)
_REQUESTS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, *_MACHINES, 3600, 7200)
_CALLS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 90)
_DECISIONS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_IMAGES = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
"""Upper bounds of the histograms' buckets, in seconds."""


class Prometheus:
    """See the module's description. Any thread may call."""

    def __init__(self, daemon: str, version: str) -> None:
        """``daemon`` is ``launcher`` or ``builder``."""
        # A time of creation beside each counter would double the answer and tells nothing that anybody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        info = Gauge("nodepool_info", "1; which daemon this is.", ["daemon", "version"], registry=self.registry)
        info.labels(daemon, version).set(1)
        self._process = _ProcessMetrics(self.registry)
        self._launcher = _LauncherMetrics(self.registry) if daemon == "launcher" else None
        self._builder = _BuilderMetrics(self.registry) if daemon == "builder" else None

    def take(self, fact: Fact) -> None:
        """Take account of a fact; does not block."""
        self._process.take(fact)
        if self._launcher is not None:
            self._launcher.take(fact)
        if self._builder is not None:
            self._builder.take(fact)

    def exposition(self) -> tuple[str, bytes]:
        """Content type and body of the answer to a scrape, in Prometheus' text format."""
        return CONTENT_TYPE_LATEST, generate_latest(self.registry)


class _ProcessMetrics:
    """What every daemon has."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._connected = Gauge(
            "nodepool_zookeeper_connected", "1 if there is a connection to ZooKeeper, else 0.", registry=registry
        )
        self._sessions = Counter("nodepool_zookeeper_sessions", "Sessions with ZooKeeper.", registry=registry)
        self._pending = Gauge(
            "nodepool_zookeeper_pending_calls", "Calls that ZooKeeper has not answered yet.", registry=registry
        )
        self._events = Gauge("nodepool_waiting_events", "Events that wait for the decision thread.", registry=registry)
        self._lag = Histogram(
            "nodepool_event_lag_seconds",
            "How long an event waits for the decision thread; one is sent every few seconds to find out.",
            buckets=_DECISIONS,
            registry=registry,
        )
        self._decision = Histogram(
            "nodepool_decision_seconds",
            "Duration of one pass of the decision thread.",
            buckets=_DECISIONS,
            registry=registry,
        )
        self._session = 0

    def take(self, fact: Fact) -> None:
        match fact:
            case Decided(seconds):
                self._decision.observe(seconds)
            case LauncherCensus() | BuilderCensus():
                self._lag.observe(fact.lag)
            case QueueSizes():
                self._pending.set(fact.zookeeper)
                self._events.set(fact.events)
            case SessionHeld(connected, session):
                self._connected.set(connected)
                if session and session != self._session:
                    self._session = session
                    self._sessions.inc()


class _LauncherMetrics:
    """What launchers have."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._census: LauncherCensus | None = None
        registry.register(self)
        self._fulfilled = Histogram(
            "nodepool_request_fulfilled_seconds",
            "From the creation of a request until it is fulfilled.",
            buckets=_REQUESTS,
            registry=registry,
        )
        self._declined = Counter(
            "nodepool_request_declines",
            "Requests that a pool of this launcher declined.",
            ["provider", "reason"],
            registry=registry,
        )
        self._launches = Counter(
            "nodepool_launches",
            "Attempts to launch a node that ended so: ready, or error and a reason.",
            ["provider", "pool", "label", "result"],
            registry=registry,
        )
        self._launch_seconds = Histogram(
            "nodepool_launch_seconds",
            "From the start of the first attempt to launch a node until one ended.",
            ["provider", "result"],
            buckets=_MACHINES,
            registry=registry,
        )
        self._leaks = Counter(
            "nodepool_leaks_removed",
            "Resources in clouds that belonged to nobody and were removed.",
            ["provider", "kind"],
            registry=registry,
        )
        self._calls = Counter(
            "nodepool_provider_calls",
            "Calls of a provider that ended so.",
            ["provider", "operation", "outcome"],
            registry=registry,
        )
        self._call_seconds = Histogram(
            "nodepool_provider_call_seconds",
            "Duration of calls of a provider.",
            ["provider", "operation"],
            buckets=_CALLS,
            registry=registry,
        )

    def collect(self) -> Iterator[Metric]:
        """What the last census says."""
        return launcher_families(self._census)

    def take(self, fact: Fact) -> None:
        match fact:
            case LauncherCensus():
                self._census = fact
            case SessionHeld(connected=False):
                # What was seen before says nothing any more.
                self._census = None
            case CallEnded(provider, operation, outcome, seconds):
                self._calls.labels(provider, operation, outcome).inc()
                self._call_seconds.labels(provider, operation).observe(seconds)
            case LaunchEnded():
                self._launches.labels(fact.provider, fact.pool, fact.label, fact.result).inc()
                self._launch_seconds.labels(fact.provider, fact.result).observe(fact.seconds)
            case RequestFulfilled(seconds):
                self._fulfilled.observe(seconds)
            case RequestDeclined(provider, reason):
                self._declined.labels(provider, reason).inc()
            case LeakRemoved(provider, kind):
                self._leaks.labels(provider, kind).inc()


class _BuilderMetrics:
    """What builders have."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._census: BuilderCensus | None = None
        registry.register(self)
        self._builds = Counter(
            "nodepool_image_builds", "Builds that ended so: ok or failed.", ["image", "outcome"], registry=registry
        )
        self._build_seconds = Histogram(
            "nodepool_image_build_seconds", "Duration of builds.", ["image"], buckets=_IMAGES, registry=registry
        )
        self._built = Gauge(
            "nodepool_image_last_build_timestamp_seconds",
            "End of the last build by this process that succeeded, in epoch seconds.",
            ["image"],
            registry=registry,
        )
        self._size = Gauge(
            "nodepool_image_size_bytes", "What a built file takes on the disk.", ["image", "format"], registry=registry
        )
        self._uploads = Counter(
            "nodepool_image_uploads",
            "Uploads that ended so: ok or failed.",
            ["image", "provider", "outcome"],
            registry=registry,
        )
        self._upload_seconds = Histogram(
            "nodepool_image_upload_seconds",
            "Duration of uploads, the hook included.",
            ["image", "provider"],
            buckets=_IMAGES,
            registry=registry,
        )

    def collect(self) -> Iterator[Metric]:
        """What the last census says."""
        return builder_families(self._census)

    def take(self, fact: Fact) -> None:
        match fact:
            case BuilderCensus():
                self._census = fact
            case SessionHeld(connected=False):
                self._census = None
            case ImageBuilt():
                self._take_build(fact)
            case ImageUploaded():
                self._uploads.labels(fact.image, fact.provider, _outcome(fact.ok)).inc()
                self._upload_seconds.labels(fact.image, fact.provider).observe(fact.seconds)

    def _take_build(self, build: ImageBuilt) -> None:
        self._builds.labels(build.image, _outcome(build.ok)).inc()
        self._build_seconds.labels(build.image).observe(build.seconds)
        if build.ok:
            self._built.labels(build.image).set(build.ended)
        for image_format, size in build.sizes.items():
            self._size.labels(build.image, image_format).set(size)


def _outcome(ok: bool) -> str:
    return "ok" if ok else "failed"
