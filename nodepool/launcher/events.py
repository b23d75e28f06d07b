"""What happens to the launcher: the inputs of the decision core. Values only."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from nodepool.daemon.events import CensusAsked, CommitEnded, Configured, News, SessionChanged
from nodepool.driver.adapter import Leftover, Server
from nodepool.driver.breaker import Health
from nodepool.driver.errors import CloudError
from nodepool.driver.nodescan import ScanResult
from nodepool.driver.readycheck.request import CheckResult
from nodepool.launcher.instructions import Purpose
from nodepool.launcher.setup import Setup
from nodepool.model.resources import Resources


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """A provider ceased to answer, is being tried again, answers again, or wants fewer calls."""

    provider: str
    health: Health


@dataclass(frozen=True, slots=True)
class ServersListed:
    """A provider listed its servers, or failed to. Times are epoch seconds."""

    provider: str
    servers: tuple[Server, ...]
    error: CloudError | None
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class LimitsRead:
    """A provider told its limits, or failed to."""

    provider: str
    limits: Resources | None
    error: CloudError | None


@dataclass(frozen=True, slots=True)
class CreateEnded:
    """A call to make a server ended."""

    provider: str
    node_id: str
    attempt: int
    external_id: Any
    error: CloudError | None
    ended: float


@dataclass(frozen=True, slots=True)
class FinishEnded:
    """A call to complete a server ended; ``server`` is as it is then, None after an error."""

    provider: str
    node_id: str
    attempt: int
    server: Server | None
    error: CloudError | None


@dataclass(frozen=True, slots=True)
class DeleteEnded:
    """A call to delete a server ended; ``error`` is None also when there was none."""

    provider: str
    node_id: str
    external_id: Any
    error: CloudError | None
    ended: float


@dataclass(frozen=True, slots=True)
class LeftoversFound:
    """A provider was searched for leftovers; times are epoch seconds."""

    provider: str
    leftovers: tuple[Leftover, ...]
    error: CloudError | None
    ended: float


@dataclass(frozen=True, slots=True)
class LeftoverRemoved:
    """A call to remove a leftover ended; ``error`` is None also when it was too late to make it."""

    provider: str
    error: CloudError | None
    removed: str = ""
    """Kind of what was removed; empty if nothing was."""


@dataclass(frozen=True, slots=True)
class ScanEnded:
    """A look at a host ended."""

    key: Hashable
    result: ScanResult


@dataclass(frozen=True, slots=True)
class CheckEnded:
    """A check before use ended."""

    key: Hashable
    result: CheckResult


@dataclass(frozen=True, slots=True)
class Stopping:
    """Take nothing new; give back what is not done."""


Event = (
    SessionChanged
    | News
    | CommitEnded[Purpose, Hashable]
    | HealthChanged
    | ServersListed
    | LimitsRead
    | CreateEnded
    | FinishEnded
    | DeleteEnded
    | LeftoversFound
    | LeftoverRemoved
    | ScanEnded
    | CheckEnded
    | Configured[Setup]
    | CensusAsked
    | Stopping
)
