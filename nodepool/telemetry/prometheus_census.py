"""What a daemon sees at one moment, as families of Prometheus' gauges.

Without a census there are the families, and no values.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily

from nodepool.model.resources import Amount
from nodepool.model.states import NodeState
from nodepool.telemetry.facts import BuilderCensus, LauncherCensus, Use
from nodepool.telemetry.statsd_metrics import count_nodes


def launcher_families(census: LauncherCensus | None) -> Iterator[GaugeMetricFamily]:
    """Of a launcher: nodes and requests of the whole system, and its own providers."""
    yield from _nodes(census)
    requests = GaugeMetricFamily(
        "nodepool_requests",
        "Requests by state and, for those that wait, by reason.",
        labels=["state", "reason"],
    )
    answering = GaugeMetricFamily("nodepool_provider_up", "1 if the provider answers, else 0.", labels=["provider"])
    servers = GaugeMetricFamily(
        "nodepool_provider_max_servers",
        "Sum of max-servers over the pools; absent if one has no limit.",
        labels=["provider"],
    )
    addressable = GaugeMetricFamily(
        "nodepool_pool_addressable_requests",
        "Requests, in any state, of which the pool has all labels.",
        labels=["provider", "pool"],
    )
    oldest = GaugeMetricFamily(
        "nodepool_oldest_request_seconds",
        "Age of the oldest request that is neither fulfilled nor failed; 0 without one.",
    )
    elected = GaugeMetricFamily("nodepool_reporter", "1 if this launcher tells statsd of all nodes, else 0.")
    if census is not None:
        for (state, reason), count in census.requests.items():
            requests.add_metric([state, reason], count)
        for provider, answers in census.answering.items():
            answering.add_metric([provider], answers)
        for provider, most in census.max_servers.items():
            servers.add_metric([provider], most)
        for pool, count in census.addressable.items():
            addressable.add_metric(pool, count)
        oldest.add_metric([], census.oldest_request)
        elected.add_metric([], census.elected)
    yield from (requests, oldest, answering, servers, addressable, elected)
    yield from _use(census)


def _nodes(census: LauncherCensus | None) -> Iterator[GaugeMetricFamily]:
    nodes = GaugeMetricFamily("nodepool_nodes", "Nodes by state.", labels=["state"])
    of_label = GaugeMetricFamily(
        "nodepool_nodes_by_label",
        "Nodes by label and state; a node counts for each of its labels.",
        labels=["label", "state"],
    )
    of_provider = GaugeMetricFamily(
        "nodepool_nodes_by_provider", "Nodes by provider and state.", labels=["provider", "state"]
    )
    if census is not None:
        everything, of_labels, of_providers = count_nodes(census)
        for state in NodeState:
            nodes.add_metric([state], everything[state])
            for label in census.labels:
                of_label.add_metric([label, state], of_labels[label, state])
            for provider in census.providers:
                of_provider.add_metric([provider, state], of_providers[provider, state])
    yield from (nodes, of_label, of_provider)


def _use(census: LauncherCensus | None) -> Iterator[GaugeMetricFamily]:
    labels = ["provider", "pool", "resource"]
    limit = GaugeMetricFamily(
        "nodepool_quota_limit",
        "How much of a resource there may be; pool is empty for the provider as a whole, ram is in MiB.",
        labels=labels,
    )
    used = GaugeMetricFamily("nodepool_quota_used", "How much of it nodes use.", labels=labels)
    others = GaugeMetricFamily(
        "nodepool_quota_used_by_others", "How much of a provider others use who share its project.", labels=labels
    )
    for use in census.use if census is not None else ():
        _add(used, use, use.ours)
        if use.limit is not None:
            _add(limit, use, use.limit)
        if not use.pool:
            _add(others, use, use.others)
    yield from (limit, used, others)


def _add(family: GaugeMetricFamily, use: Use, amount: Amount) -> None:
    family.add_metric([use.provider, use.pool, use.resource], amount)


def builder_families(census: BuilderCensus | None) -> Iterator[GaugeMetricFamily]:
    """Of a builder: its images and workers."""
    asked = GaugeMetricFamily(
        "nodepool_image_build_requested", "1 if a build was asked for by hand, else 0.", labels=["image"]
    )
    build = GaugeMetricFamily(
        "nodepool_image_build_state", "What this builder does: 0 nothing, 1 build, 3 paused.", labels=["image"]
    )
    upload = GaugeMetricFamily(
        "nodepool_image_upload_state",
        "What this builder does: 0 nothing, 2 upload, 3 paused.",
        labels=["image", "provider"],
    )
    busy = GaugeMetricFamily("nodepool_builder_busy", "Builds and uploads that run.", labels=["kind"])
    workers = GaugeMetricFamily("nodepool_builder_workers", "Builds and uploads that may run at once.", labels=["kind"])
    if census is not None:
        for image, wanted in census.build_requests.items():
            asked.add_metric([image], wanted)
        for image, activity in census.builds.items():
            build.add_metric([image], activity)
        for place, activity in census.uploads.items():
            upload.add_metric(place, activity)
        busy.add_metric(["build"], census.current_builds)
        busy.add_metric(["upload"], census.current_uploads)
        workers.add_metric(["build"], census.build_workers)
        workers.add_metric(["upload"], census.upload_workers)
    yield from (asked, build, upload, busy, workers)
