"""Ready nodes whose machines have died: they go before anybody gets them, and no other node does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nodepool.daemon.events import SessionChanged
from nodepool.daemon.instructions import Say
from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG, Server, ServerState
from nodepool.driver.errors import CloudError
from nodepool.launcher.events import DeleteEnded, ServersListed
from nodepool.launcher.instructions import DeleteServer, ListServers
from nodepool.launcher.losses import CONFIRMED_AFTER
from nodepool.launcher.setup import LabelRule
from nodepool.model.node import Node
from nodepool.model.reasons import DeleteReason
from nodepool.model.states import NodeState, RequestState
from nodepool.zk import paths
from nodepool.zk.store import Connection, Create, Delete, SessionChange
from tests.unit.launcher.core_scene import CoreScene
from tests.unit.launcher.parts import node, pool_settings, provider, request
from tests.unit.launcher.parts import setup as setup_of

READY = node(1, external_id="s")
OTHERS = Server("other", ServerState.ACTIVE, {})
CLOUD = provider(pool_settings())


@pytest.fixture
def scene() -> CoreScene:
    """A ready node that nobody has."""
    return scene_of(READY)


def scene_of(one: Node, **changes: Any) -> CoreScene:
    """A node of a provider."""
    scene = CoreScene(setup_of(replace(CLOUD, **changes), labels={"small": LabelRule()}))
    scene.put(one)
    return scene


def shown(scene: CoreScene, *states: ServerState, error: CloudError | None = None, late: float = 0.0) -> None:
    """A list shows servers of the node in these states, or none; it began ``late`` seconds ago."""
    tags = {NODE_TAG: READY.id, PROVIDER_TAG: "cloud"}
    servers = (OTHERS, *(Server("s", state, tags) for state in states))
    scene.tell(ServersListed("cloud", () if error else servers, error, scene.now - late, scene.now))


def shown_twice(scene: CoreScene, *states: ServerState) -> None:
    """Two lists show the same, far enough apart."""
    shown(scene, *states)
    scene.wait(CONFIRMED_AFTER)
    shown(scene, *states)


def is_going(scene: CoreScene) -> bool:
    """Whether the node is being removed, or is gone."""
    return scene.node(READY.id).get("state") in ("deleting", None)


@pytest.mark.parametrize("states", [(), (ServerState.ERROR,), (ServerState.DELETING,)], ids=str)
def test_a_ready_node_without_a_living_machine_goes(scene: CoreScene, states: tuple[ServerState, ...]) -> None:
    shown_twice(scene, *states)
    assert is_going(scene)
    assert any(DeleteReason.LOST.value in one.message for one in scene.asked if isinstance(one, Say))
    assert scene.last(DeleteServer).external_id == "s"
    scene.tell(DeleteEnded("cloud", READY.id, "s", None, scene.now))
    scene.wait(1.0)
    shown(scene)
    assert scene.children(paths.NODES) == ()


@pytest.mark.parametrize("state", [ServerState.ACTIVE, ServerState.BUILDING])
def test_one_that_lives_stays(scene: CoreScene, state: ServerState) -> None:
    shown_twice(scene, state)
    shown_twice(scene, ServerState.ERROR, state)
    assert not is_going(scene)


def test_one_list_proves_nothing_but_has_another_made_soon(scene: CoreScene) -> None:
    shown(scene, ServerState.ACTIVE)
    asked = len(scene.asked)
    shown(scene)
    shown(scene)
    assert not is_going(scene)
    scene.wait(CONFIRMED_AFTER)
    assert ListServers("cloud", 0.0) in scene.asked[asked:]
    assert not is_going(scene)


def test_a_list_that_began_too_early_proves_nothing(scene: CoreScene) -> None:
    shown(scene)
    scene.wait(CONFIRMED_AFTER)
    asked = len(scene.asked)
    shown(scene, late=0.1)
    assert not is_going(scene)
    assert ListServers("cloud", 0.0) in scene.asked[asked:]
    shown(scene)
    assert is_going(scene)


def test_it_takes_as_long_as_a_list_may_be_late() -> None:
    scene = scene_of(READY, list_lag=30.0)
    shown_twice(scene)
    assert not is_going(scene)
    scene.wait(30.0 - CONFIRMED_AFTER)
    shown(scene)
    assert is_going(scene)


def test_one_that_was_seen_in_between_begins_anew(scene: CoreScene) -> None:
    shown(scene)
    scene.wait(CONFIRMED_AFTER)
    shown(scene, ServerState.ACTIVE)
    shown(scene)
    assert not is_going(scene)


def test_a_list_that_failed_proves_nothing(scene: CoreScene) -> None:
    shown(scene, error=CloudError("no"))
    scene.wait(CONFIRMED_AFTER)
    shown(scene, error=CloudError("no"))
    shown(scene)
    scene.wait(CONFIRMED_AFTER)
    shown(scene, error=CloudError("no"))
    assert not is_going(scene)


def test_a_lost_session_begins_anew(scene: CoreScene) -> None:
    shown(scene)
    scene.tell(SessionChanged(SessionChange(Connection.LOST, scene.session)))
    assert not scene.core.state.clouds["cloud"].lost


def test_what_lists_do_not_tell_everything_of_stays() -> None:
    scene = scene_of(READY, lists_everything=False)
    shown_twice(scene)
    assert not is_going(scene)


def test_a_node_whose_server_has_no_id_stays() -> None:
    scene = scene_of(node(1))
    shown_twice(scene)
    assert not is_going(scene)


@pytest.mark.parametrize("state", [NodeState.HOLD, NodeState.TESTING])
def test_other_states_are_left_alone(state: NodeState) -> None:
    scene = scene_of(node(1, state, external_id="s"))
    shown_twice(scene)
    assert scene.node(READY.id)["state"] == state.value


def test_a_node_of_a_request_is_left_alone(scene: CoreScene) -> None:
    shown(scene)
    wanted = request(state=RequestState.PENDING)
    lock = f"{paths.request_lock(wanted.id)}"
    scene.others(scene.storing(wanted), Create(lock), Create(f"{lock}/other__lock__", sequence=True))
    scene.put(READY.replace(allocated_to=wanted.id))
    scene.wait(CONFIRMED_AFTER)
    shown(scene)
    shown_twice(scene)
    assert not is_going(scene)


def test_a_node_that_somebody_has_locked_is_left_alone_until_it_is_free(scene: CoreScene) -> None:
    shown(scene)
    scene.wait(CONFIRMED_AFTER)
    directory = paths.node_lock(READY.id)
    scene.write(Create(directory))
    scene.others(contender := Create(f"{directory}/0__lock__0000000000"))
    shown(scene)
    shown_twice(scene)
    assert not is_going(scene)
    scene.others(Delete(contender.path))
    shown_twice(scene)
    assert is_going(scene)


def test_a_node_that_was_given_away_before_our_transaction_stays_so(scene: CoreScene) -> None:
    shown(scene)
    scene.wait(CONFIRMED_AFTER)
    wanted = request(state=RequestState.FULFILLED, nodes=(READY.id,))
    scene.news_held = True
    scene.write(scene.storing(wanted))
    scene.write(scene.storing(READY.replace(allocated_to=wanted.id)))
    shown(scene)
    scene.news_held = False
    scene.tell()
    scene.wait(CONFIRMED_AFTER)
    assert not is_going(scene)
