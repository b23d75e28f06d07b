"""The decision core as a whole: what it makes of what happens. Each test is a bug that the simulation has found."""

from __future__ import annotations

import pytest

from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG, Server, ServerState
from nodepool.driver.errors import QuotaExceeded
from nodepool.driver.nodescan import ScanFailure, ScanResult
from nodepool.driver.static.config import StaticHost
from nodepool.launcher.events import CreateEnded, ScanEnded, ServersListed
from nodepool.launcher.instructions import CreateServer, ListServers, Purpose, StartScan
from nodepool.launcher.setup import LabelRule
from nodepool.model.reasons import WaitReason
from nodepool.model.request import MIN_READY_REQUESTOR
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState, RequestState
from nodepool.zk import paths
from nodepool.zk.store import Create, Delete
from tests.unit.launcher.core_scene import CoreScene
from tests.unit.launcher.parts import NOW, component, node, pool_settings, pools_of, provider, request, static_provider
from tests.unit.launcher.parts import setup as setup_of

CLOUD = provider(pool_settings(limits={"instances": 3}))
STRANGER = component(next(iter(pools_of(CLOUD, launcher="them").values())))


@pytest.fixture
def scene() -> CoreScene:
    """One pool with room for three nodes."""
    return CoreScene(setup_of(CLOUD, labels={"small": LabelRule(), "big": LabelRule()}))


def test_a_launch_without_room_gives_the_request_back_and_decisions_come_to_rest(scene: CoreScene) -> None:
    scene.put(request())
    order = scene.last(CreateServer)
    scene.tell(CreateEnded("cloud", order.order.node_id, 1, None, QuotaExceeded("no"), scene.now))
    given_back = scene.request(request().id)
    assert (given_back["state"], given_back["declined_by"]) == ("requested", [])
    assert scene.node(order.order.node_id)["state"] == "deleting"
    assert scene.complaints() == []


def test_a_request_that_was_refused_for_quota_lets_smaller_ones_go_first(scene: CoreScene) -> None:
    large, small = request("small", "small", number=1), request("big", number=2)
    scene.put(large)
    for order in [one for one in scene.asked if isinstance(one, CreateServer)]:
        scene.tell(CreateEnded("cloud", order.order.node_id, 1, None, QuotaExceeded("no"), scene.now))
    scene.put(small)
    scene.wait(0.1)
    assert scene.request(small.id)["state"] == "requested"
    # All servers are gone by now; one of two was refused, so there is believed to be room for one.
    scene.tell(ServersListed("cloud", (), None, scene.now, scene.now))
    assert scene.request(small.id)["state"] == "pending"
    assert scene.request(large.id)["state"] == "requested"
    one = scene.last(CreateServer)
    scene.tell(CreateEnded("cloud", one.order.node_id, 1, "s", None, scene.now))
    scene.wait(9.0)
    assert scene.request(large.id)["state"] == "requested"
    # The cloud has not refused for a while: two more may be tried.
    scene.wait(2.0)
    assert scene.request(large.id)["state"] == "pending"


def test_a_deletion_is_not_carried_out_when_somebody_else_has_given_the_node_away() -> None:
    scene = CoreScene(setup_of(CLOUD, labels={"small": LabelRule(max_ready_age=10)}))
    scene.put(node(1))
    other = request(number=7, state=RequestState.FULFILLED, nodes=(node(1).id,))
    given = node(1, allocated_to=other.id)
    scene.before[Purpose.MARK] = lambda: scene.write(scene.storing(other), scene.storing(given))
    scene.wait(60)
    assert Purpose.MARK not in scene.before
    assert scene.node(node(1).id)["state"] == "ready"


def test_a_request_is_given_back_when_a_node_of_it_goes_away(scene: CoreScene) -> None:
    free = node(100)
    scene.put(free)
    scene.put(request("small", "big"))
    assert scene.node(free.id)["allocated_to"] == request().id
    scene.put(free.replace(state=NodeState.USED, allocated_to=request().id))
    assert [scene.node(one)["state"] for one in scene.children(paths.NODES)] == ["deleting", "deleting"]
    assert scene.request(request().id)["state"] == "requested"
    assert scene.core.state.claims == {}


def test_a_machine_that_is_good_is_not_handed_over_when_somebody_has_changed_its_record(scene: CoreScene) -> None:
    scene.put(request())
    (node_id,) = scene.children(paths.NODES)
    scene.tell(CreateEnded("cloud", node_id, 1, "server-1", None, scene.now))
    server = Server(
        "server-1", ServerState.ACTIVE, {NODE_TAG: node_id, PROVIDER_TAG: "cloud"}, interface_ip="192.0.2.1"
    )
    scene.now += 1
    scene.tell(ServersListed("cloud", (server,), None, scene.now, scene.now))
    scan = scene.last(StartScan)
    # Both are news at once; whatever is looked at first, the node is not ready.
    scene.write(scene.storing(node(int(node_id), NodeState.USED, allocated_to=request().id)))
    scene.tell(ScanEnded(scan.request.key, ScanResult(scan.request.key, ("ssh-ed25519 AAAA",))))
    assert scene.node(node_id)["state"] == "deleting"
    assert scene.request(request().id)["state"] != "fulfilled"
    assert scene.complaints() == []


def test_a_refused_transaction_is_decided_anew_as_soon_as_there_is_news(scene: CoreScene) -> None:
    revised = request(relative_priority=3)
    scene.before[Purpose.TAKE] = lambda: scene.write(scene.storing(revised))
    scene.put(request())
    assert Purpose.TAKE not in scene.before
    assert scene.request(revised.id)["state"] == "pending"
    assert scene.request(revised.id)["relative_priority"] == 3


def test_a_request_fails_when_the_last_pool_that_has_not_declined_it_goes(scene: CoreScene) -> None:
    scene.put(STRANGER.replace(supported_labels=("rare",)))
    scene.put(request("rare"))
    assert scene.request(request().id)["state"] == "requested"
    declined = request("rare", declined_by=("us-cloud-main",))
    scene.put(declined)
    scene.others(Delete(f"{paths.components('pool')}/{STRANGER.id}"))
    assert scene.request(request().id)["state"] == "failed"


def test_a_request_that_another_launcher_may_serve_does_not_fail(scene: CoreScene) -> None:
    scene.put(STRANGER.replace(supported_labels=("rare",)))
    scene.put(request("rare", declined_by=("us-cloud-main",)))
    assert scene.request(request().id)["state"] == "requested"
    assert scene.core.state.why_waiting(request().id) is not None


def test_a_request_is_looked_at_when_its_lock_is_free_again(scene: CoreScene) -> None:
    directory = paths.request_lock(request().id)
    scene.write(Create(directory), Create(f"{directory}/{'0' * 32}__lock__0000000000"))
    scene.put(request())
    assert scene.request(request().id)["state"] == "requested"
    scene.others(Delete(f"{directory}/{'0' * 32}__lock__0000000000"))
    assert scene.request(request().id)["state"] == "pending"


def test_a_request_is_looked_at_when_others_use_less_of_the_quota(scene: CoreScene) -> None:
    scene.core.state.clouds["cloud"].strays = {"0000000099": Resources(instances=10)}
    scene.put(request("small", "small"))
    assert scene.core.state.why_waiting(request().id) is WaitReason.AT_PROVIDER_QUOTA
    scene.tell(ServersListed("cloud", (), None, scene.now + 1, scene.now + 1))
    assert scene.request(request().id)["state"] == "pending"


def test_room_is_made_in_other_pools_when_the_quota_is_used_up() -> None:
    cloud = provider(pool_settings("main"), pool_settings("other", ["spare"]))
    scene = CoreScene(setup_of(cloud, labels={}))
    for number in range(10):
        scene.put(node(number, pool="other", type=("spare",)))
    scene.put(request())
    assert [scene.node(one)["state"] for one in scene.children(paths.NODES)].count("deleting") == 1


@pytest.mark.parametrize("labels", [("big", "big"), ("small", "big")], ids=["of no use to it", "of use to it"])
def test_nothing_is_removed_for_a_request_that_held_nodes_leave_no_room_for(
    scene: CoreScene, labels: tuple[str, str]
) -> None:
    for record in (node(100, NodeState.HOLD), node(101, NodeState.HOLD), node(102)):
        scene.put(record)
    scene.put(request(*labels))
    scene.wait(30)
    assert scene.core.state.why_waiting(request().id) is WaitReason.AT_POOL_LIMIT
    assert scene.node(node(102).id)["state"] == "ready"


def test_no_room_is_made_while_all_idle_nodes_would_not_be_enough(scene: CoreScene) -> None:
    used = [node(number, NodeState.IN_USE) for number in (100, 101)]
    for record in used:
        lock = paths.node_lock(record.id)
        scene.others(scene.storing(record), Create(lock), Create(f"{lock}/client"))
    scene.put(node(102))
    scene.put(request("big", "big"))
    assert scene.node(node(102).id)["state"] == "ready"
    lock = paths.node_lock(used[0].id)
    scene.others(scene.storing(used[0].in_state(NodeState.USED, scene.now)), Delete(f"{lock}/client"))
    scene.wait(2.0)
    assert scene.node(node(102).id)["state"] == "deleting"


def test_a_list_that_fails_at_first_is_asked_for_again(scene: CoreScene) -> None:
    scene.core.state.clouds["cloud"].list_began = 0.0
    asked = len(scene.asked)
    scene.tell(ServersListed("cloud", (), QuotaExceeded("no"), scene.now, scene.now))
    assert any(isinstance(one, ListServers) for one in scene.asked[asked:])


# Stock


def test_stock_is_asked_for_only_as_far_as_there_is_room() -> None:
    scene = CoreScene(setup_of(CLOUD, labels={"small": LabelRule(min_ready=5)}))
    asked = [scene.request(one) for one in scene.children(paths.REQUESTS)]
    assert [one["requestor"] for one in asked] == [MIN_READY_REQUESTOR] * 3
    assert {one["state"] for one in asked} == {"pending"}


def test_stock_is_not_asked_for_where_a_request_waits_for_room() -> None:
    labels = {"small": LabelRule(min_ready=1), "big": LabelRule()}
    cloud = provider(pool_settings(limits={"instances": 2}))
    scene = CoreScene(setup_of(cloud, labels={name: LabelRule() for name in labels}))
    in_use = node(100, NodeState.IN_USE)
    directory = paths.node_lock(in_use.id)
    scene.others(scene.storing(in_use), Create(directory), Create(f"{directory}/{'0' * 32}__lock__0000000000"))
    scene.put(request("big", "big"))
    scene.wait(20)
    assert scene.core.state.crowded == {"us-cloud-main"}
    scene.core.state.setup = setup_of(cloud, labels=labels)
    scene.core.state.dirty.add("min-ready")
    scene.wait(1)
    assert scene.children(paths.REQUESTS) == (request().id,)


# Registered hosts

HOST = StaticHost("host", ("small",), checked=False)


def test_a_registration_of_unknown_outcome_is_not_made_twice() -> None:
    scene = CoreScene(setup_of(static_provider()))
    static = setup_of(static_provider(HOST))
    scene.lost.add(Purpose.REGISTER)
    scene.before[Purpose.REGISTER] = lambda: setattr(scene, "news_held", True)
    scene.core.state.setup = static
    scene.core.state.dirty.add(("stock", "static"))
    scene.wait(30)
    assert len(scene.children(paths.NODES)) == 1
    scene.news_held = False
    scene.wait(30)
    assert len(scene.children(paths.NODES)) == 1
    assert len(scene.children(paths.election("static-static"))) == 1


def test_a_host_that_does_not_answer_stays_when_it_was_given_away_meanwhile() -> None:
    scene = CoreScene(setup_of(static_provider(StaticHost("host", ("small",)))))
    scan = scene.last(StartScan)
    scene.tell(ScanEnded(scan.request.key, ScanResult(scan.request.key, ("ssh-ed25519 AAAA",), address="192.0.2.1")))
    (node_id,) = scene.children(paths.NODES)
    scene.put(request())
    probe = scene.last(StartScan)
    assert probe.request.key == ("probe", node_id)
    record = scene.node(node_id)
    given = node(int(node_id), provider="static", type=("small",), allocated_to="200-0000000009", hostname="host")
    assert record["state"] == "ready"
    other = request(number=9, state=RequestState.FULFILLED, nodes=(node_id,))
    scene.others(scene.storing(other), scene.storing(given))
    failed = ScanResult(probe.request.key, failure=ScanFailure.REFUSED, detail="no")
    scene.tell(ScanEnded(probe.request.key, failed))
    assert scene.node(node_id)["state"] == "ready"


def test_a_request_keeps_its_host_while_that_is_looked_at() -> None:
    scene = CoreScene(setup_of(static_provider(StaticHost("host", ("small",)))))
    scan = scene.last(StartScan)
    scene.tell(ScanEnded(scan.request.key, ScanResult(scan.request.key, ("ssh-ed25519 AAAA",), address="192.0.2.1")))
    scene.put(request())
    scene.put(request(number=2, created_time=NOW + 1))
    assert scene.core.state.crowded == {"us-static-main"}
    probe = scene.last(StartScan)
    scene.tell(ScanEnded(probe.request.key, ScanResult(probe.request.key, address="192.0.2.1")))
    assert scene.request(request().id)["state"] == "fulfilled"
    assert scene.request(request(number=2).id)["state"] == "requested"
