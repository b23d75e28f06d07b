"""The metrics that statsd is sent: their names, kinds and meaning, and how they follow from facts. Pure.

Names, kinds and units are those of Nodepool 11 (spec operation 7, launcher 5, builder 8), since dashboards rest on
them. So dots in the names of labels, providers, zones and hosts are left as they are; only what would break a line
of the protocol is replaced. What is infinite is not sent, as most servers cannot read it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from nodepool.model.component import LAUNCHER
from nodepool.model.resources import Amount
from nodepool.model.states import NodeState
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


class Kind(Enum):
    """What statsd makes of values; the value of a member is the protocol's letter."""

    GAUGE = "g"
    COUNTER = "c"
    TIMER = "ms"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one metric; of a timer in milliseconds."""

    name: str
    kind: Kind
    value: Amount


@dataclass(frozen=True, slots=True)
class Metric:
    """A family of metrics. ``name`` has the varying parts in braces."""

    name: str
    kinds: tuple[Kind, ...]
    meaning: str

    def named(self, **parts: str) -> str:
        """The name of one of the family."""
        return self.name.format_map({part: _DISTURBING.sub("_", value) for part, value in parts.items()})


_DISTURBING = re.compile(r"[^!-9;-{}~]|@")
"""All that is not printable ASCII, blanks, and the separators of the protocol (``:``, ``|``, ``@``)."""

_G, _C, _CT = (Kind.GAUGE,), (Kind.COUNTER,), (Kind.COUNTER, Kind.TIMER)

NODES = Metric("nodepool.nodes.{state}", _G, "Nodes in this state; each state is told, also with 0.")
LABEL_NODES = Metric(
    "nodepool.label.{label}.nodes.{state}",
    _G,
    "The same for each label that a pool has; a node counts for each of its labels.",
)
PROVIDER_NODES = Metric("nodepool.provider.{provider}.nodes.{state}", _G, "The same for each provider that has pools.")
ADDRESSABLE = Metric(
    "nodepool.provider.{provider}.pool.{pool}.addressable_requests",
    _G,
    "Requests, in any state, of which the pool has all labels.",
)
MAX_SERVERS = Metric(
    "nodepool.provider.{provider}.max_servers",
    _G,
    "Sum of ``max-servers`` over the pools; not sent if one has no limit.",
)
TENANT_LIMITS = Metric("nodepool.tenant_limits.{tenant}.{limit}", _G, "What ``tenant-resource-limits`` says.")
LAUNCH = Metric(
    "nodepool.launch.{result}", _CT, "Attempts to launch that ended so, and the time since the first began."
)
LAUNCH_PROVIDER = Metric("nodepool.launch.provider.{provider}.{result}", _CT, "The same for each provider.")
LAUNCH_ZONE = Metric("nodepool.launch.provider.{provider}.{zone}.{result}", _CT, "The same for each zone, if known.")
LAUNCH_REQUESTOR = Metric(
    "nodepool.launch.requestor.{requestor}.{result}", _CT, "The same for each requestor, if known."
)
LAUNCH_IMAGE = Metric("nodepool.launch.image.{image}.{result}", _CT, "The same for each disk image or cloud image.")
LEAKED = Metric("nodepool.provider.{provider}.leaked.{kind}", _C, "Resources without owner that were removed.")
CONNECTION_QUEUE = Metric(
    "nodepool.launcher.{host}.zk.client.connection_queue", _G, "Calls that ZooKeeper has not answered yet."
)
EVENT_QUEUE = Metric(
    "nodepool.launcher.{host}.zk.{cache}_cache.event_queue",
    _G,
    "Events that wait for the decision thread: one queue for all caches (``node``, ``request``, ``image``).",
)
PLAYBACK_QUEUE = Metric(
    "nodepool.launcher.{host}.zk.{cache}_cache.playback_queue", _G, "Always 0: nothing is played back in this release."
)
BUILD_SIZE = Metric("nodepool.dib_image_build.{image}.{format}.size", _G, "Bytes that a built file takes on the disk.")
BUILD_RC = Metric("nodepool.dib_image_build.{image}.status.rc", _G, "Exit status of each build; 1 after a time-out.")
BUILD_DURATION = Metric("nodepool.dib_image_build.{image}.status.duration", (Kind.TIMER,), "Duration of each build.")
LAST_BUILD = Metric("nodepool.dib_image_build.{image}.status.last_build", _G, "End of each build, in epoch seconds.")
IMAGE_UPDATE = Metric("nodepool.image_update.{image}.{provider}", _CT, "Uploads that succeeded, the hook included.")
ALL_BUILD_REQUESTS = Metric("nodepool.image_build_requests", _G, "Images of which a build was asked for by hand.")
BUILD_REQUESTS = Metric(
    "nodepool.image.{image}.image_build_requests", _G, "1 if a build was asked for by hand, else 0."
)
BUILD_STATE = Metric("nodepool.builder.{host}.image.{image}.build.state", _G, "0 idle, 1 building, 3 paused.")
UPLOAD_STATE = Metric(
    "nodepool.builder.{host}.image.{image}.provider.{provider}.upload.state", _G, "0 idle, 2 uploading, 3 paused."
)
CURRENT_BUILDS = Metric("nodepool.builder.{host}.current_builds", _G, "Builds that run.")
CURRENT_UPLOADS = Metric("nodepool.builder.{host}.current_uploads", _G, "Uploads that run.")
BUILD_WORKERS = Metric("nodepool.builder.{host}.build_workers", _G, "What ``--build-workers`` says.")
UPLOAD_WORKERS = Metric("nodepool.builder.{host}.upload_workers", _G, "What ``--upload-workers`` says.")

METRICS = tuple(metric for metric in globals().values() if isinstance(metric, Metric))
"""All families, in the order of this file."""

_CACHES = ("node", "request", "image")


def samples(fact: Fact, host: str) -> Iterator[Sample]:
    """What a fact means for statsd; ``host`` is the full name of this host."""
    match fact:
        case LaunchEnded():
            yield from _launch(fact)
        case LeakRemoved():
            yield Sample(LEAKED.named(provider=fact.provider, kind=fact.kind), Kind.COUNTER, 1)
        case ImageBuilt():
            yield from _build(fact)
        case ImageUploaded():
            if fact.ok:
                yield from _timed(IMAGE_UPDATE.named(image=fact.image, provider=fact.provider), fact.seconds)
        case LauncherCensus():
            yield from _limits(fact)
            if fact.elected:
                yield from _nodes(fact)
        case BuilderCensus():
            yield from _images(fact, host)
        case QueueSizes():
            if fact.daemon == LAUNCHER:
                yield from _queues(fact, host)
        case _:
            return


def _queues(sizes: QueueSizes, host: str) -> Iterator[Sample]:
    yield _gauge(CONNECTION_QUEUE.named(host=host), sizes.zookeeper)
    for cache in _CACHES:
        yield _gauge(EVENT_QUEUE.named(host=host, cache=cache), sizes.events)
        yield _gauge(PLAYBACK_QUEUE.named(host=host, cache=cache), 0)


def _gauge(name: str, value: Amount) -> Sample:
    return Sample(name, Kind.GAUGE, value)


def _timed(name: str, seconds: float) -> Iterator[Sample]:
    """Something that is counted and timed."""
    yield Sample(name, Kind.TIMER, seconds * 1000)
    yield Sample(name, Kind.COUNTER, 1)


def _one_level(name: str) -> str:
    """A name that stays one level of the hierarchy, as Nodepool 11 has it for requestors and tenants."""
    return name.replace(".", "_").replace(":", "_")


def _launch(fact: LaunchEnded) -> Iterator[Sample]:
    yield from _timed(LAUNCH.named(result=fact.result), fact.seconds)
    yield from _timed(LAUNCH_PROVIDER.named(provider=fact.provider, result=fact.result), fact.seconds)
    if fact.zone:
        name = LAUNCH_ZONE.named(provider=fact.provider, zone=fact.zone, result=fact.result)
        yield from _timed(name, fact.seconds)
    if fact.image:
        yield from _timed(LAUNCH_IMAGE.named(image=fact.image, result=fact.result), fact.seconds)
    if fact.requestor:
        name = LAUNCH_REQUESTOR.named(requestor=_one_level(fact.requestor), result=fact.result)
        yield from _timed(name, fact.seconds)


def _build(fact: ImageBuilt) -> Iterator[Sample]:
    for image_format, size in sorted(fact.sizes.items()):
        yield _gauge(BUILD_SIZE.named(image=fact.image, format=image_format), size)
    yield _gauge(BUILD_RC.named(image=fact.image), fact.return_code)
    yield Sample(BUILD_DURATION.named(image=fact.image), Kind.TIMER, fact.seconds * 1000)
    yield _gauge(LAST_BUILD.named(image=fact.image), int(fact.ended))


def _limits(census: LauncherCensus) -> Iterator[Sample]:
    for provider, most in census.max_servers.items():
        if math.isfinite(most):
            yield _gauge(MAX_SERVERS.named(provider=provider), most)
    for tenant, limits in census.tenant_limits.items():
        for name, limit in limits.items():
            yield _gauge(TENANT_LIMITS.named(tenant=_one_level(tenant), limit=_one_level(name)), limit)


def _nodes(census: LauncherCensus) -> Iterator[Sample]:
    everything, of_labels, of_providers = count_nodes(census)
    for state in NodeState:
        yield _gauge(NODES.named(state=state), everything[state])
    for label in census.labels:
        for state in NodeState:
            yield _gauge(LABEL_NODES.named(label=label, state=state), of_labels[label, state])
    for provider in census.providers:
        for state in NodeState:
            yield _gauge(PROVIDER_NODES.named(provider=provider, state=state), of_providers[provider, state])
    for (provider, pool), count in census.addressable.items():
        yield _gauge(ADDRESSABLE.named(provider=provider, pool=pool), count)


def count_nodes(
    census: LauncherCensus,
) -> tuple[Mapping[str, int], Mapping[tuple[str, str], int], Mapping[tuple[str, str], int]]:
    """Nodes by state, by label and state, by provider and state; what is absent counts 0."""
    everything: Counter[str] = Counter()
    of_labels: Counter[tuple[str, str]] = Counter()
    of_providers: Counter[tuple[str, str]] = Counter()
    for (provider, labels, state), count in census.nodes.items():
        everything[state] += count
        of_providers[provider or "", state] += count
        for label in labels:
            of_labels[label, state] += count
    return everything, of_labels, of_providers


def _images(census: BuilderCensus, host: str) -> Iterator[Sample]:
    yield _gauge(ALL_BUILD_REQUESTS.named(), sum(census.build_requests.values()))
    for image, asked in census.build_requests.items():
        yield _gauge(BUILD_REQUESTS.named(image=image), int(asked))
    for image, activity in census.builds.items():
        yield _gauge(BUILD_STATE.named(host=host, image=image), activity.value)
    for (image, provider), activity in census.uploads.items():
        yield _gauge(UPLOAD_STATE.named(host=host, image=image, provider=provider), activity.value)
    yield _gauge(CURRENT_BUILDS.named(host=host), census.current_builds)
    yield _gauge(CURRENT_UPLOADS.named(host=host), census.current_uploads)
    yield _gauge(BUILD_WORKERS.named(host=host), census.build_workers)
    yield _gauge(UPLOAD_WORKERS.named(host=host), census.upload_workers)
