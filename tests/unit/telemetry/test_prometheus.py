"""What facts mean for Prometheus, read back by its own parser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nodepool.telemetry.facts import Fact, SessionHeld
from nodepool.telemetry.prometheus import Prometheus
from tests.unit.telemetry.specimens import BUILDER, LAUNCHER, SPECIMENS


def read(daemon: str, *facts: Fact) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Sample names and labels to values, after these facts."""
    metrics = Prometheus(daemon, "12.0")
    for fact in facts:
        metrics.take(fact)
    content_type, body = metrics.exposition()
    assert content_type.startswith("text/plain; version=")
    families = list(text_string_to_metric_families(body.decode()))
    assert len({family.name for family in families}) == len(families)
    assert all(family.documentation for family in families)
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def at(values: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float | None:
    return values.get((name, frozenset(labels.items())))


def test_a_launcher_tells_of_nodes_requests_and_quota() -> None:
    values = read("launcher", LAUNCHER)
    assert at(values, "nodepool_info", daemon="launcher", version="12.0") == 1
    assert at(values, "nodepool_nodes", state="ready") == 2
    assert at(values, "nodepool_nodes_by_label", label="tiny", state="in-use") == 0
    assert at(values, "nodepool_nodes_by_provider", provider="west", state="in-use") == 3
    assert at(values, "nodepool_requests", state="requested", reason="at_pool_limit") == 4
    assert at(values, "nodepool_requests", state="pending", reason="") == 1
    assert at(values, "nodepool_oldest_request_seconds") == 90
    west = {"provider": "west", "pool": "", "resource": "cores"}
    assert at(values, "nodepool_quota_used", **west) == 8
    assert at(values, "nodepool_quota_used_by_others", **west) == 2
    assert at(values, "nodepool_quota_limit", **west) == 40
    assert at(values, "nodepool_quota_limit", provider="west", pool="main", resource="instances") is None
    assert at(values, "nodepool_provider_up", provider="east") == 0
    assert at(values, "nodepool_event_lag_seconds_count") == 1


def test_a_launcher_counts_what_happens() -> None:
    values = read("launcher", *SPECIMENS, *SPECIMENS)
    assert at(values, "nodepool_launches_total", provider="west", pool="main", label="small", result="ready") == 2
    assert at(values, "nodepool_launch_seconds_sum", provider="west", result="ready") == 25
    assert at(values, "nodepool_request_fulfilled_seconds_count") == 2
    assert at(values, "nodepool_request_declines_total", provider="west", reason="over_quota") == 2
    assert at(values, "nodepool_leaks_removed_total", provider="west", kind="ports") == 2
    call = {"provider": "west", "operation": "create"}
    assert at(values, "nodepool_provider_calls_total", **call, outcome="quota-exceeded") == 2
    assert at(values, "nodepool_provider_call_seconds_count", **call) == 2
    assert at(values, "nodepool_decision_seconds_count") == 2
    assert at(values, "nodepool_zookeeper_connected") == 1
    assert at(values, "nodepool_zookeeper_sessions_total") == 1
    assert at(values, "nodepool_zookeeper_pending_calls") == 3
    assert not [name for name, _ in values if name.startswith("nodepool_image")]


def test_a_builder_tells_of_images_and_nothing_of_nodes() -> None:
    values = read("builder", *SPECIMENS)
    assert at(values, "nodepool_image_builds_total", image="jammy", outcome="ok") == 1
    assert at(values, "nodepool_image_build_seconds_sum", image="jammy") == 61
    assert at(values, "nodepool_image_last_build_timestamp_seconds", image="jammy") == 1700000000.5
    assert at(values, "nodepool_image_size_bytes", image="jammy", format="raw") == 131072
    for outcome in ("ok", "failed"):
        assert at(values, "nodepool_image_uploads_total", image="jammy", provider="west", outcome=outcome) == 1
    assert at(values, "nodepool_image_build_requested", image="jammy") == 1
    assert at(values, "nodepool_image_build_state", image="noble") == 3
    assert at(values, "nodepool_image_upload_state", image="jammy", provider="west") == 2
    assert at(values, "nodepool_builder_busy", kind="build") == 1
    assert at(values, "nodepool_builder_workers", kind="upload") == 4
    assert not [name for name, _ in values if name.startswith(("nodepool_nodes", "nodepool_launch"))]


@pytest.mark.parametrize(("daemon", "census"), [("launcher", LAUNCHER), ("builder", BUILDER)])
def test_what_was_seen_is_forgotten_with_the_connection(daemon: str, census: Fact) -> None:
    gone = {"nodepool_nodes", "nodepool_image_build_state"}
    values = read(daemon, SessionHeld(True, 7), census, SessionHeld(False, 0))
    assert gone.isdisjoint(name for name, _ in values)
    assert at(values, "nodepool_zookeeper_connected") == 0


def test_what_is_gone_from_the_configuration_is_gone_from_the_answer() -> None:
    values = read("launcher", LAUNCHER, replace(LAUNCHER, labels=("small",), answering={"west": True}))
    assert at(values, "nodepool_provider_up", provider="east") is None
    assert at(values, "nodepool_nodes_by_label", label="tiny", state="ready") is None


def test_a_new_session_counts_and_the_same_again_does_not() -> None:
    changes = (SessionHeld(True, 7), SessionHeld(False, 0), SessionHeld(True, 7), SessionHeld(True, 8))
    assert at(read("launcher", *changes), "nodepool_zookeeper_sessions_total") == 2
