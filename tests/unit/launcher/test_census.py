"""What a launcher tells the metrics: of what it sees, and of what happens to its launches."""

from __future__ import annotations

from typing import Any

import pytest

from nodepool.daemon.events import CensusAsked, SessionChanged
from nodepool.daemon.instructions import Measured
from nodepool.driver.errors import CloudError, QuotaExceeded
from nodepool.launcher.events import CreateEnded, DeleteEnded, LeftoverRemoved, ServersListed
from nodepool.launcher.instructions import CreateServer
from nodepool.launcher.setup import LabelRule
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState
from nodepool.telemetry.facts import (
    Fact,
    LaunchEnded,
    LauncherCensus,
    LeakRemoved,
    RequestDeclined,
    RequestFulfilled,
    Span,
    Use,
)
from nodepool.zk import paths
from nodepool.zk.store import Connection, Create, Delete, SessionChange
from tests.unit.launcher.core_scene import CoreScene
from tests.unit.launcher.parts import component, node, pool_settings, pools_of, provider, request
from tests.unit.launcher.parts import setup as setup_of

CLOUD = provider(pool_settings(limits={"instances": 3}))
STATS = paths.election("stats")
OTHERS = f"{STATS}/0000000000000000000000000000000a__lock__0000000000"


@pytest.fixture
def scene() -> CoreScene:
    """One pool with room for three nodes."""
    labels = {"small": LabelRule(), "big": LabelRule()}
    return CoreScene(setup_of(CLOUD, labels=labels, tenant_limits={"acme": Resources.limit({"cores": 8})}))


def facts(scene: CoreScene, kind: type[Fact]) -> list[Any]:
    found = (one.fact for one in scene.asked if isinstance(one, Measured))
    return [fact for fact in found if isinstance(fact, kind)]


def census(scene: CoreScene, reporter: str | None = None) -> LauncherCensus:
    scene.now += 5.0
    scene.tell(CensusAsked(scene.now - 0.5, reporter))
    found: LauncherCensus = facts(scene, LauncherCensus)[-1]
    return found


def test_nodes_are_counted_as_they_come_change_and_go(scene: CoreScene) -> None:
    mine, other = node(1, NodeState.HOLD), node(2, NodeState.HOLD, provider="elsewhere", type=("a", "b"))
    scene.put(mine)
    scene.put(other)
    assert census(scene).nodes == {("cloud", ("small",), "hold"): 1, ("elsewhere", ("a", "b"), "hold"): 1}
    scene.put(mine.replace(state=NodeState.READY))
    scene.others(Delete(paths.node(other.id)))
    assert census(scene).nodes == {("cloud", ("small",), "ready"): 1}


def test_requests_are_counted_by_state_and_by_the_reason_for_which_they_wait(scene: CoreScene) -> None:
    scene.put(request("small", "small", "small", number=1))
    scene.put(request("small", number=2))
    found = census(scene)
    assert found.requests["pending", ""] == 1
    assert found.requests["requested", "at_pool_limit"] == 1
    assert found.requests["fulfilled", ""] == 0
    assert found.oldest_request == 5.0
    assert found.addressable == {("cloud", "main"): 2}


def test_a_pool_addresses_only_requests_of_which_it_has_all_labels(scene: CoreScene) -> None:
    scene.put(component(next(iter(pools_of(provider(pool_settings(labels=["rare"])), launcher="them").values()))))
    scene.put(request("small", "rare"))
    found = census(scene)
    assert found.addressable == {("cloud", "main"): 0}
    assert found.labels == ("big", "rare", "small")


def test_use_is_told_beside_its_limits(scene: CoreScene) -> None:
    scene.put(node(1, NodeState.HOLD, resources={"instances": 1, "cores": 4}))
    found = census(scene)
    assert set(found.use) == {
        Use("cloud", "", "instances", 1, 0, 10),
        Use("cloud", "", "cores", 4, 0, None),
        Use("cloud", "main", "instances", 1, 0, 3),
        Use("cloud", "main", "cores", 4, 0, None),
    }
    assert found.max_servers == {"cloud": 3}
    assert found.tenant_limits == {"acme": {"cores": 8}}
    assert found.answering == {"cloud": True}
    assert found.lag == 0.5


def test_a_pool_without_limit_leaves_its_provider_without(scene: CoreScene) -> None:
    unlimited = CoreScene(setup_of(provider(pool_settings(limits={"instances": 3}), pool_settings("rest"))))
    assert census(unlimited).max_servers == {}
    assert census(scene).max_servers == {"cloud": 3}


def test_one_launcher_is_elected_by_the_recipe_of_nodepool_11(scene: CoreScene) -> None:
    assert not census(scene, "nl1-42").elected
    assert census(scene, "nl1-42").elected
    (ours,) = scene.children(STATS)
    datum = scene.ensemble.read(f"{STATS}/{ours}")
    assert datum is not None
    assert (datum.data, datum.ephemeral_owner) == (b"nl1-42", scene.session)


def test_who_comes_later_waits_until_the_other_is_gone(scene: CoreScene) -> None:
    scene.others(Create(STATS), Create(OTHERS, b"nl0-1"))
    assert not any(census(scene, "nl1-42").elected for _ in range(3))
    assert len(scene.children(STATS)) == 2
    scene.others(Delete(OTHERS))
    assert census(scene, "nl1-42").elected


def test_without_statsd_nobody_takes_part(scene: CoreScene) -> None:
    assert not any(census(scene).elected for _ in range(3))
    assert scene.children(STATS) == ()


def test_nothing_is_told_of_a_mirror_that_is_not_in_step(scene: CoreScene) -> None:
    census(scene)
    scene.tell(SessionChanged(SessionChange(Connection.SUSPENDED, scene.session)))
    scene.tell(CensusAsked(scene.now, "nl1-42"))
    assert len(facts(scene, LauncherCensus)) == 1


def test_a_node_that_is_handed_over_counts(scene: CoreScene) -> None:
    scene.put(node())
    scene.put(request(created_time=scene.now - 2.5))
    assert facts(scene, RequestFulfilled) == [RequestFulfilled(2.5)]


def test_each_attempt_counts_from_the_start_of_the_first(scene: CoreScene) -> None:
    scene.put(request())
    order = scene.last(CreateServer)
    for attempt in range(1, 4):
        scene.wait(10.0)
        scene.tell(CreateEnded("cloud", order.order.node_id, attempt, None, CloudError("no"), scene.now))
        scene.now += 1.0
        scene.tell(ServersListed("cloud", (), None, scene.now, scene.now))
    ended = facts(scene, LaunchEnded)
    assert [(one.provider, one.pool, one.label, one.requestor, one.result) for one in ended] == [
        ("cloud", "main", "small", "zuul", "error.unknown")
    ] * 3
    assert [one.seconds for one in ended] == [10.0, 21.0, 32.0]


def test_a_refusal_for_quota_counts_and_a_request_that_failed_was_declined(scene: CoreScene) -> None:
    scene.put(request())
    order = scene.last(CreateServer)
    scene.tell(CreateEnded("cloud", order.order.node_id, 1, None, QuotaExceeded("no"), scene.now))
    assert [one.result for one in facts(scene, LaunchEnded)] == ["error.quota"]
    scene.put(request("small", "small", "small", "small", number=2))
    assert facts(scene, RequestDeclined) == [RequestDeclined("cloud", "over_quota")]


def test_launches_end_with_the_session(scene: CoreScene) -> None:
    scene.put(request())
    scene.wait(7.0)
    scene.tell(SessionChanged(SessionChange(Connection.LOST, 0)))
    assert [(one.result, one.seconds) for one in facts(scene, LaunchEnded)] == [("error.zksession", 7.0)]


def test_what_was_removed_without_an_owner_counts_by_kind(scene: CoreScene) -> None:
    scene.tell(
        LeftoverRemoved("cloud", None, "ports"),
        LeftoverRemoved("cloud", None),
        LeftoverRemoved("cloud", CloudError("no")),
    )
    scene.tell(
        DeleteEnded("cloud", "", "s1", None, scene.now), DeleteEnded("cloud", "", "s2", CloudError("no"), scene.now)
    )
    assert facts(scene, LeakRemoved) == [LeakRemoved("cloud", "ports"), LeakRemoved("cloud", "instances")]


TRACE = {"trace_id": (1 << 128) - 1, "span_id": 7}


@pytest.mark.parametrize(
    ("data", "parent"),
    [
        ({"span_info": TRACE}, ((1 << 128) - 1, 7)),
        ({"span_info": None}, None),
        ({"span_info": {"trace_id": "x", "span_id": 7}}, None),
        ({"span_info": {"trace_id": 1 << 128, "span_id": 7}}, None),
        ({"span_info": {"trace_id": 1, "span_id": 0}}, None),
        ({"span_info": {"trace_id": 1}}, None),
        ("text", None),
        (None, None),
    ],
)
def test_a_request_is_a_span_within_that_of_its_requestor(
    scene: CoreScene, data: Any, parent: tuple[int, int] | None
) -> None:
    scene.put(node())
    scene.put(request(created_time=scene.now - 2.5, requestor_data=data))
    (span,) = facts(scene, Span)
    assert (span.name, span.parent, span.ok) == ("node request", parent, True)
    assert (span.began, span.ended) == (scene.now - 2.5, scene.now)
    assert span.attributes == {"request": request().id, "labels": ("small",), "nodes": (node().id,)}
