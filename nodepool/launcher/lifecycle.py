"""The way of one node from its record to a checked machine: pure, one step at a time.

A :class:`Launch` says where a node is on the way; the functions here take what happened and give the launch that
follows. The phase tells what has to be done, so that whoever carries it out needs nothing else
(spec launcher 3.1, 3.2; the three steps intent, call, outcome are in ``doc/architecture``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from nodepool.driver import errors
from nodepool.driver.adapter import ATTEMPT_TAG, LabelSettings, ProviderSettings, Server, ServerState
from nodepool.driver.nodescan import ScanResult
from nodepool.driver.readycheck.request import CheckResult
from nodepool.launcher.images import Image
from nodepool.model.reasons import LaunchFailure

FINISH_CALLS = 5
"""Most calls to complete a server, with pauses of 1, 2, 4 and 8 seconds between them."""


class Phase(Enum):
    """Where a launch is. Each member says what is held and what is waited for."""

    LOCKING = "the record is made; waits for its lock"
    PREPARED = "locked; nothing exists in the cloud and an attempt may begin"
    CREATING = "locked; the call that makes the server is under way"
    UNCERTAIN = "locked; nobody knows whether the call worked: waits for a list to tell"
    BOOTING = "a server exists; waits for a list that shows it active"
    FINISHING = "the server is active; waits until it has what its creation could not give it"
    SCANNING = "the server is complete; waits for its host keys"
    CHECKING = "the machine answers; waits for the label's check before use"
    DONE = "the machine is good; waits for the record to say so"
    KEEPING = "the attempt failed; its machine is to be held for study, and a new record goes on"
    RETIRING = "the attempt failed; waits until its servers are gone"
    FAILED = "no attempt is left"
    ABORTED = "the cloud had no room, or does not answer"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it without a new decision."""
        return self in (Phase.DONE, Phase.FAILED, Phase.ABORTED)


class Condition(Enum):
    """What is to be thought of a server that the cloud calls active."""

    COMPLETE = "it has all that it needs"
    UNFINISHED = "it needs something that its creation could not give it"
    SHARED_ADDRESS = "its address is that of another machine: whoever connects may reach that one"


@dataclass(frozen=True, slots=True)
class Lag:
    """Seconds for which a new server may be missing from a list."""

    known: float = 0.0
    unknown: float = 0.0
    """If nobody knows its id, because the call that made it had no answer."""


Judge = Callable[[Server], Condition]


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
    extra_attempts: int = 0
    """Attempts beyond ``launch-retries``, since the label's other machines come up."""
    forgiven: int = 0
    """Attempts that do not count: their image was taken back before the server was made."""
    attempt_began: float = 0.0
    """When the cloud answered the call of the attempt, or when the removal of a failed one began.

    What the call waited for its turn does not count for ``launch-timeout``."""
    call_ended: float = 0.0
    """When the last call that changed something ended: only a list that began later tells about it."""
    delete_called: float = 0.0
    """When the servers of a failed attempt were asked to go, 0 if not yet."""
    zone: str | None = None
    """Zone of the present attempt."""
    image: Image | None = None
    """Image of the present attempt."""
    external_id: Any = None
    server: Server | None = None
    finish_calls: int = 0
    """How many calls to complete the server were made in this attempt."""
    finish_at: float = 0.0
    """When the next of them is due."""
    host_keys: tuple[str, ...] = field(default=())
    failure: LaunchFailure | None = None
    detail: str = ""
    output: str = ""
    """What the check before use printed when it failed."""

    @property
    def failing(self) -> bool:
        """Whether the present attempt has failed."""
        return self.phase in (Phase.KEEPING, Phase.RETIRING, Phase.FAILED, Phase.ABORTED)

    @property
    def most_attempts(self) -> int:
        """How many attempts there are in all."""
        return self.limits.launch_retries + self.extra_attempts + self.forgiven

    @property
    def deadline(self) -> float:
        """When the present attempt is given up."""
        return self.attempt_began + self.limits.launch_timeout

    @property
    def expires(self) -> bool:
        """Whether the present phase ends with the deadline."""
        return self.phase in _EXPIRE


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
        output="",
    )


def created(launch: Launch, external_id: Any, error: errors.CloudError | None, now: float) -> Launch:
    """The call that makes the server ended; from now on the attempt's time runs."""
    if launch.phase is not Phase.CREATING:
        return launch
    if not isinstance(error, errors.Rejected):
        launch = replace(launch, call_ended=now)
    if error is None:
        return replace(launch, phase=Phase.BOOTING, external_id=external_id, attempt_began=now)
    if isinstance(error, errors.UnknownOutcome):
        return replace(launch, phase=Phase.UNCERTAIN, detail=str(error), attempt_began=now)
    return attempt_failed(launch, failure_of(type(error)), str(error))


def listed(
    launch: Launch,
    servers: Sequence[Server],
    began: float,
    lag: Lag,
    judge: Judge = lambda _: Condition.COMPLETE,
) -> Launch:
    """The cloud was listed; ``servers`` bear the node's tag or its external id, the list began at ``began``.

    ``judge`` tells the condition of an active server.
    """
    settled = began > launch.call_ended + (lag.unknown if _is_doubtful(launch) else lag.known)
    ids = [server.external_id for server in servers]
    match launch.phase:
        case Phase.UNCERTAIN:
            return _adopt(launch, servers, settled, judge)
        case Phase.BOOTING:
            return _watch_boot(launch, servers, settled, judge)
        case Phase.FINISHING | Phase.SCANNING | Phase.CHECKING if settled and launch.external_id not in ids:
            return attempt_failed(launch, LaunchFailure.VANISHED, "the cloud lists it no more")
        case Phase.RETIRING if settled and not servers:
            return replace(launch, phase=Phase.PREPARED, external_id=None, server=None)
    return launch


def finish_ended(
    launch: Launch,
    server: Server | None,
    error: errors.CloudError | None,
    now: float,
    judge: Judge = lambda _: Condition.COMPLETE,
) -> Launch:
    """The call that completes the server ended; it may be made again after an error.

    A server that still lacks something has to do without.
    """
    if launch.phase is not Phase.FINISHING:
        return launch
    if server is not None and error is None:
        return _shared(launch, server) if judge(server) is Condition.SHARED_ADDRESS else _up(launch, server)
    if isinstance(error, errors.NotFound):
        return attempt_failed(launch, LaunchFailure.VANISHED, str(error))
    calls = launch.finish_calls
    if isinstance(error, errors.QuotaExceeded) or calls >= FINISH_CALLS:
        return attempt_failed(launch, failure_of(type(error) if error else None), str(error))
    return replace(launch, finish_at=now + 2.0 ** (calls - 1), detail=str(error))


def scanned(launch: Launch, result: ScanResult) -> Launch:
    """The look at the machine's connection port ended."""
    if launch.phase is not Phase.SCANNING:
        return launch
    if result.failure is not None:
        return attempt_failed(launch, LaunchFailure.KEYSCAN, result.detail)
    return _answers(replace(launch, host_keys=result.host_keys))


def checked(launch: Launch, result: CheckResult) -> Launch:
    """The check before use ended."""
    if launch.phase is not Phase.CHECKING:
        return launch
    if result.failure is not None:
        return attempt_failed(replace(launch, output=result.output), LaunchFailure.CHECK, result.failure)
    return replace(launch, phase=Phase.DONE)


def expired(launch: Launch, now: float) -> Launch:
    """Give up the attempt if its time is over. If it is the removal of a failed one, the request is not to blame."""
    if now < launch.deadline or not launch.expires:
        return launch
    if launch.phase is Phase.RETIRING:
        return replace(launch, phase=Phase.ABORTED, failure=LaunchFailure.STUCK)
    text = f"not up after {launch.limits.launch_timeout:g} s"
    return attempt_failed(launch, LaunchFailure.TIMEOUT, text)


def attempt_failed(launch: Launch, failure: LaunchFailure, detail: str) -> Launch:
    """End the attempt: another one, after what is left of this one is gone, or the end."""
    launch = replace(launch, failure=failure, detail=detail)
    if failure in (LaunchFailure.QUOTA, LaunchFailure.AWAY):
        return replace(launch, phase=Phase.ABORTED)
    if failure is LaunchFailure.BAD_LABEL or launch.attempt >= launch.most_attempts:
        return replace(launch, phase=Phase.FAILED)
    return replace(launch, phase=Phase.KEEPING if is_worth_keeping(launch) else Phase.RETIRING)


def forgiven(launch: Launch) -> Launch:
    """The attempt failed, and its image had been taken back meanwhile: it does not count, and another one follows."""
    ended = launch.phase is Phase.FAILED and launch.failure is not LaunchFailure.BAD_LABEL
    return replace(launch, forgiven=launch.forgiven + 1, phase=Phase.RETIRING if ended else launch.phase)


def is_worth_keeping(launch: Launch) -> bool:
    """Whether a launch that failed has left a machine that is to be held for study (``keep-failed``)."""
    keep = launch.label.keep_failed
    wanted = keep is not None and keep.count > 0
    there = launch.external_id is not None and not launch.delete_called
    return wanted and there and launch.failure in _WORTH_KEEPING


def failure_of(error: type[Exception] | None) -> LaunchFailure:
    """The failure that an error of an adapter stands for."""
    if error is None:
        return LaunchFailure.STATUS
    for kind, failure in _FAILURES:
        if issubclass(error, kind):
            return failure
    return LaunchFailure.UNKNOWN


_WORTH_KEEPING = (LaunchFailure.STATUS, LaunchFailure.KEYSCAN, LaunchFailure.CHECK, LaunchFailure.TIMEOUT)
"""Failures that a machine can tell something about."""
_EXPIRE = (Phase.UNCERTAIN, Phase.BOOTING, Phase.FINISHING, Phase.SCANNING, Phase.CHECKING, Phase.RETIRING)
"""Phases that end with the deadline."""
_FAILURES: tuple[tuple[type[Exception], LaunchFailure], ...] = (
    (errors.QuotaExceeded, LaunchFailure.QUOTA),
    (errors.NoCapacity, LaunchFailure.CAPACITY),
    (errors.BadLabel, LaunchFailure.BAD_LABEL),
    (errors.NotBegun, LaunchFailure.AWAY),
)


def _is_doubtful(launch: Launch) -> bool:
    """Whether there may be a server whose id nobody knows."""
    doubt = launch.phase is Phase.UNCERTAIN or launch.failure in (LaunchFailure.UNKNOWN, LaunchFailure.TIMEOUT)
    return launch.external_id is None and doubt


def _adopt(launch: Launch, servers: Sequence[Server], settled: bool, judge: Judge) -> Launch:
    ours = [server for server in servers if server.tags.get(ATTEMPT_TAG) == str(launch.attempt)]
    if ours:
        adopted = replace(launch, phase=Phase.BOOTING, external_id=ours[0].external_id, detail="")
        return _watch_boot(adopted, servers, settled, judge)
    if settled:
        return attempt_failed(launch, LaunchFailure.UNKNOWN, launch.detail or "the call had no effect")
    return launch


def _watch_boot(launch: Launch, servers: Sequence[Server], settled: bool, judge: Judge) -> Launch:
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
    match judge(server):
        case Condition.UNFINISHED:
            return replace(launch, phase=Phase.FINISHING, server=server, finish_calls=0, finish_at=0.0)
        case Condition.SHARED_ADDRESS:
            return _shared(launch, server)
    return _up(launch, server)


def _shared(launch: Launch, server: Server) -> Launch:
    """The server has the address of another machine."""
    return attempt_failed(launch, LaunchFailure.ADDRESS, f"another server of ours has {server.interface_ip}")


def _up(launch: Launch, server: Server) -> Launch:
    """The server is active and complete."""
    launch = replace(launch, server=server)
    if not launch.label.host_key_checking:
        return _answers(launch)
    return replace(launch, phase=Phase.SCANNING)


def _answers(launch: Launch) -> Launch:
    """The machine answers, as far as we look."""
    return replace(launch, phase=Phase.CHECKING if launch.label.ready_check else Phase.DONE)


def address_of(server: Server, use_internal_ip: bool) -> str | None:
    """Where a client reaches the machine (spec launcher 3.3)."""
    if use_internal_ip and (server.private_ipv4 or server.private_ipv6):
        return server.private_ipv4 or server.private_ipv6
    return server.interface_ip


def places_of(server: Server, use_internal_ip: bool) -> dict[str, str | None]:
    """Fields of a node's record that say where its machine is."""
    return {
        "interface_ip": address_of(server, use_internal_ip),
        "public_ipv4": server.public_ipv4,
        "private_ipv4": server.private_ipv4,
        "public_ipv6": server.public_ipv6,
        "host_id": server.host_id,
        "cloud": server.cloud,
        "region": server.region,
        "az": server.az,
    }
