"""What a scrape of a running launcher tells, read by Prometheus' own parser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.launcher_process import LauncherProcess, fake_provider
from tests.requestor import zuul
from tests.web_client import Web, address_of
from tests.zookeeper import Place, eventually

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(web: Web) -> Samples:
    """All samples by name and labels."""
    families = text_string_to_metric_families(web.get("/metrics").text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def at(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def test_a_scrape_tells_what_has_happened_and_what_is(tmp_path: Path, zookeeper: Place) -> None:
    webapp = {"port": 0, "listen_address": "127.0.0.1"}
    good = fake_provider("fake-good", ["small"], max_servers=2)
    broken = {**fake_provider("fake-broken", ["bad"], fake={"faults": {"create-refused": 1.0}}), "launch-retries": 1}
    launcher = LauncherProcess(tmp_path, zookeeper, providers=[good, broken], labels=["small", "bad"], webapp=webapp)
    with launcher, zuul(zookeeper) as client:
        web = Web(address_of(launcher))
        held = [client.accept(client.submit("small"))[0] for _ in range(2)]
        for node_id in held:
            client.use(node_id)
        assert client.wait_done(client.submit("bad"))["state"] == "failed"
        client.submit("small")
        eventually(lambda: at(scrape(web), "nodepool_requests", state="requested", reason="at_pool_limit"), pause=0.2)
        samples = scrape(web)
    assert at(samples, "nodepool_nodes", state="in-use") == 2
    assert at(samples, "nodepool_requests", state="failed", reason="") == 1
    assert at(samples, "nodepool_request_fulfilled_seconds_count") == 2
    ended = {"pool": "main"}
    assert at(samples, "nodepool_launches_total", provider="fake-good", label="small", result="ready", **ended) == 2
    failed = at(
        samples, "nodepool_launches_total", provider="fake-broken", label="bad", result="error.unknown", **ended
    )
    assert failed == 1
    assert at(samples, "nodepool_request_declines_total", provider="fake-broken", reason="launch_failed") == 1
    created = {"provider": "fake-good", "operation": "create"}
    assert at(samples, "nodepool_provider_calls_total", outcome="ok", **created) == 2
    assert at(samples, "nodepool_provider_call_seconds_count", **created) == 2
    pool = {"provider": "fake-good", "pool": "main", "resource": "instances"}
    assert (at(samples, "nodepool_quota_used", **pool), at(samples, "nodepool_quota_limit", **pool)) == (2, 2)
    assert at(samples, "nodepool_zookeeper_connected") == 1
    assert (at(samples, "nodepool_decision_seconds_count") or 0) > 10
    assert (at(samples, "process_resident_memory_bytes") or 0) > 1 << 20
