"""The overview of ``nodepool top``."""

from __future__ import annotations

import json
from typing import Any

from nodepool.admin import overview
from nodepool.admin.table import render
from nodepool.config.settings import Config
from nodepool.driver.registry import get_driver
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Batch, Datum

NOW = 1_718_000_000.0
POOL = {"kind": "pool", "provider_name": "fake-1", "name": "main", "supported_labels": ["jammy"], "id": "a"}


def config() -> Config:
    pool = {"name": "main", "max-servers": 10, "labels": []}
    entry = get_driver("fake").getProviderConfig({"name": "fake-1", "driver": "fake", "pools": [pool]})
    entry.load(Config())
    return Config(providers={"fake-1": entry})


def mirror_of(records: dict[str, Any]) -> Mirror:
    mirror = Mirror()
    entries = {
        f"/nodepool/{path}": Datum(json.dumps(value).encode(), 0, 1, 1, 0.0, 0.0, 0) for path, value in records.items()
    }
    mirror.apply(Batch(1, entries, True))
    return mirror


def site() -> Mirror:
    states = ["building", "init", "ready", "in-use", "in-use", "hold", "used", "failed", "deleting"]
    node = {"provider": "fake-1", "pool": "main"}
    request = {"state": "requested", "state_time": NOW - 61, "node_types": ["jammy"], "requestor": "zuul"}
    return mirror_of(
        {
            **{f"nodes/{number:010}": {**node, "state": state} for number, state in enumerate(states)},
            "nodes/0000000020": {"provider": "gone-1", "state": "ready"},
            "components/pool/1": {**POOL, "hostname": "nl1"},
            "components/pool/2": {**POOL, "hostname": "nl2", "paused": True, "id": "b"},
            "requests/200-0000000002": request,
            "requests/100-0000000003": {**request, "node_types": ["beos"]},
            "requests/100-0000000001": {**request, "state": "pending"},
            "images/jammy/builds/0000000001": {"state": "building"},
        }
    )


def test_counts_of_the_states_that_there_are() -> None:
    assert overview.summary_lines(overview.summary(site())) == [
        "requests: 2 requested, 1 pending",
        "nodes: 1 init, 1 building, 2 ready, 2 in-use, 1 used, 1 hold, 1 deleting, 1 failed",
        "builds: 1 building",
        "uploads: none",
    ]


def test_pools() -> None:
    assert render(overview.POOL_COLUMNS, overview.pools(site(), config())) == (
        "+-------------+-----------+-------+-------+----------+-------+--------+------+-------+-------+---------+\n"
        "| Pool        | Launchers | Nodes | Limit | Building | Ready | In Use | Hold | Going | Full  | Drained |\n"
        "+-------------+-----------+-------+-------+----------+-------+--------+------+-------+-------+---------+\n"
        "| fake-1/main | nl1,nl2   | 9     | 10    | 2        | 1     | 2      | 1    | 3     | True  | False   |\n"
        "| gone-1/     |           | 1     |       | 0        | 1     | 0      | 0    | 0     | False | False   |\n"
        "+-------------+-----------+-------+-------+----------+-------+--------+------+-------+-------+---------+"
    )


def test_what_waits_in_the_order_of_service() -> None:
    found = overview.waiting(site(), NOW)
    assert [list(row) for row in found] == [["id", "age", "node_types", "requestor", "reason"]] * 2
    assert [tuple(row.values()) for row in found] == [
        ("100-0000000003", "00:00:01:01", ["beos"], "zuul", "waits: no launcher that could serve it is running"),
        (
            "200-0000000002",
            "00:00:01:01",
            ["jammy"],
            "zuul",
            "waits for fake-1/main or fake-1/main (paused: no room, or its cloud does not answer)",
        ),
    ]
