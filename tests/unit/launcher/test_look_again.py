"""What a cloud lacks is looked for again soon while somebody wants it, and seldom otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nodepool.driver.errors import BadLabel
from nodepool.launcher.events import CreateEnded, LimitsRead
from nodepool.launcher.instructions import CreateServer, ReadLimits
from nodepool.launcher.session import LIMITS_EVERY, LOOK_AGAIN
from nodepool.launcher.setup import LabelRule
from nodepool.model.resources import Resources
from tests.unit.launcher.core_scene import CoreScene
from tests.unit.launcher.parts import pool_settings, provider, request, setup

LIMITS = Resources.limit({"instances": 10})


def scene_of(labels: tuple[str, ...] = ("small", "broken"), **rules: LabelRule) -> CoreScene:
    return CoreScene(setup(provider(pool_settings(labels=labels)), labels=rules))


def readings(scene: CoreScene) -> int:
    """How often the provider was asked for what it has."""
    return sum(isinstance(one, ReadLimits) for one in scene.asked)


def wait_and_answer(scene: CoreScene, seconds: float, limits: Resources = LIMITS) -> None:
    scene.wait(seconds)
    scene.tell(LimitsRead("cloud", limits, None))


def test_nobody_wants_anything() -> None:
    scene = scene_of()
    scene.wait(LIMITS_EVERY - 1)
    assert readings(scene) == 1


@pytest.mark.parametrize("limits", [LIMITS, Resources.limit({"instances": 0})])
def test_a_request_that_cannot_be_served_is_a_reason_to_look_again_once(limits: Resources) -> None:
    scene = scene_of()
    scene.tell(LimitsRead("cloud", limits, None))
    scene.wait(10.0)
    for number in (1, 2):
        one = request("broken" if limits["instances"] else "small", number=number)
        scene.put(one)
        assert scene.request(one.id)["state"] == "failed"
        scene.wait(5.0)
    assert readings(scene) == 1
    wait_and_answer(scene, LOOK_AGAIN)
    assert readings(scene) == 2
    scene.wait(LIMITS_EVERY / 2)
    assert readings(scene) == 2


def test_what_is_to_be_kept_in_stock_is_always_wanted() -> None:
    scene = scene_of(broken=LabelRule(min_ready=1))
    for _ in range(4):
        wait_and_answer(scene, LOOK_AGAIN + 1)
    assert 4 <= readings(scene) <= 6


def test_a_label_that_the_cloud_refused_may_be_tried_again_after_a_look() -> None:
    scene = scene_of()
    scene.put(request("small"))
    create = scene.last(CreateServer)
    scene.tell(CreateEnded("cloud", create.order.node_id, create.attempt, None, BadLabel("userdata"), scene.now))
    assert scene.request(request().id)["state"] == "failed"
    second = request("small", number=2)
    scene.put(second)
    assert scene.request(second.id)["state"] == "failed"
    wait_and_answer(scene, LOOK_AGAIN)
    third = request("small", number=3)
    scene.put(third)
    assert scene.request(third.id)["state"] == "pending"


def test_what_the_driver_says_itself_is_believed_as_soon_as_it_says_otherwise() -> None:
    broken: list[str] = []

    def cost(_pool: str, label: str) -> Resources:
        if label in broken:
            raise BadLabel("no such image")
        return Resources(instances=1)

    scene = CoreScene(setup(replace(provider(pool_settings()), cost=cost)))
    scene.put(request("small"))
    create = scene.last(CreateServer)
    broken.append("small")
    scene.tell(CreateEnded("cloud", create.order.node_id, create.attempt, None, BadLabel("no such image"), scene.now))
    assert scene.request(request().id)["state"] == "failed"
    broken.clear()
    second = request("small", number=2)
    scene.put(second)
    assert scene.request(second.id)["state"] == "pending"
