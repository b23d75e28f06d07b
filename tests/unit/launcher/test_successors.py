"""A record that goes on when the server of a failed attempt does not go."""

from __future__ import annotations

import pytest

from nodepool.driver.adapter import ServerState
from nodepool.launcher.events import DeleteEnded
from nodepool.launcher.launches import STUCK
from nodepool.launcher.lifecycle import Phase
from tests.unit.launcher.launch_scene import LaunchScene
from tests.unit.launcher.parts import pool_settings, provider, request


def scene_with(most: int) -> LaunchScene:
    """A pool with room for so many nodes, whose first server has failed and does not go."""
    scene = LaunchScene(provider(pool_settings(limits={"instances": most})))
    scene.reach(Phase.BOOTING)
    scene.change("s1", state=ServerState.ERROR, fault_text="no")
    scene.change("s1", state=ServerState.DELETING)
    assert scene.launch().phase is Phase.RETIRING
    return scene


@pytest.fixture
def scene() -> LaunchScene:
    return scene_with(3)


def test_another_node_takes_its_place(scene: LaunchScene) -> None:
    stuck = scene.launch().node_id
    scene.wait(STUCK - 5)
    scene.list_servers()
    assert scene.launch().node_id == stuck
    scene.wait(5)
    scene.list_servers()
    launch = scene.launch()
    assert launch.node_id != stuck
    assert (launch.attempt, launch.phase) == (2, Phase.CREATING)
    assert (scene.node(stuck)["state"], scene.node(stuck)["allocated_to"]) == ("deleting", None)
    successor = scene.create("s2")
    scene.activate("s2")
    scene.answer_scan()
    served = scene.request(request().id)
    assert (served["state"], served["nodes"]) == ("fulfilled", [successor])


def test_the_sweep_goes_on_with_the_old_one_until_it_is_gone(scene: LaunchScene) -> None:
    stuck = scene.launch().node_id
    scene.wait(STUCK)
    scene.list_servers()
    assert scene.core.state.deletions.keys() == {stuck}
    scene.tell(DeleteEnded("cloud", stuck, "s1", None, scene.now))
    scene.vanish("s1")
    scene.list_servers()
    assert stuck not in scene.core.state.mirror.nodes


def test_without_room_for_both_it_is_waited_for() -> None:
    scene = scene_with(1)
    stuck = scene.launch().node_id
    scene.wait(STUCK)
    scene.list_servers()
    assert scene.launch().node_id == stuck
    assert scene.launch().phase is Phase.RETIRING


def test_no_list_is_awaited_for_a_launch_that_is_over(scene: LaunchScene) -> None:
    stuck = scene.launch().node_id
    assert scene.core.state.clouds["cloud"].waiting == {stuck}
    scene.core.state.remove_launch(stuck)
    assert scene.core.state.clouds["cloud"].waiting == set()
