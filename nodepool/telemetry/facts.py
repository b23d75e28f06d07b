"""What happens to a daemon, as far as metrics tell of it: values only. Pure.

Whoever knows of one of them gives it to :class:`nodepool.telemetry.metrics.Metrics`; a decision core, which does
nothing itself, returns it as an instruction. Seconds are durations. What a metric is called is not said here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from nodepool.model.resources import Amount

Attributes = Mapping[str, str | int | tuple[str, ...]]
"""What is told of a span."""


@dataclass(frozen=True, slots=True)
class LaunchEnded:
    """An attempt to launch a node ended; ``seconds`` run from the start of the first attempt (spec operation 7)."""

    provider: str
    pool: str
    label: str
    image: str | None
    """Name of the disk image or cloud image."""
    zone: str | None
    requestor: str | None
    result: str
    """``ready``, or a value of :class:`nodepool.model.reasons.LaunchFailure`."""
    seconds: float


@dataclass(frozen=True, slots=True)
class RequestFulfilled:
    """A request got its nodes, so long after it was made."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RequestDeclined:
    """One of our pools declined a request."""

    provider: str
    reason: str
    """Name of a :class:`nodepool.model.reasons.DeclineReason`, in small letters."""


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took its time, for traces. Times are epoch seconds."""

    name: str
    parent: tuple[int, int] | None
    """Ids of the trace and of the span that it belongs to; None: it is a trace of its own."""
    began: float
    ended: float
    ok: bool
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class LeakRemoved:
    """Something that belonged to nobody was removed from a cloud."""

    provider: str
    kind: str
    """In the plural, as the metric names it: ``instances``, ``ports``, ``floatingips`` and so on."""


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call of a provider ended, or was given up."""

    provider: str
    operation: str
    outcome: str
    """``ok``, or the type of the error in words with dashes, such as ``quota-exceeded``."""
    seconds: float


@dataclass(frozen=True, slots=True)
class ImageBuilt:
    """A build of an image ended."""

    image: str
    ok: bool
    return_code: int
    """Of the build tool; 1 if it did not end by itself (spec builder 8)."""
    seconds: float
    ended: float
    """Epoch seconds."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """By format: bytes that the file takes on the disk."""


@dataclass(frozen=True, slots=True)
class ImageUploaded:
    """An upload of an image ended; ``seconds`` include the hook."""

    image: str
    provider: str
    ok: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class SessionHeld:
    """Whether there is a connection to ZooKeeper and a session; told whenever that changes."""

    connected: bool
    session: int
    """0 without one."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision thread took over what had happened, and had carried out what it decided."""

    seconds: float


@dataclass(frozen=True, slots=True)
class QueueSizes:
    """What waits within this process."""

    daemon: str
    """``launcher`` or ``builder``."""
    zookeeper: int
    """Calls that ZooKeeper has not answered."""
    events: int
    """Events that the decision thread has not taken over."""


@dataclass(frozen=True, slots=True)
class Use:
    """How much of one resource is used of a provider, or of a pool of it."""

    provider: str
    pool: str
    """Empty for the provider as a whole."""
    resource: str
    ours: Amount
    others: Amount
    """Of whoever else uses the same project; 0 for pools."""
    limit: Amount | None
    """None: no limit, or none that is known."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A provider does not answer, or wants fewer calls. Times are epoch seconds."""

    since: float | None
    """None: it answers, and wants fewer calls."""
    error: str
    until: float | None
    """When it is tried again; None: just now."""


@dataclass(frozen=True, slots=True)
class LauncherCensus:
    """What a launcher sees at one moment; told every few seconds while its mirror is in step with ZooKeeper."""

    lag: float
    """Seconds that the question for the census waited for the decision thread."""
    elected: bool
    """Whether this launcher is the one of all that tells statsd what all of them see."""
    nodes: Mapping[tuple[str | None, tuple[str, ...], str], int]
    """How many nodes of a provider have these labels and this state."""
    labels: tuple[str, ...]
    """All that registered pools have."""
    providers: tuple[str, ...]
    """All that have registered pools."""
    requests: Mapping[tuple[str, str], int]
    """By state and, for those that wait, the reason: a name of ``WaitReason`` in small letters, or empty."""
    oldest_request: float
    """Age in seconds of the oldest request that is neither fulfilled nor failed; 0 without one."""
    addressable: Mapping[tuple[str, str], int]
    """By provider and pool: requests of which the pool has all labels."""
    max_servers: Mapping[str, Amount]
    """By provider of ours, if all its pools have a limit."""
    tenant_limits: Mapping[str, Mapping[str, Amount]]
    use: tuple[Use, ...]
    """Of our providers and pools."""
    answering: Mapping[str, bool]
    """By provider of ours: whether its cloud answers."""
    outages: Mapping[str, Outage] = field(default_factory=dict)
    """By provider of ours."""
    waiting: Mapping[str, str] = field(default_factory=dict)
    """By request id: in words, why the first ones in order of service wait."""


class Activity(IntEnum):
    """What a builder does about an image; the values are those of Nodepool 11 (spec builder 8)."""

    IDLE = 0
    BUILDING = 1
    UPLOADING = 2
    PAUSED = 3


@dataclass(frozen=True, slots=True)
class BuilderCensus:
    """What a builder sees at one moment; told as a :class:`LauncherCensus` is."""

    lag: float
    build_requests: Mapping[str, bool]
    """By image: whether somebody has asked for a build by hand."""
    builds: Mapping[str, Activity]
    """By image."""
    uploads: Mapping[tuple[str, str], Activity]
    """By image and provider that lists it."""
    current_builds: int
    current_uploads: int
    build_workers: int
    upload_workers: int


Fact = (
    LaunchEnded
    | RequestFulfilled
    | RequestDeclined
    | Span
    | LeakRemoved
    | CallEnded
    | ImageBuilt
    | ImageUploaded
    | SessionHeld
    | Decided
    | QueueSizes
    | LauncherCensus
    | BuilderCensus
)


def nowhere(_fact: Fact) -> None:
    """Tells nobody."""
