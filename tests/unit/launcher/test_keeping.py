"""Failed machines that are held for study: which, how many, beside what, and what becomes of the launch."""

from __future__ import annotations

from typing import Any

import pytest

from nodepool.daemon.events import Configured
from nodepool.driver.adapter import KeepFailed, ServerState
from nodepool.driver.errors import NoCapacity
from nodepool.driver.nodescan import ScanFailure, ScanResult
from nodepool.launcher.instructions import CancelCheck, CreateServer, Purpose
from nodepool.launcher.keeping import LONGEST_COMMENT
from nodepool.launcher.lifecycle import Phase
from nodepool.model.node import Node
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState
from nodepool.zk import paths
from nodepool.zk.store import Create, Delete
from tests.unit.launcher.launch_scene import ADDRESS, CHECK, KEEP, KEYS, LaunchScene, cloud_of, configured
from tests.unit.launcher.parts import NOW, node, request

FAILS: dict[str, Any] = {"ready_check": CHECK, "keep_failed": KEEP}


def scene_with(limits: dict[str, int | None] | None = None, **settings: Any) -> LaunchScene:
    """Labels with a check before use, whose failures are held."""
    return LaunchScene(cloud_of(limits, **(FAILS | settings)))


@pytest.fixture
def scene() -> LaunchScene:
    """Enough room."""
    return scene_with()


def states(scene: LaunchScene) -> dict[str, str]:
    """All nodes by id."""
    return {node_id: scene.node(node_id)["state"] for node_id in scene.children(paths.NODES)}


def fail(scene: LaunchScene, external_id: str) -> str:
    """The server that was ordered last comes up and fails its check; its node."""
    node_id = scene.create(external_id)
    scene.activate(external_id)
    scene.answer_scan()
    scene.answer_check("no network")
    return node_id


def held(number: int, age: float = 0.0, **changes: Any) -> Node:
    """A node that is held by us since some time."""
    values: dict[str, Any] = {"comment": "keep-failed: of old", "hold_expiration": 3600, "external_id": f"h{number}"}
    return node(number, NodeState.HOLD, **(values | {"state_time": NOW - age} | changes))


# What is held


def test_a_failed_machine_is_held_and_a_new_record_goes_on(scene: LaunchScene) -> None:
    failed = scene.reach(Phase.KEEPING)
    launch = scene.launch()
    assert states(scene) == {failed: "hold", launch.node_id: "building"}
    assert (launch.attempt, launch.phase) == (2, Phase.CREATING)
    assert scene.order.order.tags["nodepool_attempt"] == "2"
    assert scene.deleted == []
    assert not scene.children(paths.node_lock(failed))
    assert scene.request(request().id)["state"] == "pending"


def test_the_record_of_a_held_machine_says_all_that_is_known(scene: LaunchScene) -> None:
    record = scene.node(scene.reach(Phase.KEEPING))
    reason = "keep-failed: the machine did not pass its ready-check: no network: no route to host"
    assert record["comment"] == reason
    assert (record["hold_expiration"], record["state_time"]) == (600, scene.now)
    assert (record["external_id"], record["interface_ip"], record["host_keys"]) == ("s1", ADDRESS, list(KEYS))
    assert (record["allocated_to"], record["tenant_name"]) == (None, None)
    assert (record["provider"], record["pool"], record["type"]) == ("cloud", "main", ["small"])


def test_the_successor_serves_the_request(scene: LaunchScene) -> None:
    failed = scene.reach(Phase.KEEPING)
    successor = scene.create("s2")
    scene.activate("s2")
    scene.answer_scan()
    scene.answer_check()
    served = scene.request(request().id)
    assert (served["state"], served["nodes"]) == ("fulfilled", [successor])
    assert states(scene) == {failed: "hold", successor: "ready"}
    assert scene.node(successor)["external_id"] == "s2"
    assert scene.core.state.launches == {}
    assert scene.core.state.launching("cloud") == 0


def test_a_very_long_output_is_cut(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.CHECKING)
    scene.answer_check("no", "x" * 5000)
    assert len(scene.node(node_id)["comment"]) == LONGEST_COMMENT


def test_a_machine_that_never_became_active_is_held_without_an_address(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.BOOTING)
    scene.change("s1", state=ServerState.ERROR, fault_text="the hypervisor gave up")
    record = scene.node(node_id)
    assert (record["state"], record["external_id"], record.get("interface_ip")) == ("hold", "s1", None)
    assert "the hypervisor gave up" in record["comment"]


def test_a_machine_that_does_not_answer_is_held(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.SCANNING)
    scene.answer_scan(ScanResult("", failure=ScanFailure.REFUSED, detail="refused"))
    assert states(scene)[node_id] == "hold"


def test_a_machine_that_is_never_up_is_held_at_the_deadline() -> None:
    scene = scene_with(provider_launch_timeout=100.0)
    node_id = scene.reach(Phase.CHECKING)
    scene.wait(101.0)
    assert states(scene)[node_id] == "hold"
    assert any(isinstance(one, CancelCheck) for one in scene.asked)


def test_what_tells_nothing_is_not_held(scene: LaunchScene) -> None:
    scene.put(request())
    scene.refuse(NoCapacity("none"))
    scene.list_servers()
    (node_id,) = states(scene)
    assert scene.launch().node_id == node_id


def test_each_node_of_a_request_by_itself(scene: LaunchScene) -> None:
    scene.put(request("small", "small"))
    orders = [one for one in scene.asked if isinstance(one, CreateServer)]
    assert len(orders) == 2
    failed = fail(scene, "s2")
    (other,) = {one.order.node_id for one in orders} - {failed}
    claim = scene.core.state.claims[request().id]
    successor = scene.order.order.node_id
    assert sorted(str(one) for one in claim.slots) == sorted([other, successor])
    assert states(scene) == {failed: "hold", other: "building", successor: "building"}


# How many


def test_the_oldest_goes_for_a_newer_one(scene: LaunchScene) -> None:
    for record in (held(101, age=10), held(102, age=20)):
        scene.put(record)
    failed = scene.reach(Phase.KEEPING)
    found = states(scene)
    assert (found[held(101).id], found[held(102).id], found[failed]) == ("hold", "deleting", "hold")


def test_held_nodes_of_other_labels_and_of_other_people_do_not_count(scene: LaunchScene) -> None:
    others = [
        held(101, age=10, type=("big",)),
        held(102, age=20, comment="autohold of somebody"),
        held(103, age=30, provider="elsewhere"),
        held(104, age=40),
    ]
    for record in others:
        scene.put(record)
    scene.reach(Phase.KEEPING)
    assert {states(scene)[record.id] for record in others} == {"hold"}


def test_too_many_are_found_whoever_has_made_them(scene: LaunchScene) -> None:
    """Two launchers that hold at the same time, or one that dies in between, leave it to whoever sees it."""
    for number in (101, 102, 103, 104):
        scene.put(held(number, age=number))
    found = states(scene)
    assert [found[held(number).id] for number in (101, 102, 103, 104)] == ["hold", "hold", "deleting", "deleting"]


def test_a_held_node_that_somebody_has_locked_goes_when_it_is_unlocked(scene: LaunchScene) -> None:
    oldest = held(101, age=30)
    directory = paths.node_lock(oldest.id)
    contender = f"{directory}/{'0' * 32}__lock__0000000000"
    scene.others(scene.storing(oldest), Create(directory), Create(contender))
    scene.put(held(102, age=20))
    scene.put(held(103, age=10))
    assert states(scene)[oldest.id] == "hold"
    scene.others(Delete(contender))
    assert states(scene)[oldest.id] == "deleting"


def test_a_smaller_number_counts_at_once(scene: LaunchScene) -> None:
    scene.put(held(101, age=10))
    scene.put(held(102, age=20))
    scene.tell(Configured(configured(cloud_of(**(FAILS | {"keep_failed": KeepFailed(1, 60.0)})))))
    assert states(scene)[held(102).id] == "deleting"
    assert states(scene)[held(101).id] == "hold"


def test_what_is_held_stays_for_its_time_when_the_label_holds_nothing_more(scene: LaunchScene) -> None:
    for number in (101, 102):
        scene.put(held(number, age=number))
    scene.tell(Configured(configured(cloud_of(ready_check=CHECK))))
    assert set(states(scene).values()) == {"hold"}


def test_a_held_machine_goes_when_its_time_is_over(scene: LaunchScene) -> None:
    failed = scene.reach(Phase.KEEPING)
    scene.wait(601.0)
    assert scene.node(failed)["state"] == "deleting"


# Beside what


def test_nothing_is_held_where_there_is_no_room_for_another() -> None:
    scene = scene_with({"instances": 1})
    node_id = scene.reach(Phase.KEEPING)
    assert states(scene) == {node_id: "building"}
    assert scene.launch().phase is Phase.RETIRING
    assert scene.deleted == ["s1"]
    scene.vanish("s1")
    assert (scene.launch().phase, scene.launch().attempt) == (Phase.CREATING, 2)


def test_nothing_is_held_where_the_quota_is_used_up(scene: LaunchScene) -> None:
    scene.core.state.clouds["cloud"].strays = {"0000000099": Resources(instances=9)}
    scene.put(request())
    scene.create("s1")
    scene.core.state.clouds["cloud"].limits = Resources.limit({"instances": 1})
    scene.change("s1", state=ServerState.ERROR)
    assert scene.launch().phase is Phase.RETIRING


def test_a_single_launch_at_a_time_is_enough() -> None:
    scene = scene_with(provider_max_concurrency=1)
    failed = scene.reach(Phase.KEEPING)
    assert states(scene)[failed] == "hold"
    assert scene.core.state.launching("cloud") == 1


def test_a_tenant_pays_for_one_node_only(scene: LaunchScene) -> None:
    setup = configured(cloud_of(**FAILS), tenant_limits={"t": Resources.limit({"instances": 1})})
    scene.tell(Configured(setup))
    scene.put(request(tenant_name="t"))
    failed = fail(scene, "s1")
    assert states(scene)[failed] == "hold"
    assert scene.node(scene.launch().node_id)["tenant_name"] == "t"
    assert scene.core.state.index.used_by_tenant("t") == Resources(instances=1)


def test_room_is_taken_before_the_transaction_is_done() -> None:
    """Two that fail at once do not both count on the last room, nor does a request that comes meanwhile."""
    scene = scene_with({"instances": 3})
    scene.put(request("small", "small"))
    orders = [one for one in scene.asked if isinstance(one, CreateServer)]
    scene.before[Purpose.KEEP] = lambda: planned.append(dict(scene.core.state.planned))
    planned: list[dict[str, object]] = []
    failed = fail(scene, "s2")
    assert planned[0].keys() == {failed}
    assert scene.core.state.planned == {}
    (other,) = {one.order.node_id for one in orders} - {failed}
    assert sorted(states(scene).values()) == ["building", "building", "hold"]
    assert states(scene)[other] == "building"


# The last attempt


def last_attempt(**settings: Any) -> LaunchScene:
    """A launch that has one attempt."""
    return scene_with(provider_launch_retries=1, **settings)


def test_the_machine_of_the_last_attempt_is_held_and_the_request_declined() -> None:
    scene = last_attempt()
    node_id = scene.reach(Phase.KEEPING)
    assert states(scene) == {node_id: "hold"}
    assert scene.request(request().id)["state"] == "failed"
    assert scene.deleted == []
    assert not scene.core.state.launches
    assert not scene.core.state.claims


def test_the_machine_of_the_last_attempt_is_held_where_there_is_no_room_for_another() -> None:
    scene = last_attempt(limits={"instances": 1})
    node_id = scene.reach(Phase.KEEPING)
    assert states(scene) == {node_id: "hold"}


def test_siblings_of_a_held_machine_go() -> None:
    scene = last_attempt()
    scene.put(request("small", "small"))
    failed = fail(scene, "s2")
    assert sorted(states(scene).values()) == ["deleting", "hold"]
    assert states(scene)[failed] == "hold"
