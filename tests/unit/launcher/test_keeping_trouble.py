"""Failed machines that are held for study, with whatever may come in between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nodepool.daemon.events import Configured, SessionChanged
from nodepool.daemon.instructions import Commit
from nodepool.driver.errors import BadLabel
from nodepool.driver.readycheck.request import CheckResult
from nodepool.launcher.events import CheckEnded, Stopping
from nodepool.launcher.instructions import Purpose, StartCheck
from nodepool.launcher.lifecycle import Phase
from nodepool.launcher.setup import ProviderSetup
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState
from nodepool.zk import paths
from nodepool.zk.store import Connection, Delete, SessionChange
from tests.unit.launcher.launch_scene import LaunchScene, cloud_of, configured
from tests.unit.launcher.parts import node, request
from tests.unit.launcher.test_keeping import FAILS, scene_with, states


@pytest.fixture
def scene() -> LaunchScene:
    """Enough room."""
    return scene_with()


def test_a_refused_transaction_is_decided_anew(scene: LaunchScene) -> None:
    """The node's record has changed under our lock, as Jenkins does."""
    node_id = scene.reach(Phase.CHECKING)

    def interfere() -> None:
        record = scene.core.state.mirror.node(node_id)
        assert record is not None
        scene.write(scene.storing(record.replace(comment="by hand")))

    scene.before[Purpose.KEEP] = interfere
    scene.answer_check("no network")
    scene.wait(1.0)
    assert states(scene)[node_id] == "hold"
    assert len(states(scene)) == 2


def test_a_node_that_somebody_else_has_taken_away_is_not_held(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.CHECKING)
    scene.before[Purpose.KEEP] = lambda: scene.write(scene.storing(node(int(node_id), NodeState.USED)))
    scene.answer_check("no network")
    scene.wait(1.0)
    assert states(scene)[node_id] == "deleting"
    assert scene.request(request().id)["state"] in ("requested", "pending")
    assert scene.complaints() == []


@pytest.mark.parametrize("news_held", [True, False])
def test_an_unknown_outcome_never_harms_a_machine_that_may_be_held(scene: LaunchScene, news_held: bool) -> None:
    node_id = scene.reach(Phase.CHECKING)
    scene.lost.add(Purpose.KEEP)
    scene.before[Purpose.KEEP] = lambda: setattr(scene, "news_held", news_held)
    scene.answer_check("no network")
    # By what is known now, there is no room to hold it.
    scene.core.state.clouds["cloud"].limits = Resources.limit({"instances": 1})
    scene.wait(30.0)
    scene.news_held = False
    scene.wait(30.0)
    assert states(scene)[node_id] == "hold"
    assert scene.deleted == []
    assert scene.complaints() == []


def test_room_for_the_other_record_is_kept_until_there_is_news_of_it(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.CHECKING)
    scene.lost.add(Purpose.KEEP)
    scene.before[Purpose.KEEP] = lambda: setattr(scene, "news_held", True)
    scene.answer_check("no network")
    scene.wait(10.0)
    assert scene.core.state.planned[node_id].need == Resources(instances=1)
    scene.news_held = False
    scene.tell()
    assert node_id not in scene.core.state.planned


def test_the_request_goes_while_its_machine_is_held(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.CHECKING)
    scene.before[Purpose.KEEP] = lambda: scene.write(Delete(paths.request(request().id)))
    scene.answer_check("no network")
    scene.wait(10.0)
    found = states(scene)
    assert found.pop(node_id) == "hold"
    assert set(found.values()) == {"deleting"}
    assert not scene.core.state.launches
    assert not scene.core.state.claims


def test_the_request_goes_before_its_machine_fails(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.CHECKING)
    check = scene.last(StartCheck).request.key
    scene.others(Delete(paths.request(request().id)))
    scene.tell(CheckEnded(check, CheckResult("no network")))
    assert states(scene)[node_id] == "deleting"


def test_a_machine_whose_removal_has_begun_is_not_held_when_the_request_goes() -> None:
    scene = scene_with({"instances": 1})
    node_id = scene.reach(Phase.KEEPING)
    assert scene.deleted == ["s1"]
    scene.others(Delete(paths.request(request().id)))
    assert states(scene)[node_id] == "deleting"


def test_a_stop_holds_what_has_failed_and_gives_the_request_back() -> None:
    scene = scene_with()
    node_id = scene.reach(Phase.CHECKING)
    scene.tell(CheckEnded(scene.last(StartCheck).request.key, CheckResult("no network")), Stopping())
    scene.wait(10.0)
    assert states(scene).pop(node_id) == "hold"
    assert scene.request(request().id)["state"] == "requested"
    assert scene.core.stopped


def test_a_crash_after_the_transaction_leaves_a_held_node_and_an_orphan(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.CHECKING)

    def die() -> None:
        keep = scene.asked[-1]
        assert isinstance(keep, Commit)
        scene.write(*keep.operations, session=scene.session)
        scene.ensemble.expire(scene.session)

    scene.before[Purpose.KEEP] = die
    scene.answer_check("no network")
    assert sorted(states(scene).values()) == ["hold", "init"]
    heir = LaunchScene(cloud_of(**FAILS), heir_of=scene)
    heir.wait(10.0)
    heir.servers.clear()
    heir.list_servers()
    found = states(heir)
    assert found.pop(node_id) == "hold"
    assert list(found.values()) == ["building"]
    assert heir.request(request().id)["state"] == "pending"


def test_a_session_that_ends_while_a_machine_is_to_be_held_forgets_the_launch(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.CHECKING)
    scene.before[Purpose.KEEP] = lambda: scene.ensemble.expire(scene.session)
    scene.answer_check("no network")
    scene.tell(SessionChanged(SessionChange(Connection.LOST, 0)))
    state = scene.core.state
    assert (state.launches, state.claims, state.planned, state.busy) == ({}, {}, {}, {})
    assert states(scene)[node_id] == "building"
    assert "s1" not in scene.deleted


# Another configuration


def reloaded(scene: LaunchScene, cloud: ProviderSetup) -> str:
    """A machine fails after a change of the configuration; its node."""
    node_id = scene.reach(Phase.CHECKING)
    scene.tell(Configured(configured(cloud)))
    scene.answer_check("no network")
    return node_id


def test_a_launch_goes_on_with_the_settings_it_began_with(scene: LaunchScene) -> None:
    node_id = reloaded(scene, cloud_of())
    assert states(scene)[node_id] == "hold"
    assert scene.node(node_id)["hold_expiration"] == 600


def test_a_label_that_is_gone_leaves_no_room_for_another(scene: LaunchScene) -> None:
    def cost(_pool: str, label: str) -> Resources:
        raise BadLabel(f"there is no label {label}")

    node_id = reloaded(scene, replace(cloud_of(**FAILS), cost=cost))
    assert scene.launch().phase is Phase.RETIRING
    assert states(scene)[node_id] == "building"
    assert scene.complaints() == []


def test_a_pool_that_is_gone_leaves_no_room_for_another(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.CHECKING)
    state = scene.core.state
    state.setup = replace(state.setup, pools={})
    scene.answer_check("no network")
    assert (scene.launch().phase, states(scene)[node_id]) == (Phase.RETIRING, "building")


def test_one_transaction_does_it_all(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.KEEPING)
    (keep,) = (one for one in scene.asked if isinstance(one, Commit) and one.purpose is Purpose.KEEP)
    assert keep.key == ("node", node_id)
    assert [type(one).__name__ for one in keep.operations] == ["Check", "SetData", "Delete", "Create"]
