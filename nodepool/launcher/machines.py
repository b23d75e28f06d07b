"""Looks at machines that are up: completes them, scans their host keys, runs the check before use.

Runs on the decision thread; no I/O. Each function asks for what one phase of :mod:`nodepool.launcher.lifecycle` needs.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from nodepool.driver.nodescan import ScanRequest
from nodepool.driver.readycheck.request import CheckRequest
from nodepool.launcher import lifecycle
from nodepool.launcher.instructions import CancelCheck, CancelScan, FinishServer, StartCheck, StartScan
from nodepool.launcher.lifecycle import Launch, Phase
from nodepool.launcher.state import State


def finish(state: State, launch: Launch) -> None:
    """Have the server completed, unless that is under way or has to wait after a failure."""
    assert launch.server is not None, "only an active server is completed"
    if state.now < launch.finish_at:
        if launch.finish_at != inf:
            state.wake(launch.finish_at, ("node", launch.node_id))
        return
    calling = replace(launch, finish_calls=launch.finish_calls + 1, finish_at=inf)
    state.launches[launch.node_id] = calling
    state.out.append(FinishServer(launch.provider, launch.node_id, launch.attempt, launch.pool, launch.server))


def scan(state: State, launch: Launch) -> None:
    """Have the host keys of the machine read."""
    host, port = _endpoint(launch)
    request = ScanRequest(
        key=("node", launch.node_id),
        host=host,
        port=port,
        connection_type=launch.label.connection_type or "ssh",
        timeout=launch.limits.boot_timeout,
        group=launch.provider,
    )
    state.out.append(StartScan(request))


def check(state: State, launch: Launch) -> None:
    """Have the label's check before use run."""
    check = launch.label.ready_check
    assert check is not None, "the phase is for labels with a check"
    host, port = _endpoint(launch)
    request = CheckRequest(
        key=_check_key(launch),
        host=host,
        port=port,
        username=check.username or launch.label.username or "",
        check=check,
        host_keys=launch.host_keys or _known_host_keys(launch),
        group=launch.provider,
    )
    state.out.append(StartCheck(request))


def stop_looking(state: State, launch: Launch) -> None:
    """End the look at a machine that is under way, if there is one."""
    if launch.phase is Phase.SCANNING:
        state.out.append(CancelScan(("node", launch.node_id)))
    elif launch.phase is Phase.CHECKING:
        state.out.append(CancelCheck(_check_key(launch)))


def _endpoint(launch: Launch) -> tuple[str, int]:
    assert launch.server is not None, "only an active server is looked at"
    host = lifecycle.address_of(launch.server, launch.label.use_internal_ip) or ""
    return host, launch.server.record.get("connection_port", launch.label.connection_port)


def _known_host_keys(launch: Launch) -> tuple[str, ...]:
    """Host keys that the driver knows without a scan."""
    assert launch.server is not None, "only an active server is looked at"
    return tuple(launch.server.record.get("host_keys", ()))


def _check_key(launch: Launch) -> tuple[str, str, int]:
    return "check", launch.node_id, launch.attempt
