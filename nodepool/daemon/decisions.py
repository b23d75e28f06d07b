"""The decision thread: waits for events, has the core decide, and has carried out what it decides.

It owns the core: nothing else may touch it. It waits for nothing but events and the core's next timer.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from nodepool.telemetry.facts import Decided, Fact, nowhere

Event = TypeVar("Event")
Instruction = TypeVar("Instruction")
EventIn = TypeVar("EventIn", contravariant=True)
InstructionOut = TypeVar("InstructionOut", covariant=True)

END_LIMIT = 2.0
"""Most seconds that the end of the thread is waited for; it never blocks."""

log = logging.getLogger("nodepool.NodePool")


class Core(Protocol[EventIn, InstructionOut]):
    """A decision core. Called from the decision thread alone; no I/O, no clock and no chance of its own."""

    def handle(self, events: Iterable[EventIn], now: float) -> Iterable[InstructionOut]:
        """Take over what happened until ``now`` (epoch seconds) and say what is to be done."""

    def next_wake(self) -> float | None:
        """When :meth:`handle` should be called though nothing happens (epoch seconds)."""

    def failed(self, now: float) -> None:
        """A call of :meth:`handle`, or what it asked for, raised; called at ``now`` (epoch seconds)."""

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for and nothing is under way any more that is waited for."""


class DecisionThread(Generic[Event, Instruction]):
    """See the module's description. Events go into ``inbox``, from any thread; None ends the decisions."""

    def __init__(
        self,
        inbox: queue.SimpleQueue[Event | None],
        core: Core[Event, Instruction],
        carry_out: Callable[[Iterable[Instruction]], None],
        measure: Callable[[Fact], None] = nowhere,
    ) -> None:
        self.inbox = inbox
        self._core = core
        self._carry_out = carry_out
        self._measure = measure
        self._stopped: Callable[[], None] = lambda: None
        self._busy_since: float | None = None
        """When the present decision began (seconds of the monotonic clock), None while events are waited for."""
        self._thread = threading.Thread(target=self._run, name="decision", daemon=True)

    def start(self, stopped: Callable[[], None]) -> None:
        """Begin; ``stopped`` is called once from the thread, when the core has stopped."""
        self._stopped = stopped
        self._thread.start()

    def end(self) -> None:
        """Decide nothing any more, also if it was never started."""
        self.inbox.put(None)
        if self._thread.ident is not None:
            self._thread.join(END_LIMIT)

    def stuck_for(self) -> float:
        """For how many seconds the thread has not come back from its work; 0 while it waits. From any thread."""
        since = self._busy_since
        return 0.0 if since is None else max(time.monotonic() - since, 0.0)

    def _run(self) -> None:
        told = False
        while (events := self._next_events()) is not None:
            self._busy_since = began = time.monotonic()
            try:
                self._carry_out(self._core.handle(events, time.time()))
                self._measure(Decided(time.monotonic() - began))
            except Exception:  # the last line of defence: a defect must not end the service
                log.exception("A decision failed; %d events were involved", len(events))
                self._core.failed(time.time())
            if self._core.stopped and not told:
                told = True
                self._stopped()

    def _next_events(self) -> list[Event] | None:
        """All that has come, after waiting for the first or for the next timer; None at the end."""
        self._busy_since = None
        wake = self._core.next_wake()
        timeout = None if wake is None else max(wake - time.time(), 0.0)
        events: list[Event] = []
        try:
            event = self.inbox.get(timeout=timeout)
            while event is not None:
                events.append(event)
                event = self.inbox.get_nowait()
        except queue.Empty:
            return events
        return None
