"""Starts machines, a few at a time, in the order in which they were ordered: each kind says how many the host bears.

One for a state directory and kind in each process; it goes on when a reload replaces the provider. The threads are
daemons: when the process ends, what they were starting is found by its directory, and has no outcome.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from nodepool.driver.errors import CloudError, NotFound
from nodepool.driver.local.answer import wait_for_host_key
from nodepool.driver.local.disk import Hold
from nodepool.driver.local.machine import MachineKind, MachineState, NodePlan, Patience
from nodepool.driver.local.state_directory import Outcome, StateDirectory
from nodepool.telemetry.logs import annotate

PREPARE_TIMEOUT = 1800.0
"""Seconds for what is made of an image once; a very busy host emulates slowly."""

log = logging.getLogger("nodepool.LocalMachines")


@dataclass(frozen=True, slots=True)
class Start:
    """A machine to be started; its directory exists, and the queue holds it from now on."""

    plan: Callable[[], NodePlan]
    """Called when its turn has come. Raises CloudError."""
    node_id: str
    hold: Hold
    timeout: float
    """Seconds, from when its turn has come and all is prepared for it."""


class Starts:
    """See the module's description. May be used from any thread."""

    def __init__(self, state: StateDirectory, kind: MachineKind) -> None:
        self._state = state
        self._kind = kind
        self._queue: deque[Start] = deque()
        self._wanted = threading.Condition()
        self._threads = 0
        self._idle = 0
        self.most: int | None = None
        """How many at once, None for as many as the kind says; may be changed at any time."""

    def submit(self, start: Start) -> None:
        """Have a machine started when its turn comes."""
        with self._wanted:
            self._queue.append(start)
            self._wanted.notify()
            if len(self._queue) > self._idle and self._threads < self._most():
                self._threads += 1
                threading.Thread(target=self._work, name="local-starts", daemon=True).start()

    def _most(self) -> int:
        return self.most or self._kind.parallel_starts

    def _work(self) -> None:
        while (start := self._next()) is not None:
            self._do(start)

    def _next(self) -> Start | None:
        with self._wanted:
            while self._threads <= self._most():
                if self._queue:
                    return self._queue.popleft()
                self._idle += 1
                self._wanted.wait()
                self._idle -= 1
            self._threads -= 1
            return None

    def _do(self, start: Start) -> None:
        """Start a machine and write down what came of it; whatever happens, its directory is let go."""
        node_log = annotate(log, node_id=start.node_id)
        try:
            outcome = self._outcome(start)
            if self._state.is_deleting(start.node_id):
                self._remove(start.node_id)
            else:
                self._state.end(start.node_id, outcome)
        except CloudError as error:
            node_log.error("Machine %s: %s", start.node_id, error)
        except Exception:  # noqa: BLE001 - the edge of a worker's loop
            node_log.exception("Machine %s could not be started", start.node_id)
        finally:
            start.hold.release()

    def _outcome(self, start: Start) -> Outcome:
        began = time.monotonic()
        try:
            plan = start.plan()
            self._kind.prepare(plan, self._patience(start, PREPARE_TIMEOUT))
            patience = self._patience(start, start.timeout)
            patience.pause(0)
            self._kind.start(plan, patience)
            wait_for_host_key(plan, patience, lambda: self._kind.state(plan.directory) is not MachineState.DEAD)
        except CloudError as error:
            if not self._state.is_deleting(start.node_id):
                annotate(log, node_id=start.node_id).warning("Machine %s did not start: %s", start.node_id, error)
            return Outcome(type(error), str(error))
        text = "Machine %s answers at %s port %s after %.1f s"
        seconds = time.monotonic() - began
        annotate(log, node_id=start.node_id).info(text, start.node_id, plan.address, plan.port, seconds)
        return Outcome()

    def _remove(self, node_id: str) -> None:
        self._kind.destroy(self._state.directory(node_id))
        self._state.forget(node_id)

    def _patience(self, start: Start, seconds: float) -> Patience:
        """Until the time is over, or somebody wants the machine gone."""
        timer = threading.Event()
        end = time.monotonic() + seconds

        def pause(length: float) -> None:
            if self._state.is_deleting(start.node_id):
                raise NotFound("nobody wants the machine any more")
            if time.monotonic() + length > end:
                raise CloudError(f"the machine is not up after {seconds:g} s")
            timer.wait(length)

        return Patience(pause, lambda: end - time.monotonic())
