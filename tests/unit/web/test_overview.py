"""What the page shows of a site."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from nodepool.telemetry.facts import LauncherCensus, Outage, Use
from nodepool.web import overview
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Batch, Datum
from tests.unit.telemetry.specimens import LAUNCHER
from tests.unit.web.test_lists import NOW, mirror

BUILD = "2d4f" * 8


def census(
    *uses: Use, waiting: dict[str, str] | None = None, outages: dict[str, Outage] | None = None
) -> LauncherCensus:
    """A census that has just this to tell."""
    answering = {"rack": not outages}
    return replace(LAUNCHER, use=uses, answering=answering, outages=outages or {}, waiting=waiting or {})


def site(**records: dict[str, Any]) -> Mirror:
    """A mirror of these records by path; in the names ``__`` stands for ``/``."""
    data = {f"/nodepool/{name.replace('__', '/')}": json.dumps(value).encode() for name, value in records.items()}
    filled = Mirror()
    filled.apply(Batch(1, {path: Datum(text, 0, 1, 1, NOW, NOW, 0) for path, text in data.items()}, complete=True))
    return filled


def pool(name: str, **values: Any) -> dict[str, Any]:
    return {"kind": "pool", "provider_name": "rack", "name": name, "supported_labels": ["a"], **values}


def node(state: str, where: str = "main") -> dict[str, Any]:
    return {"state": state, "provider": "rack", "pool": where, "type": ["a"]}


def test_it_can_be_told_as_json() -> None:
    told = json.loads(json.dumps(overview.of_launcher(mirror(), census())))
    assert told["states"] == {"in-use": 1, "ready": 1}
    assert [request["id"] for request in told["requests"]["waiting"]] == ["300-0000000002"]
    (problem,) = told["problems"]
    assert problem.startswith("node 0000000003: cannot be read: ")


def test_nothing() -> None:
    told = overview.of_launcher(Mirror(), None)
    assert (told["pools"], told["providers"], told["images"], told["problems"]) == ([], [], [], [])
    assert told["requests"] == {"states": {}, "waiting": [], "more": 0}


def test_pools_and_their_nodes() -> None:
    here = site(
        components__pool__a=pool("main"),
        components__pool__b=pool("main", supported_labels=["b"], paused=True),
        nodes__0000000001=node("in-use"),
        nodes__0000000002=node("ready"),
        nodes__0000000003=node("ready"),
        nodes__0000000004=node("building"),
        nodes__0000000005=node("deleting"),
        nodes__0000000006=node("hold", "old"),
    )
    main, old = overview.of_launcher(here, None)["pools"]
    assert main == {
        "provider": "rack", "pool": "main", "labels": ["a", "b"], "paused": True, "registered": True,
        "used": 1, "ready": 2, "building": 1, "held": 0, "going": 1, "limit": None, "quota": None, "free": None,
    }  # fmt: skip
    assert (old["pool"], old["registered"], old["held"]) == ("old", False, 1)


def test_room_is_what_both_the_pool_and_its_provider_leave() -> None:
    here = site(components__pool__a=pool("main"))

    def room(*uses: Use) -> tuple[Any, Any, Any]:
        (one,) = overview.of_launcher(here, census(*uses))["pools"]
        return one["limit"], one["quota"], one["free"]

    ours = Use("rack", "main", "instances", 3, 0, 10)
    assert room() == (None, None, None)
    assert room(ours) == (10, None, 7)
    assert room(ours, Use("rack", "", "instances", 3, 15, 20)) == (10, 20, 2)
    assert room(ours, Use("rack", "", "instances", 3, 30, 20)) == (10, 20, 0)
    assert room(Use("rack", "main", "instances", 3, 0, None), Use("rack", "", "instances", 3, 0, None)) == (
        None,
        None,
        None,
    )


def test_why_requests_wait() -> None:
    wish = {"node_types": ["a"], "requestor": "zuul", "tenant_name": "acme", "state": "requested", "created_time": NOW}
    here = site(
        **{
            "requests__200-0000000001": {**wish, "declined_by": ["x", "y"]},
            "requests__100-0000000002": wish,
            "requests__200-0000000003": {**wish, "state": "pending"},
            "requests__200-0000000004": {**wish, "state": "fulfilled"},
        }
    )
    told = overview.of_launcher(here, census(waiting={"200-0000000001": "the pool is at its limit"}))["requests"]
    assert told["states"] == {"requested": 2, "pending": 1, "fulfilled": 1}
    assert [(one["id"], one["reason"], one["declined"]) for one in told["waiting"]] == [
        ("100-0000000002", "", 0),
        ("200-0000000001", "the pool is at its limit", 2),
        ("200-0000000003", "a pool works on it", 0),
    ]
    assert (told["waiting"][0]["requestor"], told["waiting"][0]["tenant"]) == ("zuul", "acme")
    assert overview.sample(here) == {"used": 0, "ready": 0, "building": 0, "held": 0, "going": 0, "waiting": 3}


def test_of_very_many_requests_the_first_are_shown() -> None:
    wish = {"node_types": ["a"], "requestor": "zuul", "state": "requested"}
    many = site(**{f"requests__200-{number:010}": wish for number in range(overview.MOST_REQUESTS + 7)})
    told = overview.of_launcher(many, None)["requests"]
    assert (len(told["waiting"]), told["more"]) == (overview.MOST_REQUESTS, 7)


def test_providers_and_their_troubles() -> None:
    away = Outage(NOW - 60, "HTTP 503 " + "x" * 1000, NOW + 5)
    uses = (
        Use("rack", "", "instances", 3, 1, 4),
        Use("rack", "", "cores", 0, 0, 8),
        Use("rack", "main", "ram", 1, 0, 2),
    )
    (provider,) = overview.of_launcher(Mirror(), census(*uses, outages={"rack": away}))["providers"]
    assert (provider["name"], provider["answers"], provider["since"], provider["until"]) == (
        "rack", False, NOW - 60, NOW + 5,
    )  # fmt: skip
    assert provider["error"].startswith("HTTP 503 x")
    assert len(provider["error"]) == overview.MOST_REASON
    assert provider["use"] == [{"resource": "instances", "ours": 3, "others": 1, "limit": 4}]


def test_images() -> None:
    told = overview.of_builder(mirror())["images"]
    assert [(image["image"], image["paused"], image["request"]) for image in told] == [
        ("jammy", False, "pending"),
        ("noble", True, None),
    ]
    assert told[0]["builds"] == [
        {
            "id": f"jammy-{BUILD}",
            "builder": "nb1",
            "formats": ["qcow2", "raw"],
            "state": "ready",
            "since": int(NOW - 60.5),
        }
    ]
    assert told[0]["uploads"] == [
        {"id": BUILD, "provider": "rack", "external_id": "77", "state": "ready", "since": int(NOW - 5)}
    ]
    assert told[1]["uploads"] == []
