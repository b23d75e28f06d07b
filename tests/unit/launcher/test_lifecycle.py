"""The way of a node: each phase with each thing that can happen to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nodepool.driver import errors
from nodepool.driver.adapter import ATTEMPT_TAG, LabelSettings, ProviderSettings, Server, ServerState
from nodepool.driver.nodescan import ScanFailure, ScanResult
from nodepool.launcher import lifecycle
from nodepool.launcher.lifecycle import Launch, Phase
from nodepool.model.reasons import LaunchFailure

LIMITS = ProviderSettings("p", {}, launch_retries=3, launch_timeout=100.0)
LABEL = LabelSettings("a")
BEGAN = 1000.0
"""When the first attempt begins."""
CALLED = 1010.0
"""When its call ends."""
LAG = 5.0
LATER = CALLED + LAG + 1
"""A list that began then tells about the call."""


def launch(phase: Phase, attempt: int = 1, **fields: Any) -> Launch:
    """A launch in a phase, with a server ``x`` where there is one."""
    known = phase in (Phase.BOOTING, Phase.SCANNING, Phase.DONE)
    values: dict[str, Any] = {"attempt": attempt, "attempt_began": BEGAN, "call_ended": CALLED}
    values |= {"external_id": "x"} if known else {}
    return Launch("1", "p", "main", LABEL, LIMITS, "100-1", BEGAN, phase, **(values | fields))


def server(state: ServerState = ServerState.ACTIVE, external_id: str = "x", attempt: int = 1, **fields: Any) -> Server:
    return Server(external_id, state, {ATTEMPT_TAG: str(attempt)}, **fields)


def listed(one: Launch, *servers: Server, began: float = LATER) -> Launch:
    return lifecycle.listed(one, servers, began, lifecycle.Lag(LAG, LAG))


def outcome(one: Launch) -> tuple[Phase, LaunchFailure | None]:
    return one.phase, one.failure


# Attempts


def test_an_attempt_begins_afresh() -> None:
    old = launch(Phase.PREPARED, 1, delete_called=5.0, external_id="x", server=server(), host_keys=("k",))
    new = lifecycle.start_attempt(old, 2000.0)
    assert outcome(new) == (Phase.CREATING, None)
    assert (new.attempt, new.attempt_began, new.deadline) == (2, 2000.0, 2100.0)
    assert (new.external_id, new.server, new.host_keys, new.delete_called) == (None, None, (), 0.0)
    assert new.began == BEGAN


def test_a_smooth_launch() -> None:
    one = lifecycle.start_attempt(launch(Phase.PREPARED, 0), BEGAN)
    one = lifecycle.created(one, "x", None, CALLED)
    assert (one.phase, one.external_id, one.call_ended) == (Phase.BOOTING, "x", CALLED)
    one = listed(one, server(ServerState.BUILDING))
    assert one.phase is Phase.BOOTING
    one = listed(one, server())
    assert (one.phase, one.server) == (Phase.SCANNING, server())
    one = lifecycle.scanned(one, ScanResult("1", ("ssh-rsa AAAA",)))
    assert (one.phase, one.host_keys, one.failure) == (Phase.DONE, ("ssh-rsa AAAA",), None)
    assert one.attempt == 1


@pytest.mark.parametrize("phase", [Phase.DONE, Phase.FAILED, Phase.ABORTED])
def test_phases_in_which_a_launch_has_ended(phase: Phase) -> None:
    assert phase.ended


@pytest.mark.parametrize("phase", [one for one in Phase if one not in (Phase.DONE, Phase.FAILED, Phase.ABORTED)])
def test_phases_in_which_it_goes_on(phase: Phase) -> None:
    assert not phase.ended


# The call that makes the server

ERRORS: list[tuple[errors.CloudError, Phase, LaunchFailure | None]] = [
    (errors.QuotaExceeded("no"), Phase.ABORTED, LaunchFailure.QUOTA),
    (errors.BadLabel("no"), Phase.FAILED, LaunchFailure.BAD_LABEL),
    (errors.NoCapacity("no"), Phase.RETIRING, LaunchFailure.CAPACITY),
    (errors.UnknownOutcome("no"), Phase.UNCERTAIN, None),
    (errors.RateLimited("no"), Phase.RETIRING, LaunchFailure.UNKNOWN),
    (errors.Unauthorized("no"), Phase.RETIRING, LaunchFailure.UNKNOWN),
    (errors.NotFound("no"), Phase.RETIRING, LaunchFailure.UNKNOWN),
    (errors.CloudError("no"), Phase.RETIRING, LaunchFailure.UNKNOWN),
]


@pytest.mark.parametrize(("error", "phase", "failure"), ERRORS, ids=lambda value: type(value).__name__)
def test_errors_of_the_call(error: errors.CloudError, phase: Phase, failure: LaunchFailure | None) -> None:
    one = lifecycle.created(launch(Phase.CREATING), None, error, CALLED + 1)
    assert outcome(one) == (phase, failure)
    assert (one.detail, one.external_id, one.call_ended) == ("no", None, CALLED + 1)


@pytest.mark.parametrize(("error", "phase", "failure"), ERRORS, ids=lambda value: type(value).__name__)
def test_errors_of_the_last_attempt(error: errors.CloudError, phase: Phase, failure: LaunchFailure | None) -> None:
    one = lifecycle.created(launch(Phase.CREATING, LIMITS.launch_retries), None, error, CALLED)
    assert outcome(one) == (Phase.FAILED if phase is Phase.RETIRING else phase, failure)


@pytest.mark.parametrize("phase", [one for one in Phase if one is not Phase.CREATING])
def test_an_answer_that_nobody_waits_for_changes_nothing(phase: Phase) -> None:
    one = launch(phase)
    assert lifecycle.created(one, "y", None, 2000.0) is one
    assert lifecycle.created(one, None, errors.QuotaExceeded("no"), 2000.0) is one


# Retries


def test_retries_count_as_attempts() -> None:
    one = launch(Phase.PREPARED, 0)
    phases = []
    for attempt in (1, 2, 3):
        one = lifecycle.start_attempt(one, BEGAN)
        assert one.attempt == attempt
        one = lifecycle.created(one, None, errors.NoCapacity("full"), CALLED)
        phases.append(one.phase)
        one = listed(one)
    assert phases == [Phase.RETIRING, Phase.RETIRING, Phase.FAILED]
    assert one.phase is Phase.FAILED


def test_a_single_attempt_is_the_last() -> None:
    one = replace(launch(Phase.BOOTING), limits=replace(LIMITS, launch_retries=1))
    assert lifecycle.attempt_failed(one, LaunchFailure.STATUS, "").phase is Phase.FAILED


@pytest.mark.parametrize(
    ("error", "phase"), [(errors.Rejected("no image"), Phase.RETIRING), (errors.BadLabel("flavor"), Phase.FAILED)]
)
def test_a_failed_attempt_is_forgiven_unless_the_label_is_bad(error: errors.CloudError, phase: Phase) -> None:
    failed = lifecycle.created(launch(Phase.CREATING, 3), None, error, CALLED)
    assert failed.phase is Phase.FAILED
    forgiven = lifecycle.forgiven(failed)
    assert (forgiven.phase, forgiven.most_attempts) == (phase, 4)


def test_after_a_call_that_was_refused_no_late_server_is_waited_for() -> None:
    refused = lifecycle.created(launch(Phase.CREATING, call_ended=0.0), None, errors.Rejected("no image"), CALLED)
    assert listed(refused, began=CALLED + 0.1).phase is Phase.PREPARED
    failed = lifecycle.created(launch(Phase.CREATING, call_ended=0.0), None, errors.CloudError("no"), CALLED)
    assert listed(failed, began=CALLED + 0.1).phase is Phase.RETIRING


def test_the_next_attempt_waits_until_the_servers_are_gone() -> None:
    retiring = launch(Phase.RETIRING, external_id="x")
    assert listed(retiring, server(ServerState.DELETING)).phase is Phase.RETIRING
    assert listed(retiring, began=CALLED + LAG).phase is Phase.RETIRING
    gone = listed(retiring)
    assert (gone.phase, gone.external_id, gone.attempt) == (Phase.PREPARED, None, 1)


def test_the_failure_is_kept_until_the_next_attempt_fails() -> None:
    one = lifecycle.attempt_failed(launch(Phase.BOOTING), LaunchFailure.CAPACITY, "full")
    one = lifecycle.attempt_failed(one, LaunchFailure.KEYSCAN, "mute")
    assert (one.failure, one.detail) == (LaunchFailure.KEYSCAN, "mute")


# Nobody knows whether the call worked


def test_the_server_of_this_attempt_is_adopted() -> None:
    one = listed(launch(Phase.UNCERTAIN, 2, detail="timed out"), server(ServerState.BUILDING, "y", attempt=2))
    assert (one.phase, one.external_id, one.detail, one.attempt) == (Phase.BOOTING, "y", "", 2)


def test_an_adopted_server_that_is_up_already_is_scanned() -> None:
    one = listed(launch(Phase.UNCERTAIN), server(external_id="y"), began=0.0)
    assert (one.phase, one.external_id, one.server) == (Phase.SCANNING, "y", server(external_id="y"))


def test_the_server_of_an_earlier_attempt_is_not_adopted() -> None:
    one = launch(Phase.UNCERTAIN, 2, detail="timed out")
    assert listed(one, server(attempt=1), began=CALLED + LAG) is one
    settled = listed(one, server(attempt=1))
    assert (*outcome(settled), settled.detail) == (Phase.RETIRING, LaunchFailure.UNKNOWN, "timed out")


def test_a_list_that_may_lag_behind_settles_nothing() -> None:
    one = launch(Phase.UNCERTAIN)
    assert listed(one, began=CALLED + LAG) is one
    assert outcome(listed(one)) == (Phase.RETIRING, LaunchFailure.UNKNOWN)


def test_an_unknown_outcome_of_the_last_attempt_that_had_no_effect_is_the_end() -> None:
    assert outcome(listed(launch(Phase.UNCERTAIN, 3))) == (Phase.FAILED, LaunchFailure.UNKNOWN)


# Boot


def test_a_new_server_may_be_missing_from_a_list_for_a_while() -> None:
    one = launch(Phase.BOOTING)
    assert listed(one, began=CALLED + LAG) is one
    assert outcome(listed(one)) == (Phase.RETIRING, LaunchFailure.VANISHED)


def test_a_server_that_is_being_deleted_has_vanished() -> None:
    assert outcome(listed(launch(Phase.BOOTING), server(ServerState.DELETING)))[1] is LaunchFailure.VANISHED


def test_another_server_with_our_tag_is_not_ours() -> None:
    assert outcome(listed(launch(Phase.BOOTING), server(external_id="y")))[1] is LaunchFailure.VANISHED


@pytest.mark.parametrize(
    ("fault", "phase", "failure"),
    [
        (None, Phase.RETIRING, LaunchFailure.STATUS),
        (errors.QuotaExceeded, Phase.ABORTED, LaunchFailure.QUOTA),
        (errors.NoCapacity, Phase.RETIRING, LaunchFailure.CAPACITY),
        (errors.BadLabel, Phase.FAILED, LaunchFailure.BAD_LABEL),
        (errors.CloudError, Phase.RETIRING, LaunchFailure.UNKNOWN),
    ],
)
def test_faults(fault: type[Exception] | None, phase: Phase, failure: LaunchFailure) -> None:
    one = listed(launch(Phase.BOOTING), server(ServerState.ERROR, fault=fault, fault_text="why"), began=0.0)
    assert (*outcome(one), one.detail) == (phase, failure, "why")


def test_without_a_check_of_the_keys_an_active_server_is_good() -> None:
    one = replace(launch(Phase.BOOTING), label=LabelSettings("a", host_key_checking=False))
    assert listed(one, server()).phase is Phase.DONE


# Scan


def test_a_failed_scan_ends_the_attempt() -> None:
    result = ScanResult("1", failure=ScanFailure.NO_BANNER, detail="nothing came")
    one = lifecycle.scanned(launch(Phase.SCANNING), result)
    assert (*outcome(one), one.detail) == (Phase.RETIRING, LaunchFailure.KEYSCAN, "nothing came")
    assert one.host_keys == ()


@pytest.mark.parametrize("phase", [one for one in Phase if one is not Phase.SCANNING])
def test_a_scan_that_nobody_waits_for_changes_nothing(phase: Phase) -> None:
    one = launch(phase)
    assert lifecycle.scanned(one, ScanResult("1", ("k",))) is one


def test_a_server_may_vanish_during_the_scan() -> None:
    one = launch(Phase.SCANNING)
    assert listed(one, server()) is one
    assert listed(one, began=CALLED + LAG) is one
    assert outcome(listed(one, server(external_id="y"))) == (Phase.RETIRING, LaunchFailure.VANISHED)


@pytest.mark.parametrize("phase", [Phase.LOCKING, Phase.PREPARED, Phase.CREATING, Phase.DONE, Phase.FAILED])
@pytest.mark.parametrize("servers", [(), (server(),), (server(ServerState.ERROR),)])
def test_a_list_tells_the_other_phases_nothing(phase: Phase, servers: tuple[Server, ...]) -> None:
    one = launch(phase)
    assert listed(one, *servers) is one


# Deadline


@pytest.mark.parametrize("phase", list(Phase))
def test_nothing_is_given_up_early(phase: Phase) -> None:
    one = launch(phase)
    assert lifecycle.expired(one, one.deadline - 0.1) is one


@pytest.mark.parametrize("phase", [Phase.UNCERTAIN, Phase.BOOTING, Phase.SCANNING])
def test_an_attempt_is_given_up_at_its_deadline(phase: Phase) -> None:
    one = launch(phase)
    assert outcome(lifecycle.expired(one, one.deadline)) == (Phase.RETIRING, LaunchFailure.TIMEOUT)
    last = launch(phase, 3)
    assert outcome(lifecycle.expired(last, last.deadline)) == (Phase.FAILED, LaunchFailure.TIMEOUT)


def test_removal_that_takes_too_long_gives_the_request_back() -> None:
    one = launch(Phase.RETIRING, failure=LaunchFailure.CAPACITY)
    assert outcome(lifecycle.expired(one, one.deadline)) == (Phase.ABORTED, LaunchFailure.STUCK)


def test_only_a_server_that_nobody_knows_may_be_missing_for_long() -> None:
    lag = lifecycle.Lag(known=0.0, unknown=5.0)
    unknown = replace(launch(Phase.UNCERTAIN), external_id=None)
    assert lifecycle.listed(unknown, [], unknown.call_ended + 5.0, lag) is unknown
    assert lifecycle.listed(unknown, [], unknown.call_ended + 5.1, lag).phase is Phase.RETIRING
    known = launch(Phase.BOOTING)
    assert lifecycle.listed(known, [], known.call_ended + 0.1, lag).failure is LaunchFailure.VANISHED


@pytest.mark.parametrize(
    "phase",
    # What is asked of ZooKeeper or the cloud in these has a deadline of its own.
    [Phase.LOCKING, Phase.PREPARED, Phase.CREATING, Phase.DONE, Phase.FAILED, Phase.ABORTED],
)
def test_phases_without_a_deadline(phase: Phase) -> None:
    one = launch(phase)
    assert lifecycle.expired(one, one.deadline + 1) is one


# Address


@pytest.mark.parametrize(
    ("addresses", "internal", "expected"),
    [
        ({"interface_ip": "i", "private_ipv4": "4", "private_ipv6": "6"}, False, "i"),
        ({"interface_ip": "i", "private_ipv4": "4", "private_ipv6": "6"}, True, "4"),
        ({"interface_ip": "i", "private_ipv6": "6"}, True, "6"),
        ({"interface_ip": "i"}, True, "i"),
        ({}, True, None),
        ({"private_ipv4": "4"}, False, None),
    ],
)
def test_where_a_client_reaches_it(addresses: dict[str, Any], internal: bool, expected: str | None) -> None:
    assert lifecycle.address_of(server(**addresses), internal) == expected
