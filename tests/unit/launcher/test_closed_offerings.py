"""What the cloud has no machines of, or cannot make as it is configured: left alone for a while, and tried again."""

from __future__ import annotations

from dataclasses import replace

from nodepool.daemon.events import Configured
from nodepool.driver.errors import BadLabel, NoCapacity
from nodepool.launcher.launches import BROKEN_FOR
from nodepool.model.reasons import WaitReason
from nodepool.model.request import NodeRequest
from nodepool.model.resources import Resources
from tests.unit.launcher.launch_scene import LaunchScene, cloud_of, configured
from tests.unit.launcher.parts import node, request


def state_of_request(scene: LaunchScene) -> str:
    """The request's state."""
    return str(scene.request(request().id)["state"])


def test_a_kind_that_is_not_to_be_had_is_left_alone_until_one_request_tries() -> None:
    scene = LaunchScene(cloud_of(provider_launch_retries=1))
    scene.put(request())
    scene.refuse(NoCapacity("none"))
    assert state_of_request(scene) == "failed"
    second, third, big = request(number=2), request(number=3), request("big", number=4)
    for one in (second, third, big):
        scene.put(one)

    def state(one: NodeRequest) -> str:
        return str(scene.request(one.id)["state"])

    assert [state(one) for one in (second, third, big)] == ["requested", "requested", "pending"]
    assert scene.core.state.why_waiting(second.id) is WaitReason.NO_CAPACITY
    scene.wait(14.0)
    assert state(second) == "requested"
    scene.wait(2.0)
    assert [state(one) for one in (second, third)] == ["pending", "requested"]
    scene.create("s2")
    scene.activate("s2")
    assert state(third) == "pending"


def test_a_label_that_the_cloud_called_broken_is_tried_again_after_a_while() -> None:
    scene = LaunchScene(cloud_of())
    scene.put(request())
    scene.refuse(BadLabel("no such network"))
    assert state_of_request(scene) == "failed"
    scene.put(request(number=2))
    assert scene.request(request(number=2).id)["state"] == "failed"
    scene.wait(BROKEN_FOR + 1)
    scene.put(request(number=3))
    assert scene.request(request(number=3).id)["state"] == "pending"


def test_a_new_configuration_gives_a_broken_label_another_chance() -> None:
    scene = LaunchScene(cloud_of())
    scene.put(request())
    scene.refuse(BadLabel("no such network"))
    scene.tell(Configured(configured(cloud_of())))
    scene.put(request(number=2))
    assert scene.request(request(number=2).id)["state"] == "pending"


def test_what_nodes_cost_is_known_anew_with_the_first_limits() -> None:
    known: list[bool] = []

    def cost(_pool: str, _label: str) -> Resources:
        return Resources(instances=1, cores=4) if known else Resources(instances=1)

    scene = LaunchScene(replace(cloud_of(), cost=cost))
    scene.put(node(100))
    scene.core.state.clouds["cloud"].limits = None
    assert scene.core.state.index.used("cloud")["cores"] == 0
    known.append(True)
    scene.read_limits(Resources.limit({"cores": 8}))
    assert scene.core.state.index.used("cloud")["cores"] == 4
