"""The manual, the dashboard and the alerts speak of the metrics that there are, and the manual of all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from nodepool.model.reasons import DeclineReason, LaunchFailure, WaitReason
from nodepool.telemetry.prometheus import Prometheus
from nodepool.telemetry.statsd_metrics import METRICS, Kind
from tests.unit.telemetry.specimens import SPECIMENS

ROOT = Path(__file__).resolve().parents[3]
MANUAL = (ROOT / "doc/metrics.rst").read_text(encoding="utf-8")
DASHBOARD = json.loads((ROOT / "etc/grafana/nodepool.json").read_text(encoding="utf-8"))
RULES = yaml.safe_load((ROOT / "etc/prometheus/nodepool-rules.yaml").read_text(encoding="utf-8"))
WORDS = {Kind.GAUGE: "gauge", Kind.COUNTER: "counter", Kind.TIMER: "timer"}
OF_EVERY_SCRAPE = {"instance", "job", "le"}
"""Labels that Prometheus itself adds, or that belong to histograms."""

Row = tuple[str, ...]


def rows(cells: int) -> set[Row]:
    """The rows of the manual's tables that have so many cells, without the heads."""
    found = set()
    for row in re.findall(r"^   \* - (.*(?:\n     - .*)*)", MANUAL, re.MULTILINE):
        parts = tuple(row.split("\n     - "))
        if len(parts) == cells and parts[0].startswith("``"):
            found.add(parts)
    return found


def families() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Name, type, labels and meaning of all that Prometheus is told."""
    for daemon in ("launcher", "builder"):
        metrics = Prometheus(daemon, "12")
        for fact in SPECIMENS:
            metrics.take(fact)
        for family in metrics.registry.collect():
            if family.name.startswith("nodepool_"):
                labels = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
                suffix = "_total" if family.type == "counter" else ""
                yield family.name + suffix, family.type, tuple(labels), family.documentation


def test_the_manual_has_every_metric_of_statsd_and_no_other() -> None:
    declared = {(f"``{one.name}``", ", ".join(WORDS[kind] for kind in one.kinds), one.meaning) for one in METRICS}
    assert rows(3) == declared


def test_the_manual_has_every_metric_of_prometheus_and_no_other() -> None:
    told = {(f"``{name}``", kind, ", ".join(labels) or "none", text) for name, kind, labels, text in families()}
    assert rows(4) == told


def test_the_manual_has_every_result_and_reason_and_every_alert() -> None:
    named = {row[0].strip("`") for row in rows(2)}
    reasons = {reason.name.lower() for reason in (*WaitReason, *DeclineReason)}
    alerts = {rule["alert"] for group in RULES["groups"] for rule in group["rules"]}
    assert named == {failure.value for failure in LaunchFailure} | {"error.zksession"} | reasons | alerts


def expressions(part: Any) -> Iterator[str]:
    """All PromQL in the dashboard or in the alerts."""
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "expr")
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from expressions(one)


def test_dashboard_and_alerts_ask_for_what_there_is() -> None:
    known: dict[str, set[str]] = {}
    for name, kind, labels, _ in families():
        for suffix in ("_bucket", "_count", "_sum") if kind == "histogram" else ("",):
            known[name + suffix] = set(labels)
    asked = [*expressions(DASHBOARD), *expressions(RULES)]
    assert len(asked) > 30
    everything = OF_EVERY_SCRAPE.union(*known.values())
    for expression in asked:
        for name, selector in re.findall(r"(nodepool_\w+)(\{[^}]*\})?", expression):
            assert name in known, expression
            wanted = set(re.findall(r"(\w+)=?[=!~]", selector))
            assert wanted <= known[name] | OF_EVERY_SCRAPE, expression
        for grouping in re.findall(r"by \(([^)]*)\)", expression):
            assert {label.strip() for label in grouping.split(",")} <= everything, expression


def test_each_alert_says_what_it_means_and_what_to_do() -> None:
    for rule in RULES["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        squares = {
            (place["x"] + column, place["y"] + line) for column in range(place["w"]) for line in range(place["h"])
        }
        assert taken.isdisjoint(squares), panel["title"]
        assert max(column for column, _ in squares) < 24
        taken |= squares
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
