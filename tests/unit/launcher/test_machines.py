"""Machines that are up: completed, scanned and checked, whatever comes in between."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from nodepool.daemon.events import Configured, SessionChanged
from nodepool.driver.adapter import NODE_TAG, POOL_TAG, PROVIDER_TAG, ReadyCheck, Server, ServerState
from nodepool.driver.errors import CloudError, NotFound, QuotaExceeded
from nodepool.driver.nodescan import ScanFailure, ScanResult
from nodepool.driver.readycheck.request import CheckResult
from nodepool.launcher.ceiling import REST, STEP
from nodepool.launcher.events import CheckEnded, FinishEnded, ScanEnded, Stopping
from nodepool.launcher.instructions import (
    CancelCheck,
    CancelScan,
    CreateServer,
    FinishServer,
    Instruction,
    ReadConsole,
    StartCheck,
    StartScan,
)
from nodepool.launcher.lifecycle import FINISH_CALLS, Phase
from nodepool.launcher.setup import ProviderSetup, Setup
from nodepool.model.reasons import LaunchFailure
from nodepool.model.resources import Resources
from nodepool.zk import paths
from nodepool.zk.store import Connection, Delete, SessionChange
from tests.unit.launcher.launch_scene import ADDRESS, KEYS, LaunchScene, cloud_of, configured
from tests.unit.launcher.parts import node, pool_settings, provider, request

PUBLIC = "198.51.100.7"
CHECK = ReadyCheck(("true", "ip route get 1.1.1.1"), key_file="/key", timeout=30.0)


def has_address(_pool: str, server: Server) -> bool:
    """Servers need a floating address."""
    return server.public_ipv4 is not None


def floating(**label: Any) -> ProviderSetup:
    """A cloud whose servers need a floating address."""
    return replace(cloud_of(**label), is_finished=has_address)


@pytest.fixture
def scene() -> LaunchScene:
    """Servers need an address, and are checked."""
    return LaunchScene(floating(ready_check=CHECK))


def count(scene: LaunchScene, kind: type[Instruction]) -> int:
    """How often something was asked for."""
    return sum(isinstance(one, kind) for one in scene.asked)


def end_finish(scene: LaunchScene, error: CloudError | None = None) -> None:
    """The last call to complete a server ends."""
    asked = scene.last(FinishServer)
    server = None if error else replace(asked.server, public_ipv4=PUBLIC, interface_ip=PUBLIC)
    scene.tell(FinishEnded("cloud", asked.node_id, asked.attempt, server, error))


def state_of_request(scene: LaunchScene) -> str:
    """The request's state."""
    return str(scene.request(request().id)["state"])


# Completion


def test_a_server_is_completed_once_and_its_new_address_is_looked_at(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.FINISHING)
    asked = scene.last(FinishServer)
    assert (asked.node_id, asked.attempt, asked.pool, asked.server) == (node_id, 1, "main", scene.servers["s1"])
    for _ in range(5):
        scene.list_servers()
    assert count(scene, FinishServer) == 1
    end_finish(scene)
    assert scene.last(StartScan).request.host == PUBLIC
    scene.answer_scan()
    scene.answer_check()
    record = scene.node(node_id)
    assert (record["state"], record["interface_ip"], record["public_ipv4"]) == ("ready", PUBLIC, PUBLIC)


def test_a_list_that_lags_behind_does_not_complete_the_server_again(scene: LaunchScene) -> None:
    scene.reach(Phase.FINISHING)
    end_finish(scene)
    scene.list_servers()
    assert scene.launch().phase is Phase.SCANNING
    assert count(scene, FinishServer) == 1


def test_completion_is_tried_again_with_pauses_and_no_timer_is_lost(scene: LaunchScene) -> None:
    scene.reach(Phase.FINISHING)
    for call, pause in enumerate((1.0, 2.0, 4.0, 8.0), start=1):
        assert (count(scene, FinishServer), scene.launch().finish_at) == (call, inf)
        end_finish(scene, CloudError("busy"))
        assert count(scene, FinishServer) == call
        scene.wait(pause - 0.01)
        assert count(scene, FinishServer) == call
        scene.wait(0.02)
    end_finish(scene, CloudError("busy"))
    assert count(scene, FinishServer) == FINISH_CALLS
    assert scene.launch().phase is Phase.RETIRING
    assert scene.deleted == ["s1"]


def test_a_call_that_never_ends_is_given_up_with_the_attempt(scene: LaunchScene) -> None:
    scene.reach(Phase.FINISHING)
    wake = scene.core.next_wake()
    assert wake is not None
    assert wake < inf
    scene.wait(3600.0)
    assert scene.launch().phase is Phase.RETIRING
    end_finish(scene)
    assert scene.launch().phase is Phase.RETIRING


def test_an_answer_about_an_earlier_attempt_is_not_taken_for_this_one(scene: LaunchScene) -> None:
    scene.reach(Phase.FINISHING)
    first = scene.last(FinishServer)
    end_finish(scene, NotFound("gone"))
    scene.vanish("s1")
    scene.create("s2")
    scene.activate("s2")
    assert (scene.launch().phase, scene.launch().attempt) == (Phase.FINISHING, 2)
    scene.tell(FinishEnded("cloud", first.node_id, first.attempt, first.server, None))
    assert scene.launch().phase is Phase.FINISHING


def test_a_quota_without_another_address_gives_the_request_back(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.FINISHING)
    end_finish(scene, QuotaExceeded("no more floating addresses"))
    assert state_of_request(scene) == "requested"
    assert scene.node(node_id)["state"] == "deleting"
    assert scene.deleted == ["s1"]


def test_a_quota_of_addresses_is_no_quota_of_servers() -> None:
    pools = pool_settings(labels=("small",)), pool_settings("plain", labels=("big",))
    scene = LaunchScene(replace(provider(*pools), is_finished=has_address))
    scene.read_limits(Resources.limit({"instances": 10}))
    scene.reach(Phase.FINISHING)
    end_finish(scene, QuotaExceeded("no more floating addresses"))
    before = count(scene, CreateServer)
    scene.put(request("small", number=2))
    assert count(scene, CreateServer) == before, "there is no address for it"
    scene.put(request("big", number=3))
    assert count(scene, CreateServer) == before + 1
    scene.wait(REST + STEP)
    assert count(scene, CreateServer) > before + 1, "there may be one now"


def test_an_address_that_another_machine_has_is_noticed_when_it_was_given() -> None:
    scene = LaunchScene(replace(floating(host_key_checking=False), own_addresses=True))
    scene.reach(Phase.FINISHING)
    tags = {NODE_TAG: "0000000099", PROVIDER_TAG: "cloud", POOL_TAG: "main"}
    scene.servers["other"] = Server("other", ServerState.ACTIVE, tags, interface_ip=PUBLIC, public_ipv4=PUBLIC)
    scene.list_servers()
    end_finish(scene)
    launch = scene.launch()
    assert (launch.phase, launch.failure) == (Phase.RETIRING, LaunchFailure.ADDRESS)
    assert scene.deleted == ["s1"]


def test_a_server_that_is_complete_from_the_start_costs_no_call(scene: LaunchScene) -> None:
    scene.begin()
    scene.change("s1", state=ServerState.ACTIVE, public_ipv4=PUBLIC)
    assert scene.launch().phase is Phase.SCANNING
    assert count(scene, FinishServer) == 0


def test_a_provider_that_is_gone_from_the_configuration_has_nothing_to_complete(scene: LaunchScene) -> None:
    scene.begin()
    scene.core.state.setup = replace(scene.core.state.setup, providers={})
    scene.activate()
    assert scene.launch().phase is Phase.SCANNING


# The check before use


def test_what_a_check_is_asked_for() -> None:
    scene = LaunchScene(cloud_of(ready_check=CHECK, username="tester", connection_port=2222))
    node_id = scene.reach(Phase.CHECKING)
    asked = scene.last(StartCheck).request
    assert (asked.host, asked.port, asked.username) == (ADDRESS, 2222, "tester")
    assert (asked.key, asked.check, asked.host_keys, asked.group) == (("check", node_id, 1), CHECK, KEYS, "cloud")


def test_the_user_of_the_check_goes_before_that_of_the_label() -> None:
    scene = LaunchScene(cloud_of(ready_check=replace(CHECK, username="checker"), username="tester"))
    scene.reach(Phase.CHECKING)
    assert scene.last(StartCheck).request.username == "checker"


def test_a_machine_is_not_handed_over_before_it_has_passed(scene: LaunchScene) -> None:
    node_id = scene.reach(Phase.FINISHING)
    end_finish(scene)
    scene.answer_scan()
    assert (scene.node(node_id)["state"], state_of_request(scene)) == ("building", "pending")
    scene.answer_check()
    assert (scene.node(node_id)["state"], state_of_request(scene)) == ("ready", "fulfilled")


def test_the_next_attempt_is_checked_anew_and_an_old_answer_does_not_count() -> None:
    scene = LaunchScene(cloud_of(ready_check=CHECK))
    scene.reach(Phase.CHECKING)
    old = scene.last(StartCheck).request.key
    scene.answer_check("no network", "first line\nsecond line")
    scene.vanish("s1")
    scene.create("s2")
    scene.activate("s2")
    scene.answer_scan()
    scene.tell(CheckEnded(old, CheckResult()))
    assert scene.launch().phase is Phase.CHECKING
    scene.answer_check()
    assert state_of_request(scene) == "fulfilled"


def test_what_the_check_printed_is_logged_line_by_line() -> None:
    scene = LaunchScene(cloud_of(ready_check=CHECK))
    node_id = scene.reach(Phase.CHECKING)
    scene.answer_check("no network", "first line\nsecond line")
    told = [str(getattr(one, "message", "")) for one in scene.asked]
    assert [one for one in told if one.startswith("Ready-check")] == [
        f"Ready-check of node {node_id}: first line",
        f"Ready-check of node {node_id}: second line",
    ]


def test_the_console_of_a_machine_that_does_not_pass_is_read_if_the_label_says_so() -> None:
    for console_log in (True, False):
        scene = LaunchScene(cloud_of(ready_check=CHECK, console_log=console_log))
        scene.reach(Phase.CHECKING)
        scene.answer_check("no network")
        assert count(scene, ReadConsole) == console_log


def test_a_stale_scan_does_not_end_a_later_look() -> None:
    scene = LaunchScene(cloud_of(ready_check=CHECK))
    node_id = scene.reach(Phase.CHECKING)
    failed = ScanResult(("node", node_id), failure=ScanFailure.CANCELLED)
    scene.tell(ScanEnded(("node", node_id), failed))
    assert scene.launch().phase is Phase.CHECKING


def test_a_check_for_nobody_is_ignored(scene: LaunchScene) -> None:
    scene.tell(CheckEnded(("check", "0000000099", 1), CheckResult()))
    scene.tell(CheckEnded("what", CheckResult()))
    assert scene.complaints() == []


# What comes in between, in each phase

PHASES = [Phase.CREATING, Phase.BOOTING, Phase.FINISHING, Phase.SCANNING, Phase.CHECKING]
EXTERNAL = {Phase.BOOTING, Phase.FINISHING, Phase.SCANNING, Phase.CHECKING}
LOOKS: dict[Phase, type[Instruction]] = {Phase.SCANNING: CancelScan, Phase.CHECKING: CancelCheck}


def at(phase: Phase) -> tuple[LaunchScene, str]:
    """A launch in a phase, and its node."""
    scene = LaunchScene(floating() if phase is Phase.FINISHING else cloud_of(ready_check=CHECK))
    return scene, scene.reach(phase)


def expect_looks_ended(scene: LaunchScene, phase: Phase) -> None:
    """The look at the machine that was under way is ended, and no other."""
    for look in LOOKS.values():
        assert count(scene, look) == (look is LOOKS.get(phase)), look


@pytest.mark.parametrize("phase", PHASES)
def test_a_request_that_goes_takes_the_launch_with_it(phase: Phase) -> None:
    scene, node_id = at(phase)
    scene.others(Delete(paths.request(request().id)))
    assert scene.core.state.launches == {}
    assert scene.node(node_id)["state"] == "deleting"
    assert scene.deleted == (["s1"] if phase in EXTERNAL else [])
    expect_looks_ended(scene, phase)


@pytest.mark.parametrize("phase", PHASES)
def test_a_node_that_somebody_takes_away_is_dropped(phase: Phase) -> None:
    scene, node_id = at(phase)
    scene.put(node(int(node_id), state=scene.core.state.mirror.nodes[node_id].record.state.USED))  # type: ignore[union-attr]
    assert node_id not in scene.core.state.launches
    assert scene.request(request().id)["state"] in ("requested", "pending")
    expect_looks_ended(scene, phase)


@pytest.mark.parametrize("phase", PHASES)
def test_a_stop_gives_the_request_back(phase: Phase) -> None:
    scene, node_id = at(phase)
    scene.tell(Stopping())
    assert scene.core.state.launches == {}
    assert (state_of_request(scene), scene.node(node_id)["state"]) == ("requested", "deleting")
    expect_looks_ended(scene, phase)


@pytest.mark.parametrize("phase", PHASES)
def test_a_lost_session_ends_all_that_is_under_way(phase: Phase) -> None:
    scene, node_id = at(phase)
    asked = len(scene.asked)
    scene.tell(SessionChanged(SessionChange(Connection.LOST, 0)))
    state = scene.core.state
    assert (state.launches, state.claims, state.busy) == ({}, {}, {})
    assert state.launching("cloud") == 0
    assert scene.deleted == []
    assert state.unclaimed == ({node_id: ("cloud", "s1")} if phase in EXTERNAL else {})
    assert not any(isinstance(one, CreateServer | FinishServer | StartScan | StartCheck) for one in scene.asked[asked:])
    expect_looks_ended(scene, phase)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("gone", [False, True])
def test_a_reload_does_not_disturb_a_launch(phase: Phase, gone: bool) -> None:
    scene, node_id = at(phase)
    scene.tell(Configured(Setup() if gone else configured(cloud_of())))
    assert scene.launch().phase is phase
    if phase is Phase.CREATING:
        scene.create("s1")
    if phase in (Phase.CREATING, Phase.BOOTING):
        scene.activate()
    if phase is Phase.FINISHING:
        end_finish(scene)
    if phase is not Phase.CHECKING:
        scene.answer_scan()
    if phase is not Phase.FINISHING:
        scene.answer_check()
    assert (scene.node(node_id)["state"], state_of_request(scene)) == ("ready", "fulfilled")
    assert scene.complaints() == []


@pytest.mark.parametrize("phase", [one for one in PHASES if one is not Phase.CREATING])
def test_a_server_that_vanishes_is_made_anew(phase: Phase) -> None:
    scene, node_id = at(phase)
    scene.vanish("s1")
    scene.list_servers()
    assert (scene.launch().node_id, scene.launch().phase, scene.launch().attempt) == (node_id, Phase.CREATING, 2)
    expect_looks_ended(scene, phase)


@pytest.mark.parametrize("phase", [one for one in PHASES if one is not Phase.CREATING])
def test_a_launch_that_takes_too_long_is_made_anew(phase: Phase) -> None:
    scene, node_id = at(phase)
    scene.wait(3600.0)
    assert (scene.launch().phase, scene.deleted) == (Phase.RETIRING, ["s1"])
    expect_looks_ended(scene, phase)
    scene.vanish("s1")
    assert (scene.launch().node_id, scene.launch().phase) == (node_id, Phase.CREATING)


def test_launches_that_have_ended_leave_no_timer_behind() -> None:
    scene = LaunchScene(cloud_of())
    for number in range(10):
        scene.begin(f"s{number}", number=number, state_time=scene.now)
        scene.activate(f"s{number}")
        scene.answer_scan()
    assert len(scene.children(paths.NODES)) == 10
    assert scene.core.state.launches == {}
    assert len(scene.core.state.timers) < 10


def test_each_launch_has_a_deadline_of_its_own() -> None:
    scene = LaunchScene(cloud_of(provider_launch_timeout=100.0))
    scene.begin("s1")
    scene.wait(20.0)
    second = scene.begin("s2", number=2)
    scene.activate("s1")
    scene.answer_scan()
    assert scene.launch().node_id == second
    scene.wait(98.0)
    assert scene.launch().phase is Phase.BOOTING
    scene.wait(2.0)
    assert scene.launch().phase is Phase.RETIRING
