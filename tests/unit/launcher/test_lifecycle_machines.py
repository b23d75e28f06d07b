"""The way of a node once its server is active: completed, scanned, checked, and held when it fails."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from nodepool.driver import errors
from nodepool.driver.adapter import KeepFailed, LabelSettings, ReadyCheck, Server, ServerState
from nodepool.driver.nodescan import ScanFailure, ScanResult
from nodepool.driver.readycheck.request import CheckResult
from nodepool.launcher import lifecycle
from nodepool.launcher.lifecycle import FINISH_CALLS, Condition, Launch, Phase
from nodepool.model.reasons import LaunchFailure
from tests.unit.launcher.test_lifecycle import CALLED, LAG, LATER, launch, listed, outcome, server

CHECKED = LabelSettings("a", ready_check=ReadyCheck(("true",)))
KEPT = LabelSettings("a", keep_failed=KeepFailed(2, 60.0))
COMPLETE = server(public_ipv4="198.51.100.1")
"""The server as it is when it has been completed."""


def up(phase: Phase, label: LabelSettings = CHECKED, **fields: Any) -> Launch:
    """A launch whose server ``x`` is active."""
    values: dict[str, Any] = {"external_id": "x", "server": server()}
    return replace(launch(phase), label=label, **(values | fields))


def seen(one: Launch, *servers: Server, finished: bool, began: float = LATER) -> Launch:
    """A list, of which an active server is or is not complete."""
    condition = Condition.COMPLETE if finished else Condition.UNFINISHED
    return lifecycle.listed(one, servers, began, lifecycle.Lag(LAG, LAG), lambda _: condition)


# Completion


def test_a_server_that_lacks_something_is_completed_before_it_is_looked_at() -> None:
    one = seen(launch(Phase.BOOTING), server(), finished=False)
    assert (one.phase, one.server, one.finish_calls, one.finish_at) == (Phase.FINISHING, server(), 0, 0.0)


def test_a_server_that_is_still_building_is_not_completed() -> None:
    one = launch(Phase.BOOTING)
    assert seen(one, server(ServerState.BUILDING), finished=False) is one


def test_an_adopted_server_is_completed_as_well() -> None:
    one = seen(launch(Phase.UNCERTAIN), server(external_id="y"), finished=False)
    assert (one.phase, one.external_id) == (Phase.FINISHING, "y")


def test_each_attempt_has_its_own_calls_to_complete_the_server() -> None:
    one = seen(launch(Phase.BOOTING, finish_calls=FINISH_CALLS, finish_at=inf), server(), finished=False)
    assert (one.finish_calls, one.finish_at) == (0, 0.0)


@pytest.mark.parametrize(
    ("label", "phase"),
    [
        (LabelSettings("a"), Phase.SCANNING),
        (CHECKED, Phase.SCANNING),
        (LabelSettings("a", host_key_checking=False), Phase.DONE),
        (replace(CHECKED, host_key_checking=False), Phase.CHECKING),
    ],
)
def test_what_follows_when_the_server_is_complete(label: LabelSettings, phase: Phase) -> None:
    by_list = seen(replace(launch(Phase.BOOTING), label=label), COMPLETE, finished=True)
    by_call = lifecycle.finish_ended(up(Phase.FINISHING, label, finish_calls=1), COMPLETE, None, CALLED)
    assert (by_list.phase, by_list.server) == (by_call.phase, by_call.server) == (phase, COMPLETE)


def test_a_list_without_the_address_does_not_undo_the_completion() -> None:
    one = up(Phase.SCANNING, server=COMPLETE)
    assert seen(one, server(), finished=False) is one


def test_completion_is_tried_again_after_growing_pauses() -> None:
    one, pauses = up(Phase.FINISHING), []
    for call in range(1, FINISH_CALLS):
        one = lifecycle.finish_ended(replace(one, finish_calls=call), None, errors.CloudError("busy"), 500.0)
        pauses.append(one.finish_at - 500.0)
        assert (one.phase, one.detail) == (Phase.FINISHING, "busy")
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    last = lifecycle.finish_ended(replace(one, finish_calls=FINISH_CALLS), None, errors.CloudError("busy"), 500.0)
    assert (*outcome(last), last.detail) == (Phase.RETIRING, LaunchFailure.UNKNOWN, "busy")


@pytest.mark.parametrize(
    ("error", "phase", "failure"),
    [
        (errors.QuotaExceeded("no address"), Phase.ABORTED, LaunchFailure.QUOTA),
        (errors.NotFound("gone"), Phase.RETIRING, LaunchFailure.VANISHED),
        (errors.BadLabel("no network"), Phase.FINISHING, None),
        (errors.UnknownOutcome("?"), Phase.FINISHING, None),
        (errors.RateLimited("slow down"), Phase.FINISHING, None),
    ],
)
def test_errors_of_the_first_call(error: errors.CloudError, phase: Phase, failure: LaunchFailure | None) -> None:
    one = lifecycle.finish_ended(up(Phase.FINISHING, finish_calls=1), None, error, CALLED)
    assert outcome(one) == (phase, failure)


def test_a_bad_label_is_found_by_the_last_call() -> None:
    one = up(Phase.FINISHING, finish_calls=FINISH_CALLS)
    assert outcome(lifecycle.finish_ended(one, None, errors.BadLabel("no network"), CALLED)) == (
        Phase.FAILED,
        LaunchFailure.BAD_LABEL,
    )


@pytest.mark.parametrize("phase", [one for one in Phase if one is not Phase.FINISHING])
def test_a_completion_that_nobody_waits_for_changes_nothing(phase: Phase) -> None:
    one = up(phase)
    assert lifecycle.finish_ended(one, COMPLETE, None, CALLED) is one
    assert lifecycle.finish_ended(one, None, errors.QuotaExceeded("no"), CALLED) is one


def test_a_server_with_the_address_of_another_is_not_looked_at() -> None:
    one = lifecycle.listed(
        launch(Phase.BOOTING), [COMPLETE], LATER, lifecycle.Lag(LAG, LAG), lambda _: Condition.SHARED_ADDRESS
    )
    assert outcome(one) == (Phase.RETIRING, LaunchFailure.ADDRESS)


# The check before use


def test_a_scan_is_followed_by_the_check_with_the_keys_that_were_found() -> None:
    one = lifecycle.scanned(up(Phase.SCANNING), ScanResult("1", ("ssh-rsa AAAA",)))
    assert (one.phase, one.host_keys) == (Phase.CHECKING, ("ssh-rsa AAAA",))
    assert lifecycle.scanned(up(Phase.SCANNING, LabelSettings("a")), ScanResult("1", ("k",))).phase is Phase.DONE


def test_a_machine_that_passes_is_good() -> None:
    assert outcome(lifecycle.checked(up(Phase.CHECKING), CheckResult())) == (Phase.DONE, None)


def test_a_machine_that_does_not_pass_ends_the_attempt_with_what_it_said() -> None:
    one = lifecycle.checked(up(Phase.CHECKING), CheckResult("'true' ended with 1", "no route to host"))
    assert (*outcome(one), one.detail, one.output) == (
        Phase.RETIRING,
        LaunchFailure.CHECK,
        "'true' ended with 1",
        "no route to host",
    )
    assert lifecycle.start_attempt(one, CALLED).output == ""


@pytest.mark.parametrize("phase", [one for one in Phase if one is not Phase.CHECKING])
def test_a_check_that_nobody_waits_for_changes_nothing(phase: Phase) -> None:
    one = up(phase)
    assert lifecycle.checked(one, CheckResult()) is one
    assert lifecycle.checked(one, CheckResult("no")) is one


# Whatever the phase


@pytest.mark.parametrize("phase", [Phase.FINISHING, Phase.SCANNING, Phase.CHECKING])
def test_a_server_may_vanish_while_it_is_looked_at(phase: Phase) -> None:
    one = up(phase)
    assert listed(one, server()) is one
    assert listed(one, began=CALLED + LAG) is one
    assert outcome(listed(one)) == (Phase.RETIRING, LaunchFailure.VANISHED)


@pytest.mark.parametrize("phase", [Phase.FINISHING, Phase.CHECKING])
def test_looks_at_machines_end_with_the_attempt(phase: Phase) -> None:
    one = up(phase)
    assert lifecycle.expired(one, one.deadline - 0.1) is one
    assert outcome(lifecycle.expired(one, one.deadline)) == (Phase.RETIRING, LaunchFailure.TIMEOUT)


def test_holding_a_machine_has_no_deadline() -> None:
    one = up(Phase.KEEPING, KEPT)
    assert lifecycle.expired(one, inf) is one


@pytest.mark.parametrize("servers", [(), (server(),), (server(ServerState.ERROR),)])
def test_a_list_changes_nothing_about_what_is_to_be_held(servers: tuple[Server, ...]) -> None:
    one = up(Phase.KEEPING, KEPT)
    assert listed(one, *servers) is one


# Which failures are held


@pytest.mark.parametrize(
    ("failure", "phase"),
    [
        (LaunchFailure.STATUS, Phase.KEEPING),
        (LaunchFailure.KEYSCAN, Phase.KEEPING),
        (LaunchFailure.CHECK, Phase.KEEPING),
        (LaunchFailure.TIMEOUT, Phase.KEEPING),
        (LaunchFailure.CAPACITY, Phase.RETIRING),
        (LaunchFailure.VANISHED, Phase.RETIRING),
        (LaunchFailure.UNKNOWN, Phase.RETIRING),
        (LaunchFailure.IMAGE, Phase.RETIRING),
        (LaunchFailure.QUOTA, Phase.ABORTED),
        (LaunchFailure.BAD_LABEL, Phase.FAILED),
    ],
)
def test_failures_that_a_machine_tells_something_about_are_held(failure: LaunchFailure, phase: Phase) -> None:
    one = lifecycle.attempt_failed(up(Phase.CHECKING, KEPT), failure, "")
    assert one.phase is phase
    assert one.failing


def test_nothing_is_held_without_a_machine() -> None:
    one = lifecycle.attempt_failed(up(Phase.UNCERTAIN, KEPT, external_id=None), LaunchFailure.TIMEOUT, "")
    assert one.phase is Phase.RETIRING


@pytest.mark.parametrize("keep", [None, KeepFailed(0, 60.0)])
def test_nothing_is_held_unless_the_label_says_so(keep: KeepFailed | None) -> None:
    one = lifecycle.attempt_failed(up(Phase.CHECKING, replace(KEPT, keep_failed=keep)), LaunchFailure.CHECK, "")
    assert one.phase is Phase.RETIRING
    assert not lifecycle.is_worth_keeping(one)


def test_the_last_attempt_ends_and_its_machine_is_worth_keeping() -> None:
    one = lifecycle.attempt_failed(up(Phase.SCANNING, KEPT, attempt=3), LaunchFailure.KEYSCAN, "")
    assert one.phase is Phase.FAILED
    assert lifecycle.is_worth_keeping(one)


def test_a_machine_whose_removal_was_asked_for_is_not_worth_keeping() -> None:
    one = up(Phase.RETIRING, KEPT, failure=LaunchFailure.CHECK, delete_called=CALLED)
    assert not lifecycle.is_worth_keeping(one)
    assert not lifecycle.is_worth_keeping(lifecycle.expired(one, one.deadline))


def test_a_failed_scan_of_a_label_that_holds_its_failures() -> None:
    result = ScanResult("1", failure=ScanFailure.NO_BANNER, detail="mute")
    assert outcome(lifecycle.scanned(up(Phase.SCANNING, KEPT), result)) == (Phase.KEEPING, LaunchFailure.KEYSCAN)


# Attempts


def test_extra_attempts_come_on_top_of_the_retries() -> None:
    one = up(Phase.CHECKING, attempt=3, extra_attempts=6)
    assert one.most_attempts == 9
    assert lifecycle.checked(one, CheckResult("no")).phase is Phase.RETIRING
    assert lifecycle.checked(replace(one, attempt=9), CheckResult("no")).phase is Phase.FAILED


def test_nothing_of_the_failed_machine_is_known_to_the_next_attempt() -> None:
    one = listed(up(Phase.RETIRING, failure=LaunchFailure.CHECK))
    assert (one.phase, one.external_id, one.server) == (Phase.PREPARED, None, None)
