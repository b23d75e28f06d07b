"""What facts mean for statsd: names, kinds and units as Nodepool 11 has them (spec operation 7, builder 8)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from nodepool.telemetry.facts import BuilderCensus, Fact, LaunchEnded, LauncherCensus, QueueSizes
from nodepool.telemetry.statsd import Server
from nodepool.telemetry.statsd_metrics import METRICS, Kind, Metric, samples
from tests.unit.telemetry.specimens import BUILD, BUILDER, LAUNCH, LAUNCHER, SPECIMENS

HOST = "nl01.example.org"


def sent(*facts: Fact) -> dict[tuple[str, str], float]:
    """Name and kind to the value, which comes once."""
    found = [sample for fact in facts for sample in samples(fact, HOST)]
    values = {(sample.name, sample.kind.value): sample.value for sample in found}
    assert len(values) == len(found)
    return values


def matches(metric: Metric, name: str) -> bool:
    return re.fullmatch(re.sub(r"\\\{\w+\\\}", ".+", re.escape(metric.name)), name) is not None


def test_all_that_is_sent_is_declared_and_all_that_is_declared_is_sent() -> None:
    found = [sample for fact in SPECIMENS for sample in samples(fact, HOST)]
    for sample in found:
        assert any(sample.kind in metric.kinds and matches(metric, sample.name) for metric in METRICS), sample
    for metric in METRICS:
        kinds = {sample.kind for sample in found if matches(metric, sample.name)}
        assert set(metric.kinds) <= kinds, metric


def test_a_launch_is_counted_and_timed_in_milliseconds_under_five_names() -> None:
    names = ("", ".provider.west", ".provider.west.az1", ".requestor.NodePool_min-ready", ".image.debian")
    expected = {(f"nodepool.launch{name}.ready", "c"): 1.0 for name in names}
    expected |= {(f"nodepool.launch{name}.ready", "ms"): 12500.0 for name in names}
    assert sent(LAUNCH) == expected


def test_what_is_not_known_of_a_launch_is_left_out() -> None:
    launch = LaunchEnded("west", "main", "small", None, None, None, "error.quota", 1.0)
    assert {name for name, _ in sent(launch)} == {
        "nodepool.launch.error.quota",
        "nodepool.launch.provider.west.error.quota",
    }


def test_each_state_of_nodes_is_told_also_with_none() -> None:
    values = sent(LAUNCHER)
    states = [name for name, _ in values if name.startswith("nodepool.nodes.")]
    assert len(states) == 11
    assert values["nodepool.nodes.ready", "g"] == 2
    assert values["nodepool.nodes.failed", "g"] == 1
    assert values["nodepool.nodes.hold", "g"] == 0


def test_a_node_counts_for_each_of_its_labels() -> None:
    values = sent(LAUNCHER)
    assert values["nodepool.label.small.nodes.ready", "g"] == 2
    assert values["nodepool.label.tiny.nodes.ready", "g"] == 2
    assert values["nodepool.label.tiny.nodes.in-use", "g"] == 0
    assert values["nodepool.provider.west.nodes.in-use", "g"] == 3
    assert values["nodepool.provider.east.nodes.in-use", "g"] == 0


def test_who_is_not_elected_tells_only_of_its_own_configuration() -> None:
    assert sent(replace(LAUNCHER, elected=False)) == {
        ("nodepool.provider.west.max_servers", "g"): 10,
        ("nodepool.tenant_limits.acme_example_ci.ram", "g"): 1024,
    }


def test_what_is_infinite_is_not_sent() -> None:
    census: LauncherCensus = replace(LAUNCHER, elected=False, tenant_limits={}, max_servers={"west": float("inf")})
    assert sent(census) == {}


def test_a_build_tells_its_sizes_and_how_it_ended() -> None:
    assert sent(BUILD) == {
        ("nodepool.dib_image_build.jammy.qcow2.size", "g"): 65536,
        ("nodepool.dib_image_build.jammy.raw.size", "g"): 131072,
        ("nodepool.dib_image_build.jammy.status.rc", "g"): 0,
        ("nodepool.dib_image_build.jammy.status.duration", "ms"): 61000.0,
        ("nodepool.dib_image_build.jammy.status.last_build", "g"): 1700000000,
    }


def test_a_builder_tells_what_it_does_with_each_image() -> None:
    values = sent(BUILDER)
    here = f"nodepool.builder.{HOST}"
    assert values["nodepool.image_build_requests", "g"] == 1
    assert values["nodepool.image.noble.image_build_requests", "g"] == 0
    assert values[f"{here}.image.jammy.build.state", "g"] == 1
    assert values[f"{here}.image.noble.build.state", "g"] == 3
    assert values[f"{here}.image.jammy.provider.west.upload.state", "g"] == 2
    assert values[f"{here}.image.noble.provider.west.upload.state", "g"] == 0
    assert values[f"{here}.build_workers", "g"] == 2


def test_queues_are_told_by_launchers_only() -> None:
    assert sent(QueueSizes("builder", 3, 1)) == {}
    assert len(sent(QueueSizes("launcher", 3, 1))) == 7


@pytest.mark.parametrize("bad", ["a:b", "a|b", "a@b", "a b", "a\nb", "a\u00e4b"])
def test_no_name_breaks_a_line(bad: str) -> None:
    """Dots stay, as Nodepool 11 leaves them: dashboards rest on them."""
    census: BuilderCensus = replace(BUILDER, build_requests={bad: True}, builds={}, uploads={})
    assert sent(census)["nodepool.image.a_b.image_build_requests", "g"] == 1
    assert Metric("x.{label}", (Kind.GAUGE,), "").named(label="ubuntu-22.04") == "x.ubuntu-22.04"


def test_statsd_is_off_unless_the_environment_names_it() -> None:
    assert Server.of({}) is None
    assert Server.of({"STATSD_HOST": "", "STATSD_PORT": ""}) is None
    assert Server.of({"STATSD_HOST": "metrics"}) == Server("metrics", 8125)
    assert Server.of({"STATSD_PORT": "9125"}) == Server("localhost", 9125)


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1", "81 25"])
def test_a_port_that_is_none_is_an_error(port: str) -> None:
    with pytest.raises(ValueError, match="STATSD_PORT"):
        Server.of({"STATSD_PORT": port})
