"""What ``nodepool explain`` says of requests, nodes and images: from records, locks and the configuration alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from nodepool.admin.explain import explanation
from nodepool.admin.explanation import Explanation, Site, duration
from nodepool.admin.failure import CommandFailed
from nodepool.config.settings import Config, DiskImage, Label
from nodepool.driver.contract import ProviderConfig
from nodepool.driver.registry import get_driver
from nodepool.zk.store import Datum

Records = Mapping[str, Any]
"""Paths below /nodepool, and what is there: an object or bytes."""
NOW = 1_718_000_000.0
BUILD = "4c8e2c1e8a524f0b9b0e0c2f5d1e7a11"
REQUEST = {
    "state": "requested",
    "state_time": NOW - 65,
    "created_time": NOW - 3700,
    "node_types": ["jammy", "noble"],
    "requestor": "zuul",
    "event_id": "e7",
    "tenant_name": "acme",
}
POOL = {"kind": "pool", "hostname": "nl1", "provider_name": "fake-1", "name": "main", "id": "nl1-fake-1-main"}
NODE = {"state": "building", "state_time": NOW - 30, "provider": "fake-1", "pool": "main", "type": ["jammy"]}
HEX = "6d1f0c2e8a524f0b9b0e0c2f5d1e7a11"
CONTENDER = f"{HEX}__lock__0000000001"


def provider(**changes: Any) -> ProviderConfig:
    """A provider whose pool offers jammy, from a disk image, and noble, from the cloud's."""
    labels = [{"name": "jammy", "diskimage": "jammy"}, {"name": "noble", "cloud-image": "noble"}]
    pool = {"name": "main", "max-servers": 2, "labels": labels, **changes}
    document = {
        "name": "fake-1",
        "driver": "fake",
        "cloud": "fake",
        "diskimages": [{"name": "jammy"}],
        "cloud-images": [{"name": "noble"}],
        "pools": [pool],
    }
    entry = get_driver("fake").getProviderConfig(document)
    entry.load(Config(labels=LABELS, diskimages=IMAGES))
    return entry


LABELS = {"jammy": Label("jammy", max_ready_age=3600), "noble": Label("noble"), "off": Label("off", min_ready=-1)}
IMAGES = {"jammy": DiskImage("jammy", rebuild_age=86400)}


def config(**changes: Any) -> Config:
    return Config(labels=LABELS, diskimages=IMAGES, providers={"fake-1": provider()}, **changes)


def site(records: Records, settings: Config | None = None) -> Site:
    tree = {
        f"/nodepool/{path}": Datum(
            value if isinstance(value, bytes) else json.dumps(value).encode(), 0, 1, 1, NOW - 90, NOW, 7
        )
        for path, value in records.items()
    }
    return Site(tree, settings or config(), NOW)


def pool_of(labels: list[str], **changes: Any) -> dict[str, Any]:
    return {**POOL, "supported_labels": labels, **changes}


def explained(name: str, records: Records, settings: Config | None = None) -> Explanation:
    found = explanation(site(records, settings), name)
    assert json.loads(json.dumps(found.as_json()))["id"] == name
    return found


def said(found: Explanation, text: str) -> bool:
    return any(text in detail for detail in found.details)


# Requests


def request(**changes: Any) -> dict[str, Any]:
    return {"requests/200-0000000002": {**REQUEST, **changes}}


UPLOAD = {f"images/jammy/builds/{BUILD}/providers/fake-1/images/0000000001": {"state": "ready", "state_time": NOW - 60}}
BOTH = {"components/pool/nl1": pool_of(["jammy", "noble"])}


def test_a_request_that_waits_for_room() -> None:
    records = {**request(), **UPLOAD, **BOTH, "nodes/0000000001": NODE}
    found = explained("200-0000000002", records)
    assert found.summary == "Request 200-0000000002, requested for 1 min 5 s: waits for fake-1/main"
    assert found.details[0] == "asked for by zuul for the tenant acme 1 h 1 min ago, event e7; labels: jammy, noble"
    assert said(found, "it is number 1 of 1 that wait")
    assert not said(found, "known to its launcher only")
    assert found.pools == [
        {
            "pool": "fake-1/main on nl1",
            "launcher": "nl1-fake-1-main",
            "answer": "has no room for it",
            "reasons": ["the pool is at its limit: in use are 1 of 2 instances"],
        }
    ]


def test_its_place_is_that_of_the_order_of_service() -> None:
    others = {
        "requests/100-0000000009": REQUEST,
        "requests/200-0000000001": {**REQUEST, "relative_priority": 3},
        "requests/100-0000000003": {**REQUEST, "state": "pending"},
    }
    assert said(explained("200-0000000002", {**request(), **others}), "it is number 2 of 3 that wait")


def test_free_nodes_are_counted() -> None:
    free = {**NODE, "state": "ready"}
    records = {
        **request(node_types=["jammy"]),
        **UPLOAD,
        **BOTH,
        "nodes/0000000001": free,
        "nodes/0000000002": {**free, "allocated_to": "200-0000000009"},
        "nodes/0000000003": {**free, "type": ["noble"]},
    }
    (pool,) = explained("200-0000000002", records).pools
    assert pool["reasons"][-1] == "1 free ready node of its labels"


@pytest.mark.parametrize(
    ("changes", "offered", "reason"),
    [
        ({}, ["jammy"], "the pool does not have the label: noble"),
        ({"node_types": ["jammy"]}, ["jammy"], "the provider has no ready image for the label: jammy"),
        ({"node_types": ["off"]}, ["off"], "the label is switched off by min-ready: off"),
        ({"node_types": ["noble"] * 3}, ["noble"], "the request is larger than the pool or its provider can ever be: "),
    ],
)
def test_why_a_pool_has_declined(changes: dict[str, Any], offered: list[str], reason: str) -> None:
    records = {**request(**changes, declined_by=[POOL["id"]]), "components/pool/nl1": pool_of(offered)}
    (pool,) = explained("200-0000000002", records).pools
    assert pool["answer"] == "has declined it"
    assert pool["reasons"][0].startswith(reason)


def test_a_pool_that_will_decline_and_one_that_cannot_serve_it() -> None:
    records = {
        **request(node_types=["jammy"]),
        **BOTH,
        "components/pool/nl2": pool_of(["beos"], id="other", name="old", hostname="nl2", priority=1),
    }
    answers = [(pool["pool"], pool["answer"]) for pool in explained("200-0000000002", records).pools]
    assert answers == [("fake-1/old on nl2", "cannot serve it"), ("fake-1/main on nl1", "will decline it")]


def test_a_pool_that_this_machine_does_not_know() -> None:
    records = {**request(), "components/pool/nl1": pool_of(["jammy", "noble"], provider_name="far-away", paused=True)}
    found = explained("200-0000000002", records)
    assert said(found, "known to its launcher only")
    (pool,) = found.pools
    assert pool["answer"] == "has no room for it"
    assert pool["reasons"][0] == "it said a moment ago that it has no room"
    assert "not in this machine's configuration" in pool["reasons"][1]


def test_a_tenant_at_its_limit() -> None:
    records = {**request(), **BOTH, "nodes/0000000001": {**NODE, "tenant_name": "acme"}}
    limited = config(tenant_limits={"acme": {"instances": 2, "cores": 8}})
    found = explained("200-0000000002", records, limited)
    assert said(found, "its tenant uses 0 of 8 cores, 1 of 2 instances: the tenant is at its limit")


def test_a_request_that_somebody_works_on() -> None:
    records = {
        **request(state="pending", declined_by=["gone"]),
        **BOTH,
        "components/launcher/nl1": {"kind": "launcher", "hostname": "nl1"},
        f"requests-lock/200-0000000002/{CONTENDER}": b"",
        "nodes/0000000005": {**NODE, "allocated_to": "200-0000000002"},
    }
    found = explained("200-0000000002", records)
    assert found.summary.endswith(", pending for 1 min 5 s: a launcher has taken it and prepares its nodes")
    assert said(found, "its lock is held by launcher on nl1")
    assert said(found, "node 0000000005 (jammy) of fake-1/main is building for 30 s")
    assert found.pools == []


def test_a_request_whose_launcher_is_gone() -> None:
    assert said(explained("200-0000000002", request(state="pending")), "whoever took it is gone")


def test_a_request_that_nobody_has_fetched() -> None:
    records = {
        **request(state="fulfilled", nodes=["0000000005", "0000000006"]),
        "nodes/0000000005": {**NODE, "state": "ready", "allocated_to": "200-0000000002"},
    }
    found = explained("200-0000000002", records)
    assert said(found, "wait for the requestor")
    assert said(found, "node 0000000006 was promised to it, and is gone")


def test_a_request_that_failed() -> None:
    found = explained("200-0000000002", {**request(state="failed", declined_by=[POOL["id"]]), **BOTH, **UPLOAD})
    assert found.summary.endswith(": no pool could serve it; declined by fake-1/main")
    (pool,) = found.pools
    assert pool["reasons"] == ["nothing that can be seen speaks against it now: a node could not be launched?"]


# Nodes


def node(**changes: Any) -> dict[str, Any]:
    return {"nodes/0000000005": {**NODE, **changes}}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "no launcher of fake-1 is running"),
        ({}, "an attempt is given up after 3600 s (launch-timeout), and there are 3 (launch-retries)"),
        ({"allocated_to": "200-0000000002"}, "which is requested for 1 min 5 s"),
        ({"state": "in-use", "allocated_to": "x"}, "since its lock is gone while it was in use"),
        ({"state": "ready"}, "max-ready-age ends it in 59 min 30 s"),
        ({"state": "hold", "hold_expiration": 60, "hold_job": "unit"}, "held for the job unit"),
        ({"state": "hold", "hold_expiration": 60}, "it is held for 30 s more"),
        ({"state": "hold", "comment": "the cloud\x1b failed"}, "comment: the cloud\\x1b failed"),
        ({"state": "deleting", "external_id": "b7"}, "server b7"),
        ({"state": "deleting"}, "it is to be deleted, but no launcher of fake-1 is running"),
    ],
)
def test_nodes(changes: dict[str, Any], text: str) -> None:
    found = explained("0000000005", {**node(**changes), **request()})
    assert found.summary.startswith(f"Node 0000000005, {changes.get('state', 'building')} for 30 s: ")
    assert said(found, text), found.details


def test_who_holds_a_node() -> None:
    records = {**node(state="in-use"), f"nodes/0000000005/lock/{CONTENDER}": b"zuul executor"}
    assert said(explained("0000000005", records), "its lock is held by zuul executor")


def test_a_node_that_cannot_be_read() -> None:
    with pytest.raises(CommandFailed, match="cannot be read"):
        explained("0000000005", {"nodes/0000000005": b"{"})


# Images


def test_an_image_that_is_used() -> None:
    records = {
        **UPLOAD,
        f"images/jammy/builds/{BUILD}": {"state": "ready", "state_time": NOW - 7200},
        "images/jammy": b"",
        "components/builder/nb1": {"kind": "builder", "hostname": "nb1"},
    }
    found = explained("jammy", records)
    assert found.summary == "Image jammy, ready: its newest build is 2 h old"
    assert said(found, "the next build by age (rebuild-age): in 22 h")
    assert said(found, "fake-1: nodes of the label jammy boot from 0000000001, uploaded 1 min ago")


def test_an_image_that_is_nowhere() -> None:
    found = explained("jammy", {"images/jammy/pause": b"", "images/jammy/request-build": b""})
    assert found.summary == "Image jammy, missing: there is no build of it that can be used"
    for text in (
        "paused by command: nothing is built until 'nodepool image-unpause jammy'",
        "no nodepool-builder is running",
        "asked for by hand: pending",
        "fake-1: has no upload that can be used, so no node of the label jammy can be launched there",
    ):
        assert said(found, text), found.details


def test_an_image_that_fails() -> None:
    put_off = {"failures": 3, "retry_at": NOW + 300, "error": "exit status 1", "state_time": NOW}
    records = {
        f"images/jammy/builds/{BUILD}": {"state": "failed", "builder": "nb1", **put_off},
        f"images/jammy/builds/{BUILD}/providers/fake-1/images/0000000001": {
            "state": "failed",
            **put_off,
            "failures": 1,
        },
    }
    found = explained("jammy", records)
    assert said(found, "the build has failed 3 times in a row, tried again in 5 min: exit status 1")
    assert said(found, "the upload to fake-1 has failed once, tried again in 5 min: exit status 1")


def test_an_image_that_is_being_built() -> None:
    records = {
        f"images/jammy/builds/{BUILD}": {"state": "building", "builder": "nb1", "state_time": NOW - 60},
        f"images/jammy/builds/lock/{CONTENDER}": b"",
    }
    assert said(explained("jammy", records), f"build {BUILD} runs on nb1 for 1 min")


# All


def test_nothing_of_that_name() -> None:
    with pytest.raises(CommandFailed, match="There is no request, node or image beos"):
        explained("beos", {})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3605, "1 h"),
        (7500, "2 h 5 min"),
        (90000, "1 d 1 h"),
        (86400, "1 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
