"""The way of one node from its record to a checked machine: pure, one step at a time.

A :class:`Launch` says where a node is on the way; the functions here take what happened and give the launch that
follows. The phase tells what has to be done, so that whoever carries it out needs nothing else
(spec launcher 3.1, 3.2; the three steps intent, call, outcome are in ``doc/architecture``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from nodepool.driver import errors
from nodepool.driver.adapter import ATTEMPT_TAG, LabelSettings, ProviderSettings, Server, ServerState
from nodepool.driver.nodescan import ScanResult
from nodepool.model.reasons import LaunchFailure


class Phase(Enum):
    """Where a launch is. Each member says what is held and what is waited for."""

    LOCKING = "the record is made; waits for its lock"
    PREPARED = "locked; nothing exists in the cloud and an attempt may begin"
    CREATING = "locked; the call that makes the server is under way"
    UNCERTAIN = "locked; nobody knows whether the call worked: waits for a list to tell"
    BOOTING = "a server exists; waits for a list that shows it active"
    SCANNING = "the server is active; waits for its host keys"
    DONE = "the machine is good; waits for the record to say so"
    RETIRING = "the attempt failed; waits until its servers are gone"
    FAILED = "no attempt is left"
    ABORTED = "the cloud had no room"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it without a new decision."""
        return self in (Phase.DONE, Phase.FAILED, Phase.ABORTED)


@dataclass(frozen=True, slots=True)
class Launch:
    """A node on its way. Times are epoch seconds."""

    node_id: str
    provider: str
    pool: str
    label: LabelSettings
    limits: ProviderSettings
    request_id: str
    began: float
    phase: Phase = Phase.LOCKING
    attempt: int = 0
    """Number of the present attempt, from 1; 0 before the first."""
    attempt_began: float = 0.0
    """When the attempt, or the removal of a failed one, began."""
    call_ended: float = 0.0
    """When the last call that changed something ended: only a list that began later tells about it."""
    delete_called: float = 0.0
    """When the servers of a failed attempt were asked to go, 0 if not yet."""
    external_id: Any = None
    server: Server | None = None
    host_keys: tuple[str, ...] = field(default=())
    failure: LaunchFailure | None = None
    detail: str = ""

    @property
    def deadline(self) -> float:
        """When the present attempt is given up."""
        return self.attempt_began + self.limits.launch_timeout


def start_attempt(launch: Launch, now: float) -> Launch:
    """Begin the next attempt: a server is to be made."""
    return replace(
        launch,
        phase=Phase.CREATING,
        attempt=launch.attempt + 1,
        attempt_began=now,
        delete_called=0.0,
        external_id=None,
        server=None,
        host_keys=(),
    )


def created(launch: Launch, external_id: Any, error: errors.CloudError | None, now: float) -> Launch:
    """The call that makes the server ended."""
    if launch.phase is not Phase.CREATING:
        return launch
    launch = replace(launch, call_ended=now)
    if error is None:
        return replace(launch, phase=Phase.BOOTING, external_id=external_id)
    if isinstance(error, errors.UnknownOutcome):
        return replace(launch, phase=Phase.UNCERTAIN, detail=str(error))
    return attempt_failed(launch, failure_of(type(error)), str(error))


def listed(launch: Launch, servers: Sequence[Server], began: float, lag: float) -> Launch:
    """The cloud was listed; ``servers`` bear the node's tag or its external id, the list began at ``began``."""
    settled = began > launch.call_ended + lag
    match launch.phase:
        case Phase.UNCERTAIN:
            return _adopt(launch, servers, settled)
        case Phase.BOOTING:
            return _watch_boot(launch, servers, settled)
        case Phase.SCANNING if settled and not any(s.external_id == launch.external_id for s in servers):
            return attempt_failed(launch, LaunchFailure.VANISHED, "the cloud lists it no more")
        case Phase.RETIRING if settled and not servers:
            return replace(launch, phase=Phase.PREPARED, external_id=None)
    return launch


def scanned(launch: Launch, result: ScanResult) -> Launch:
    """The look at the machine's connection port ended."""
    if launch.phase is not Phase.SCANNING:
        return launch
    if result.failure is not None:
        return attempt_failed(launch, LaunchFailure.KEYSCAN, result.detail)
    return replace(launch, phase=Phase.DONE, host_keys=result.host_keys)


def expired(launch: Launch, now: float) -> Launch:
    """Give up the attempt if its time is over; giving up the removal of a failed one ends the launch."""
    if now < launch.deadline:
        return launch
    if launch.phase is Phase.RETIRING:
        return replace(launch, phase=Phase.FAILED)
    if launch.phase not in (Phase.UNCERTAIN, Phase.BOOTING, Phase.SCANNING):
        return launch
    text = f"not up after {launch.limits.launch_timeout:g} s"
    return attempt_failed(launch, LaunchFailure.TIMEOUT, text)


def attempt_failed(launch: Launch, failure: LaunchFailure, detail: str) -> Launch:
    """End the attempt: another one, after what is left of this one is gone, or the end."""
    launch = replace(launch, failure=failure, detail=detail)
    if failure is LaunchFailure.QUOTA:
        return replace(launch, phase=Phase.ABORTED)
    if failure is LaunchFailure.BAD_LABEL or launch.attempt >= launch.limits.launch_retries:
        return replace(launch, phase=Phase.FAILED)
    return replace(launch, phase=Phase.RETIRING)


def failure_of(error: type[Exception] | None) -> LaunchFailure:
    """The failure that an error of an adapter stands for."""
    if error is None:
        return LaunchFailure.STATUS
    for kind, failure in _FAILURES:
        if issubclass(error, kind):
            return failure
    return LaunchFailure.UNKNOWN


_FAILURES: tuple[tuple[type[Exception], LaunchFailure], ...] = (
    (errors.QuotaExceeded, LaunchFailure.QUOTA),
    (errors.NoCapacity, LaunchFailure.CAPACITY),
    (errors.BadLabel, LaunchFailure.BAD_LABEL),
)


def _adopt(launch: Launch, servers: Sequence[Server], settled: bool) -> Launch:
    ours = [server for server in servers if server.tags.get(ATTEMPT_TAG) == str(launch.attempt)]
    if ours:
        adopted = replace(launch, phase=Phase.BOOTING, external_id=ours[0].external_id, detail="")
        return _watch_boot(adopted, servers, settled)
    if settled:
        return attempt_failed(launch, LaunchFailure.UNKNOWN, launch.detail or "the call had no effect")
    return launch


def _watch_boot(launch: Launch, servers: Sequence[Server], settled: bool) -> Launch:
    server = next((one for one in servers if one.external_id == launch.external_id), None)
    if server is None or server.state is ServerState.DELETING:
        if not settled:
            return launch
        return attempt_failed(launch, LaunchFailure.VANISHED, "the cloud lists it no more")
    if server.state is ServerState.ERROR:
        failure = failure_of(server.fault) if server.fault else LaunchFailure.STATUS
        return attempt_failed(launch, failure, server.fault_text)
    if server.state is not ServerState.ACTIVE:
        return launch
    launch = replace(launch, server=server)
    if not launch.label.host_key_checking:
        return replace(launch, phase=Phase.DONE)
    return replace(launch, phase=Phase.SCANNING)


def address_of(server: Server, use_internal_ip: bool) -> str | None:
    """Where a client reaches the machine (spec launcher 3.3)."""
    if use_internal_ip and (server.private_ipv4 or server.private_ipv6):
        return server.private_ipv4 or server.private_ipv6
    return server.interface_ip
