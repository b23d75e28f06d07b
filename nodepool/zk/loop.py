"""The one thread of a store: runs actions one after the other, as they come and at given times.

All callbacks of a store run here, in the order in which ZooKeeper's answers and events came in, so that what they
belong to needs no locks of its own. An action must not block.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable

log = logging.getLogger("nodepool.zk.loop")

Action = Callable[[], None]


class Loop:
    """A thread with an inbox and timers. Any thread may call :meth:`post`; :meth:`after` is for the loop's actions."""

    def __init__(self, name: str) -> None:
        self._inbox: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._gate = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; what was posted before runs first."""
        self._thread.start()

    def post(self, action: Action) -> None:
        """Run ``action`` after all that was posted before; in the caller's own thread once the loop has ended."""
        with self._gate:
            if not self._ended:
                self._inbox.put(action)
                return
        perform(action)

    def after(self, seconds: float, action: Action) -> None:
        """Run ``action`` in ``seconds``."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), action))

    def stop(self) -> None:
        """Run what is posted already, drop the timers and end the thread."""
        with self._gate:
            if self._ended:
                return
            self._ended = True
            self._inbox.put(None)
        if self._thread.ident is None:
            self._run()
        elif self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                action = self._inbox.get(timeout=self._pause())
            except queue.Empty:
                pass
            else:
                if action is None:
                    return
                perform(action)
            while self._timers and self._timers[0][0] <= time.monotonic():
                perform(heapq.heappop(self._timers)[2])

    def _pause(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None


def perform(action: Action) -> None:
    """Run an action; an exception of it is logged and ends nothing else."""
    try:
        action()
    except Exception:
        log.exception("An action of the ZooKeeper thread failed")
