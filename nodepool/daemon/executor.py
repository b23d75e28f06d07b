"""Carries out what every decision core asks for, and leaves the rest to its daemon.

The edge between a decision core and the world. Called from the decision thread and never blocks it; results come from
other threads, as events, through ``publish``.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from nodepool.daemon.events import CommitEnded
from nodepool.daemon.instructions import Commit, Measured, Say
from nodepool.telemetry.facts import Fact, nowhere
from nodepool.telemetry.logs import annotate
from nodepool.zk.store import Store

Order = TypeVar("Order")
"""What the daemon's own executor carries out."""
Event = TypeVar("Event")


class DaemonExecutor(ABC, Generic[Order, Event]):
    """See the module's description."""

    def __init__(
        self,
        store: Store,
        publish: Callable[[Event | CommitEnded[Any, Any]], None],
        measure: Callable[[Fact], None] = nowhere,
    ) -> None:
        """``publish`` must be safe to call from any thread; ``measure`` takes account of a fact at once."""
        self._store = store
        self._publish = publish
        self._measure = measure

    def carry_out(self, instructions: Iterable[Commit[Any, Any] | Say | Measured | Order]) -> None:
        """Start everything; returns at once."""
        for instruction in instructions:
            match instruction:
                case Commit():
                    self._commit(instruction)
                case Say():
                    _say(instruction)
                case Measured(fact):
                    self._measure(fact)
                case _:
                    self._carry_out(instruction)

    @abstractmethod
    def _carry_out(self, order: Order) -> None:
        """Start one thing that is particular to this daemon; returns at once."""

    def _commit(self, commit: Commit[Any, Any]) -> None:
        publish = self._publish
        self._store.commit(commit.operations, lambda outcome: publish(CommitEnded(commit, outcome)), commit.session)


def _say(sentence: Say) -> None:
    log = annotate(
        logging.getLogger(sentence.logger),
        event_id=sentence.event_id,
        node_request_id=sentence.request_id,
        node_id=sentence.node_id,
    )
    log.log(sentence.level.value, sentence.message)
