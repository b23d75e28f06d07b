"""The mapping for statsd_exporter, read as that reads it: the first entry counts whose pattern and type fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from nodepool.telemetry.statsd_metrics import Kind, Sample, samples
from tests.unit.telemetry.specimens import SPECIMENS

FILE = Path(__file__).resolve().parents[3] / "etc/prometheus/statsd-mapping.yaml"
MAPPINGS: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["mappings"]
TYPES = {Kind.GAUGE: "gauge", Kind.COUNTER: "counter", Kind.TIMER: "observer"}
SENT = [
    *(sample for fact in SPECIMENS for sample in samples(fact, "nl01")),
    Sample("nodepool.task.west.compute.GET.servers.200", Kind.COUNTER, 1),
    Sample("nodepool.task.west.compute.GET.servers.200", Kind.TIMER, 1),
]


def mapped(sample: Sample) -> tuple[dict[str, Any], dict[str, str]]:
    """The entry for a metric, and the labels that it gets."""
    for entry in MAPPINGS:
        found = re.search(entry["match"], sample.name)
        if found and entry.get("match_metric_type", TYPES[sample.kind]) == TYPES[sample.kind]:
            return entry, {label: found[int(part[1:])] for label, part in entry.get("labels", {}).items()}
    raise AssertionError(f"{sample} fits no entry, and should be dropped at least")


def test_each_entry_is_for_something_that_is_sent() -> None:
    assert {entry["name"] for entry, _ in map(mapped, SENT)} == {entry["name"] for entry in MAPPINGS}


@pytest.mark.parametrize(
    ("sent", "kind", "name", "labels"),
    [
        ("nodepool.nodes.in-use", Kind.GAUGE, "nodepool_nodes", {"state": "in-use"}),
        (
            "nodepool.label.ubuntu-22.04.nodes.ready",
            Kind.GAUGE,
            "nodepool_nodes_by_label",
            {"label": "ubuntu-22.04", "state": "ready"},
        ),
        ("nodepool.launch.error.quota", Kind.COUNTER, "nodepool_launch", {"result": "error.quota"}),
        (
            "nodepool.launch.provider.west.error.status",
            Kind.TIMER,
            "nodepool_launch_by_provider_timer",
            {"provider": "west", "result": "error.status"},
        ),
        (
            "nodepool.launch.provider.west.az1.error.status",
            Kind.COUNTER,
            "nodepool_launch_by_provider_az",
            {"provider": "west", "az": "az1", "result": "error.status"},
        ),
        (
            "nodepool.dib_image_build.jammy.qcow2.size",
            Kind.GAUGE,
            "nodepool_dib_image_build_size",
            {"image": "jammy", "ext": "qcow2"},
        ),
        ("nodepool.launcher.nl01.zk.client.connection_queue", Kind.GAUGE, "dropped", {}),
    ],
)
def test_metrics_become_those_of_the_mapping_of_nodepool_11(
    sent: str, kind: Kind, name: str, labels: dict[str, str]
) -> None:
    entry, given = mapped(Sample(sent, kind, 1))
    assert (entry["name"], given) == (name, labels)


def test_launches_are_timed_in_seconds_from_20_to_900() -> None:
    """statsd_exporter makes seconds of milliseconds."""
    timers = [entry for entry in MAPPINGS if entry["name"].startswith("nodepool_launch") and "timer" in entry["name"]]
    for entry in timers:
        buckets = entry["histogram_options"]["buckets"]
        assert (buckets[0], buckets[-1], sorted(buckets)) == (20, 900, buckets)
