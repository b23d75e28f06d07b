"""A few threads that do what they are given: those of one provider, or those that delete files."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger("nodepool.builder")

Action = Callable[[], None]


class Crew:
    """Any thread may use it; no method blocks. Threads start when there is work, and do not outlive the process."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._threads = 0
        self._unfinished = 0
        """Actions that wait or are being done."""
        self._ending = False
        self._ended: Action | None = None

    def submit(self, action: Action) -> bool:
        """Have something done; what it raises is logged. False, and nothing is done, after :meth:`end`."""
        with self._lock:
            if self._ending:
                return False
            self._unfinished += 1
            if self._threads < min(self._size, self._unfinished):
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
            self._work.put(action)
            return True

    def end(self, ended: Action) -> None:
        """Take nothing new, and call ``ended`` once nothing is to be done any more, from some thread."""
        with self._lock:
            self._ending, self._ended = True, ended
            idle = not self._unfinished
        if idle:
            self._finish()

    def _run(self) -> None:
        while (action := self._work.get()) is not None:
            try:
                action()
            except Exception:  # the last line of defence: others wait for this thread
                log.exception("Something failed in %s", self._name)
            with self._lock:
                self._unfinished -= 1
                last = self._ended is not None and not self._unfinished
            if last:
                self._finish()

    def _finish(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()
        for _ in range(self._threads):
            self._work.put(None)
