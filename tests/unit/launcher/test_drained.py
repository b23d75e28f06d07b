"""What a launcher does for a provider that is drained by command, and when it is drained itself."""

from __future__ import annotations

from typing import Any

from nodepool.driver.static.config import StaticHost
from nodepool.launcher.instructions import CreateServer
from nodepool.launcher.setup import LabelRule, Setup
from nodepool.model.reasons import WaitReason
from nodepool.model.states import NodeState
from nodepool.zk import paths
from nodepool.zk.store import Create, Delete
from tests.unit.launcher.core_scene import CoreScene
from tests.unit.launcher.parts import node, pool_settings, provider, registered, request, setup, static_provider

HOST = StaticHost("h1", ("small",))


def drain(scene: CoreScene, kind: str = "provider", name: str = "cloud") -> None:
    if scene.ensemble.read(f"{paths.DRAINED}/{kind}") is None:
        scene.write(Create(f"{paths.DRAINED}/{kind}"))
    scene.others(Create(paths.drained(kind, name)))


def resume(scene: CoreScene, kind: str = "provider", name: str = "cloud") -> None:
    scene.others(Delete(paths.drained(kind, name)))


def creations(scene: CoreScene) -> list[str]:
    return [one.provider for one in scene.asked if isinstance(one, CreateServer)]


def cloud(**changes: Any) -> Setup:
    return setup(provider(pool_settings()), **changes)


def test_a_request_waits_for_the_end_of_it_and_is_served_at_once_then() -> None:
    scene = CoreScene(cloud())
    drain(scene)
    one = request()
    scene.put(one)
    scene.wait(600.0)
    assert creations(scene) == []
    assert scene.request(one.id)["state"] == "requested"
    assert scene.request(one.id)["declined_by"] == []
    assert scene.core.state.why_waiting(one.id) is WaitReason.DRAINED
    resume(scene)
    assert creations(scene) == ["cloud"]


def test_another_provider_serves_it_meanwhile_whatever_its_priority() -> None:
    scene = CoreScene(setup(provider(pool_settings(priority=1)), provider(pool_settings(), name="other")))
    drain(scene)
    scene.put(request())
    assert creations(scene) == ["other"]


def test_its_pools_say_that_they_have_no_room() -> None:
    scene = CoreScene(cloud())
    pool = f"{paths.components('pool')}/us-cloud-main"
    drain(scene)
    assert scene.read(pool)["paused"] is True
    resume(scene)
    assert scene.read(pool)["paused"] is False


def test_what_is_under_way_goes_on() -> None:
    scene = CoreScene(cloud())
    scene.put(request())
    (node_id,) = scene.children(paths.NODES)
    drain(scene)
    scene.wait(10.0)
    assert scene.node(node_id)["state"] == "building"


def test_ready_nodes_that_nobody_has_are_deleted_and_no_others() -> None:
    scene = CoreScene(cloud())
    one = request(number=7, nodes=("0000000002",)).replace(state="fulfilled")
    for record in (one, node(1), node(2, allocated_to=one.id), node(3, NodeState.HOLD)):
        scene.put(record)
    drain(scene)
    scene.wait(10.0)
    assert [scene.node(f"{number:010}").get("state") for number in (1, 2, 3)] == ["deleting", "ready", "hold"]


def test_no_stock_is_kept_until_it_is_over() -> None:
    scene = CoreScene(cloud(labels={"small": LabelRule(min_ready=1)}))
    assert creations(scene) == ["cloud"]
    scene = CoreScene(cloud())
    drain(scene)
    scene.ensemble.expire(scene.session)
    scene = CoreScene(cloud(labels={"small": LabelRule(min_ready=1)}), scene.ensemble)
    assert scene.core.state.working
    scene.wait(60.0)
    assert creations(scene) == []
    resume(scene)
    scene.wait(10.0)
    assert creations(scene) == ["cloud"]


def test_registered_hosts_stay_and_are_not_handed_out() -> None:
    scene = CoreScene(setup(static_provider(HOST)))
    scene.put(registered(HOST, "0000000001"))
    drain(scene, name="static")
    one = request()
    scene.put(one)
    scene.wait(60.0)
    assert scene.core.state.why_waiting(one.id) is WaitReason.DRAINED
    assert scene.node("0000000001")["state"] == "ready"
    resume(scene, name="static")
    assert scene.core.state.why_waiting(one.id) is WaitReason.CHECKING_HOST


def test_a_launcher_that_is_drained_leaves_nodes_to_the_others() -> None:
    scene = CoreScene(cloud())
    scene.put(node(1))
    drain(scene, "launcher", "them")
    drain(scene, "launcher", "us")
    one = request()
    scene.put(one)
    scene.wait(60.0)
    assert scene.core.state.why_waiting(one.id) is WaitReason.DRAINED
    assert scene.node("0000000001")["state"] == "ready"
    resume(scene, "launcher", "us")
    assert scene.request(one.id)["state"] == "fulfilled"
