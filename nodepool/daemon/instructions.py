"""What every decision core asks the world to do: transactions, sentences for the log, metrics. Values only. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from nodepool.telemetry.facts import Fact
from nodepool.zk.store import Operation

Purpose = TypeVar("Purpose", bound=Enum)
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Commit(Generic[Purpose, Key]):
    """One transaction. ``key`` is what it is about; there is at most one under way per key."""

    purpose: Purpose
    key: Key
    operations: tuple[Operation, ...]
    session: int
    about: Any = None
    """What whoever asked for it wants to know when it has ended."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Something for the metrics."""

    fact: Fact


class Level(Enum):
    """How much a sentence matters; the values are those of :mod:`logging`."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


@dataclass(frozen=True, slots=True)
class Say:
    """A sentence for the log."""

    level: Level
    logger: str
    message: str
    event_id: str | None = None
    request_id: str | None = None
    node_id: str | None = None
