"""What the launcher does and says while a provider does not answer."""

from __future__ import annotations

import pytest

from nodepool.daemon.events import SessionChanged
from nodepool.daemon.instructions import Level, Say
from nodepool.driver.breaker import MOST_FAILURES, Circuit, Health
from nodepool.driver.errors import CloudError, NotBegun
from nodepool.launcher.clouds import Cloud
from nodepool.launcher.events import CreateEnded, HealthChanged, LimitsRead, ServersListed
from nodepool.launcher.instructions import CancelCreate, CreateServer, ReadLimits
from nodepool.model.reasons import WaitReason
from nodepool.model.resources import Resources
from nodepool.zk import paths
from nodepool.zk.store import Connection, Delete, SessionChange
from tests.unit.launcher.core_scene import CoreScene
from tests.unit.launcher.parts import NOW, pool_settings, provider, request, setup

LOGGER = "nodepool.StateMachineProvider.cloud"


def scene_of(*names: str) -> CoreScene:
    return CoreScene(setup(*(provider(pool_settings(), name=name) for name in names or ("cloud",))))


def away(scene: CoreScene, error: str = "connection refused", **more: object) -> HealthChanged:
    """The provider does not answer since now."""
    health = Health(Circuit.OPEN, scene.now, error, scene.now + 1.0, **more)  # type: ignore[arg-type]
    return HealthChanged("cloud", health)


def back(scene: CoreScene) -> HealthChanged:
    return HealthChanged("cloud", Health(Circuit.CLOSED, scene.now))


def said(scene: CoreScene, level: Level = Level.WARNING) -> list[str]:
    """What the provider's log says."""
    asked = [one for one in scene.asked if isinstance(one, Say)]
    return [one.message for one in asked if one.level is level and one.logger == LOGGER]


def creations(scene: CoreScene) -> list[str]:
    return [one.provider for one in scene.asked if isinstance(one, CreateServer)]


def test_nothing_is_made_while_a_provider_is_away_and_everything_afterwards() -> None:
    scene = scene_of()
    scene.tell(away(scene))
    one = request()
    scene.put(one)
    assert creations(scene) == []
    assert scene.core.state.why_waiting(one.id) is WaitReason.CLOUD_AWAY
    scene.wait(300.0)
    assert scene.request(one.id)["state"] == "requested"
    scene.tell(back(scene))
    assert creations(scene) == ["cloud"]


def test_another_provider_serves_meanwhile() -> None:
    scene = scene_of("cloud", "other")
    scene.tell(away(scene))
    for number in range(1, 4):
        scene.put(request(number=number))
    assert creations(scene) == ["other"] * 3


def test_stock_waits_too() -> None:
    scene = scene_of()
    scene.tell(away(scene))
    one = request(requestor="NodePool:min-ready")
    scene.put(one)
    assert scene.request(one.id)["state"] == "requested"
    assert scene.request(one.id)["declined_by"] == []


def test_an_outage_is_two_lines_in_the_log() -> None:
    scene = scene_of()
    scene.tell(away(scene, "GET /servers: HTTP 503"))
    for number in range(5):
        scene.wait(10.0)
        scene.tell(HealthChanged("cloud", Health(Circuit.HALF_OPEN, NOW, "HTTP 503")))
        scene.tell(HealthChanged("cloud", Health(Circuit.OPEN, NOW, f"HTTP {500 + number}", scene.now + 10.0)))
    assert scene.core.state.clouds["cloud"].health.next_try == scene.now + 10.0
    scene.tell(back(scene))
    assert said(scene) == [
        "Provider cloud does not answer: GET /servers: HTTP 503; it is tried again in 1 s, then after growing pauses",
        "Provider cloud answers again after 50 s",
    ]


def test_what_is_wrong_with_the_configuration_is_told_anew_when_it_is_something_else() -> None:
    scene = scene_of()
    for error in ("no such cloud", "no such cloud", "no such region"):
        scene.tell(away(scene, error, misconfigured=True))
    assert len(said(scene)) == 2
    assert said(scene)[1].endswith("now for another reason: no such region")


def test_a_pause_that_the_cloud_asks_for_is_told_once() -> None:
    scene = scene_of()
    for _ in range(5):
        scene.tell(HealthChanged("cloud", Health(paused_until=scene.now + 3.0, pause_error="HTTP 429")))
        scene.wait(4.0)
    assert len(said(scene)) == 1
    assert "wants fewer calls: HTTP 429; pausing for 3 s" in said(scene)[0]
    scene.wait(120.0)
    scene.tell(HealthChanged("cloud", Health(paused_until=scene.now + 3.0, pause_error="HTTP 429")))
    assert len(said(scene)) == 2


@pytest.mark.parametrize("what", ["limits", "servers"])
def test_what_alone_cannot_be_read_is_told_once_when_it_lasts(what: str) -> None:
    def answer(error: CloudError | None) -> LimitsRead | ServersListed:
        if what == "limits":
            return LimitsRead("cloud", None if error else Resources.limit({"instances": 10}), error)
        return ServersListed("cloud", (), error, scene.now, scene.now)

    scene = scene_of()
    for number in range(3 * MOST_FAILURES):
        assert len(said(scene)) == int(number >= MOST_FAILURES)
        scene.tell(answer(CloudError("HTTP 500")))
    scene.tell(answer(None))
    assert said(scene) == [
        f"The {what} of provider cloud cannot be read: HTTP 500",
        f"The {what} of provider cloud can be read again",
    ]


def test_a_provider_that_has_never_answered_is_told_at_once_and_once() -> None:
    scene = scene_of()
    scene.core.state.clouds["cloud"] = Cloud()
    scene.tell(LimitsRead("cloud", None, CloudError("connection refused")))
    assert said(scene) == ["The limits of provider cloud cannot be read: connection refused"]
    scene.tell(ServersListed("cloud", (), CloudError("connection refused"), scene.now, scene.now))
    assert len(said(scene)) == 1


def test_limits_that_could_not_be_read_are_read_when_the_provider_is_back() -> None:
    scene = scene_of()
    scene.tell(LimitsRead("cloud", None, CloudError("HTTP 500")), away(scene))
    before = sum(isinstance(one, ReadLimits) for one in scene.asked)
    scene.tell(back(scene))
    assert sum(isinstance(one, ReadLimits) for one in scene.asked) == before + 1


# Creations that were not begun


def test_a_creation_that_waits_too_long_gives_its_request_back_at_no_cost() -> None:
    scene = scene_of()
    one = request()
    scene.put(one)
    order = scene.last(CreateServer)
    scene.tell(away(scene))
    error = NotBegun("provider cloud does not answer")
    scene.tell(CreateEnded("cloud", order.order.node_id, order.attempt, None, error, scene.now))
    record = scene.request(one.id)
    assert (record["state"], record["declined_by"]) == ("requested", [])
    assert scene.core.state.creating == set()
    assert scene.core.state.why_waiting(one.id) is WaitReason.CLOUD_AWAY
    assert scene.core.state.clouds["cloud"].ceilings == {}, "nobody refused anything"
    scene.tell(back(scene))
    assert len(creations(scene)) == 2
    assert scene.last(CreateServer).attempt == 1


def test_another_provider_takes_over_what_was_given_back() -> None:
    scene = scene_of("cloud", "other")
    scene.put(request())
    order = scene.last(CreateServer)
    first, second = order.provider, ({"cloud", "other"} - {order.provider}).pop()
    health = Health(Circuit.OPEN, scene.now, "connection refused", scene.now + 1.0)
    scene.tell(HealthChanged(first, health))
    scene.tell(CreateEnded(first, order.order.node_id, order.attempt, None, NotBegun("away"), scene.now))
    assert creations(scene) == [first, second]


def test_a_launch_that_nobody_wants_any_more_takes_its_creation_back() -> None:
    scene = scene_of()
    one = request()
    scene.put(one)
    order = scene.last(CreateServer)
    node_id = order.order.node_id
    scene.others(Delete(paths.request(one.id)))
    assert scene.last(CancelCreate) == CancelCreate("cloud", node_id, 1)
    assert scene.core.state.creating == {node_id}
    scene.tell(CreateEnded("cloud", node_id, 1, None, NotBegun("nobody wants it any more"), scene.now))
    assert scene.core.state.creating == set()
    scene.wait(1.0)
    scene.tell(ServersListed("cloud", (), None, scene.now, scene.now))
    assert scene.children(paths.NODES) == ()


def test_a_lost_session_takes_all_creations_back() -> None:
    scene = scene_of()
    scene.put(request())
    node_id = scene.last(CreateServer).order.node_id
    scene.tell(SessionChanged(SessionChange(Connection.LOST, scene.session)))
    assert scene.last(CancelCreate) == CancelCreate("cloud", node_id, 1)


def test_a_creation_that_ended_is_not_taken_back() -> None:
    scene = scene_of()
    one = request()
    scene.put(one)
    order = scene.last(CreateServer)
    scene.tell(CreateEnded("cloud", order.order.node_id, order.attempt, "x", None, scene.now))
    scene.others(Delete(paths.request(one.id)))
    assert not any(isinstance(asked, CancelCreate) for asked in scene.asked)
