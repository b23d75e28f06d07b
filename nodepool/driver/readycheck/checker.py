"""Runs checks: queues, threads, retries and deadlines. Knows nothing of SSH but that an attempt blocks.

A check is tried until a verdict or its time-out: a machine that has just started may not let us in yet. It holds one of
its group's threads only during an attempt, not between two; these threads end when nothing waits. All are daemons.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from nodepool.driver.readycheck.request import CheckRequest, CheckResult, LoginRefused, NotReady, NotYet

if TYPE_CHECKING:
    from nodepool.driver.readycheck.connection import Connection

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 2.0
"""Seconds between two attempts; each pause is twice the one before."""
FIRST_PAUSE_AFTER_REFUSAL = 2.0
LONGEST_PAUSE_AFTER_REFUSAL = 5.0
"""The same after a login was refused: sshd shuts out for long who is refused more often.

sshd_config(5), PerSourcePenalties: 5 seconds each, which count from 15 on.
"""
LAST_CHANCE = 1.0
"""Seconds before the time-out at which the last attempt begins, if the pause would last longer."""
BREAK_OFF_INTERVAL = 1.0
"""Seconds after which an attempt that should have ended is told again."""

Done = Callable[[CheckResult], None]

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Check:
    """A check that has not ended. Times are of the monotonic clock; guarded by the checker's lock."""

    request: CheckRequest
    done: Done
    queued_at: float
    deadline: float
    """Valid as soon as the first attempt begins; until then as if it began when it was queued."""
    attempts: int = 0
    pause: float = 0.0
    reason: str = ""
    """Why the last whole attempt came to nothing."""
    connection: Connection | None = None
    """That of the attempt under way."""
    resume_at: float | None = None
    """When the next attempt is due; None if one is under way or queued."""
    wanted: bool = True
    """Whether somebody waits for the result."""


@dataclass(slots=True)
class _Group:
    """The checks of one group that wait for a thread, and how many threads it has."""

    waiting: deque[_Check] = field(default_factory=deque)
    threads: int = 0


class Checker:
    """Checks machines on request. Any thread may call; no method blocks.

    Each group has ``limit_per_group`` threads at most, so that groups never wait for each other; paramiko adds one to
    each during an attempt. One more thread watches the clock.
    """

    def __init__(self, *, limit_per_group: int = 32) -> None:
        self._limit_per_group = limit_per_group
        self._lock = threading.Lock()
        self._clock_changed = threading.Condition(self._lock)
        self._checks: dict[Hashable, _Check] = {}
        self._groups: dict[str, _Group] = {}
        self._agenda: list[tuple[float, int, _Check]] = []
        self._numbers = count()
        self._clock: threading.Thread | None = None
        self._stopped = False
        _quieten_paramiko()

    def submit(self, request: CheckRequest, done: Done) -> None:
        """Check a machine; ``done`` is called once, from one of the checker's threads, unless the check is cancelled.

        A check with the same key is cancelled. After :meth:`stop`, nothing happens. The request's time-out counts from
        the first attempt on, less the time for which a retry waits for a thread.
        """
        self.cancel(request.key)
        now = time.monotonic()
        check = _Check(request, done, now, now + request.check.timeout)
        with self._lock:
            if not self._stopped:
                self._checks[request.key] = check
                self._enqueue(check)

    def cancel(self, key: Hashable) -> None:
        """Drop a check, if there is one: its connection is closed, ``done`` is not called unless that has begun."""
        with self._lock:
            check = self._checks.pop(key, None)
            if check is not None:
                _drop(check)

    def stop(self) -> None:
        """Drop all checks; the threads end soon."""
        with self._lock:
            self._stopped = True
            for check in self._checks.values():
                _drop(check)
            self._checks.clear()
            self._clock_changed.notify()

    def _enqueue(self, check: _Check) -> None:
        """Under the lock: let a thread of the check's group take it, and start one if there may be another."""
        name = check.request.group
        group = self._groups.setdefault(name, _Group())
        check.queued_at = time.monotonic()
        check.resume_at = None
        group.waiting.append(check)
        if group.threads < self._limit_per_group:
            group.threads += 1
            thread = threading.Thread(target=self._work, args=(name,), name=f"ready-check-{name}", daemon=True)
            thread.start()

    # The threads of groups

    def _work(self, name: str) -> None:
        while (taken := self._next(name)) is not None:
            check, connection = taken
            result = self._attempt(check, connection)
            if result is not None:
                self._report(check, result)

    def _next(self, name: str) -> tuple[_Check, Connection] | None:
        """A check and the connection of its attempt, which begins now; None if none waits, which ends the thread."""
        from nodepool.driver.readycheck.connection import Connection  # paramiko takes 9 MiB that few launchers need

        with self._lock:
            group = self._groups[name]
            while group.waiting:
                check = group.waiting.popleft()
                if check.wanted:
                    check.deadline += time.monotonic() - check.queued_at
                    check.attempts += 1
                    check.connection = connection = Connection(check.request)
                    self._schedule(check.deadline, check)
                    return check, connection
            group.threads -= 1
            if not group.threads:
                del self._groups[name]
            return None

    def _attempt(self, check: _Check, connection: Connection) -> CheckResult | None:
        """The result if the check has ended, None if there will be another attempt."""
        try:
            connection.run(check.deadline - time.monotonic())
        except NotReady as verdict:
            return CheckResult(str(verdict), connection.output)
        except NotYet as setback:
            return self._try_again(check, connection, str(setback), isinstance(setback, LoginRefused))
        except Exception:  # noqa: BLE001 - the edge of the thread, which others need after this check
            _log.exception("The check of %s failed by a fault of its own", check.request.host)
            return CheckResult("the check failed by a fault of its own, which the launcher's log describes")
        finally:
            connection.close()
        return CheckResult(None, connection.output)

    def _try_again(self, check: _Check, connection: Connection, reason: str, refused: bool) -> CheckResult | None:
        first, longest = FIRST_PAUSE, LONGEST_PAUSE
        if refused:
            first, longest = FIRST_PAUSE_AFTER_REFUSAL, LONGEST_PAUSE_AFTER_REFUSAL
        with self._lock:
            now = time.monotonic()
            check.connection = None
            cut_short = now >= check.deadline
            if cut_short and connection.running:
                check.reason = f"{connection.running} was still running"
            elif not cut_short or not check.reason:
                check.reason = reason
            check.pause = min(max(first, 2 * check.pause), longest)
            resume_at = min(now + check.pause, check.deadline - LAST_CHANCE)
            if not check.wanted:
                return None
            if resume_at >= now + FIRST_PAUSE:
                check.resume_at = resume_at
                self._schedule(resume_at, check)
                return None
        tries = "" if check.attempts == 1 else f" (attempts: {check.attempts})"
        return CheckResult(
            f"not ready within {check.request.check.timeout:g} s: {check.reason}{tries}", connection.output
        )

    def _report(self, check: _Check, result: CheckResult) -> None:
        with self._lock:
            check.connection = None
            if not check.wanted:
                return
            check.wanted = False
            del self._checks[check.request.key]
        try:
            check.done(result)
        except Exception:  # noqa: BLE001 - the same
            _log.exception("The receiver of the check of %s failed", check.request.host)

    # The clock

    def _schedule(self, at: float, check: _Check) -> None:
        """Under the lock: have the clock look at a check."""
        heapq.heappush(self._agenda, (at, next(self._numbers), check))
        if self._clock is None:
            self._clock = threading.Thread(target=self._watch, name="ready-check-clock", daemon=True)
            self._clock.start()
        if self._agenda[0][2] is check:
            self._clock_changed.notify()

    def _watch(self) -> None:
        with self._lock:
            while not self._stopped:
                now = time.monotonic()
                while self._agenda and self._agenda[0][0] <= now:
                    self._look_at(heapq.heappop(self._agenda)[2], now)
                self._clock_changed.wait(self._agenda[0][0] - now if self._agenda else None)

    def _look_at(self, check: _Check, now: float) -> None:
        if check.connection is not None and check.deadline <= now:
            check.connection.break_off()
            self._schedule(now + BREAK_OFF_INTERVAL, check)
        elif check.wanted and check.resume_at is not None and check.resume_at <= now:
            self._enqueue(check)


def _drop(check: _Check) -> None:
    check.wanted = False
    if check.connection is not None:
        check.connection.break_off()


def _quieten_paramiko() -> None:
    """Keep paramiko's lines and tracebacks out of the log, unless the operator gave its logger a level.

    What goes wrong with a connection is in the check's result.
    """
    logger = logging.getLogger("paramiko")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
