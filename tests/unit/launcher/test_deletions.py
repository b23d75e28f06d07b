"""Deletions of nodes: each server is asked to go until a list shows that it has gone."""

from __future__ import annotations

import pytest

from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG, Server, ServerState
from nodepool.driver.errors import CloudError, UnknownOutcome
from nodepool.launcher.events import DeleteEnded, ServersListed
from nodepool.launcher.instructions import DeleteServer
from nodepool.launcher.setup import LabelRule
from nodepool.model.states import NodeState
from nodepool.zk import paths
from tests.unit.launcher.core_scene import CoreScene
from tests.unit.launcher.parts import node, pool_settings, provider
from tests.unit.launcher.parts import setup as setup_of


@pytest.fixture
def scene() -> CoreScene:
    """A used node whose server is alive."""
    scene = CoreScene(setup_of(provider(pool_settings()), labels={"small": LabelRule()}))
    scene.put(node(1, NodeState.USED, external_id="s"))
    return scene


def shown(scene: CoreScene, *states: ServerState) -> None:
    """A list shows the server, or nothing."""
    tags = {NODE_TAG: node(1).id, PROVIDER_TAG: "cloud"}
    servers = tuple(Server("s", state, tags) for state in states)
    scene.tell(ServersListed("cloud", servers, None, scene.now, scene.now))


def calls(scene: CoreScene) -> int:
    """How often the server was asked to go."""
    return sum(isinstance(one, DeleteServer) for one in scene.asked)


def ended(scene: CoreScene, error: CloudError | None = None) -> None:
    """The call that is under way ends."""
    scene.tell(DeleteEnded("cloud", node(1).id, "s", error, scene.now))


def test_a_deletion_that_the_cloud_carries_out_takes_one_call(scene: CoreScene) -> None:
    assert calls(scene) == 1
    ended(scene)
    for _ in range(25):
        scene.wait(1)
        shown(scene, ServerState.DELETING)
    assert calls(scene) == 1
    shown(scene)
    assert scene.children(paths.NODES) == ()


def test_a_deletion_that_the_cloud_fails_at_is_tried_again_for_ever_once_a_minute_at_least(scene: CoreScene) -> None:
    times: list[int] = []
    ended(scene, CloudError("no"))
    for second in range(1, 300):
        before = calls(scene)
        scene.wait(1)
        shown(scene, ServerState.ACTIVE)
        if calls(scene) > before:
            times.append(second)
            ended(scene, CloudError("no"))
    assert times == [1, 3, 7, 15, 31, 63, 123, 183, 243]


def test_a_deletion_that_the_cloud_has_lost_is_asked_for_again_with_growing_pauses(scene: CoreScene) -> None:
    ended(scene)
    times: list[int] = []
    for second in range(1, 1000):
        scene.wait(1)
        shown(scene, ServerState.DELETING)
        if calls(scene) > len(times) + 1:
            times.append(second)
            ended(scene)
    assert times == [30, 90, 210, 450, 750]
    shown(scene)
    assert scene.children(paths.NODES) == ()


def test_a_call_that_failed_is_made_again_soon_unless_the_server_is_on_its_way(scene: CoreScene) -> None:
    scene.now += 0.1
    shown(scene, ServerState.DELETING)
    ended(scene, UnknownOutcome("no answer"))
    scene.wait(5)
    assert calls(scene) == 1
    shown(scene, ServerState.ERROR)
    assert calls(scene) == 2
