"""What happens to every daemon: session, news, transactions, configuration, questions. Values only. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from nodepool.daemon.instructions import Commit, Key, Purpose
from nodepool.zk.store import Batch, Outcome, SessionChange

Setup = TypeVar("Setup")
"""What a configuration means for the daemon."""


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """The ZooKeeper session changed."""

    change: SessionChange


@dataclass(frozen=True, slots=True)
class News:
    """A batch of the feed."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class CommitEnded(Generic[Purpose, Key]):
    """A transaction of ours ended."""

    commit: Commit[Purpose, Key]
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class CensusAsked:
    """The metrics want to know what is seen now; the answer is a census among the instructions."""

    asked: float
    """When it was asked (epoch seconds)."""
    reporter: str | None = None
    """By what name to take part in the election of the one daemon that tells what all see; None: do not."""


@dataclass(frozen=True, slots=True)
class Configured(Generic[Setup]):
    """There is a new configuration."""

    setup: Setup
