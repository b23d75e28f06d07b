"""Makes the calls of one provider: a few threads, a deadline for each call, and the order of what waits.

Nothing here knows what is called, or decides what comes of it. A provider that hangs fills its own threads and nobody
else's, and as they are daemon threads, it does not keep the process from ending either. One call is made again and
again, the poll: it has a thread of its own, and it is the probe by which a provider that did not answer is tried again.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from nodepool.driver.breaker import LONGEST_PAUSE, SHORTEST_DOUBT, Health
from nodepool.driver.call_queue import CallQueue, Lane
from nodepool.driver.errors import CloudError, NotBegun, RateLimited, UnknownOutcome
from nodepool.driver.gate import Gate

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How much a provider is given. Times are in seconds."""

    threads: int = 8
    """For all calls but the poll, at most; they are started when there is work for them."""
    deadline: float = 60.0
    """What a call is told."""
    margin: float = 30.0
    """How long after its deadline a call is given up. Its thread is replaced until it comes back."""
    most_given_up: int = 4
    """Most threads that are replaced at a time."""
    doubt: float = SHORTEST_DOUBT
    """How long a run of failures has to last before the provider counts as away."""
    patience: float = 10.0
    """How long creations wait for a provider that does not answer; everything else waits for as long as it takes."""
    repeats: float = 600.0
    """For how long a call is repeated that the cloud refuses because there are too many."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a call. Times are epoch seconds."""

    value: Any
    error: CloudError | None
    began: float
    ended: float


@dataclass(slots=True, eq=False)
class Call(Generic[T]):
    """What is to be done with a provider. Of several with one lane and key that wait, only the first is made."""

    lane: Lane
    key: Hashable
    do: Callable[[T, float], Any]
    """Takes whom to call, and the deadline in seconds. Raises only errors of :mod:`nodepool.driver.errors`."""
    done: Callable[[Result], None]
    """Called by some thread, and must not block: once, and if the call was given up, again at its true end."""
    operation: str = "other"
    """What kind of thing it does, for metrics."""
    refused_since: float | None = field(default=None, init=False)
    """Since when the cloud refuses it because there are too many (monotonic clock)."""


class _Crew:
    """The threads that do the same."""

    def __init__(self, lock: threading.Lock, name: str, size: int) -> None:
        self.wanted = threading.Condition(lock)
        self.name = name
        self.size = size
        self.started = 0
        self.threads = 0
        self.idle = 0
        """How many of them wait for work."""
        self.hung = 0
        """How many of them are in calls that were given up."""

    @property
    def too_many(self) -> bool:
        """Whether one that was replaced has come back."""
        return self.threads - self.hung > self.size


@dataclass(slots=True, eq=False)
class _Running(Generic[T]):
    call: Call[T]
    crew: _Crew
    since: float
    began: float
    given_up: bool = False


class CallPool(Generic[T]):
    """The calls of one provider. Any thread may use it; no method blocks.

    ``target`` is whom to call. ``poll`` is the call that is made when :meth:`poll_at` asks for it, at least
    ``interval`` seconds after the last one. ``tell`` learns how the provider is, whenever that changes; it must not
    block. ``ended`` learns of each call what it was for, how it ended, and after how many seconds, when it ended or was
    given up; it must not block either.
    """

    def __init__(
        self,
        name: str,
        target: T,
        poll: Call[T],
        interval: float,
        tell: Callable[[Health], None],
        limits: CallLimits | None = None,
        chance: Callable[[], float] = random.random,
        ended: Callable[[str, CloudError | None, float], None] = lambda *_: None,
    ) -> None:
        self._name = name
        self._target = target
        self._poll = poll
        self._interval = interval
        self._tell = tell
        self._limits = limits or CallLimits()
        self._log = logging.getLogger(f"nodepool.StateMachineProvider.{name}")
        self._lock = threading.Lock()
        self._callers = _Crew(self._lock, f"cloud-{name}", self._limits.threads)
        self._pollers = _Crew(self._lock, f"poller-{name}", 1)
        self._watchers = _Crew(self._lock, f"watcher-{name}", 1)
        self._watch_at: float | None = None
        self._queue: CallQueue[Call[T]] = CallQueue()
        self._running: set[_Running[T]] = set()
        self._gate = Gate(chance, time.monotonic(), self._limits.doubt, self._limits.patience)
        self._poll_due: float | None = None
        self._earliest_poll = 0.0
        self._failed_polls = 0
        self._ending = False
        self._successor: CallPool[T] | None = None
        self._ended: Callable[[], None] | None = None
        self._call_ended = ended

    # For everybody

    def start(self) -> None:
        """Begin to work. To be called once."""
        with self._lock:
            for crew in (self._callers, self._pollers, self._watchers):
                self._start_thread(crew)

    def submit(self, call: Call[T]) -> None:
        """Have a call made when its turn comes."""
        refused = False
        with self._lock:
            successor = self._successor
            if not self._ending:
                refused = call.lane is Lane.CREATE and self._gate.out_of_patience(time.monotonic())
                if not refused:
                    self._queue.add(call.lane, call.key, call)
                    self._callers.wanted.notify()
                    self._grow()
        if successor is not None:
            successor.submit(call)
        elif refused:
            self._refuse([call])

    def withdraw(self, lane: Lane, key: Hashable) -> Call[T] | None:
        """Take out a call that has not begun; None if there is none. What becomes of it is the caller's business."""
        with self._lock:
            successor = self._successor
            call = self._queue.remove(lane, key)
        return call if successor is None else successor.withdraw(lane, key)

    def poll_at(self, at: float) -> None:
        """Poll at ``at`` (epoch seconds) or as soon as the interval allows."""
        with self._lock:
            successor = self._successor
            if successor is None and not self._ending:
                due = at - time.time() + time.monotonic()
                self._poll_due = due if self._poll_due is None else min(due, self._poll_due)
                self._pollers.wanted.notify()
        if successor is not None:
            successor.poll_at(at)

    def end(self, ended: Callable[[], None], successor: CallPool[T] | None = None) -> None:
        """End; ``ended`` is called by one of our threads when no call is under way any more.

        What waits, and what will still be asked for here, is passed on to ``successor``; without one it is dropped.
        """
        with self._lock:
            self._ending, self._successor, self._ended = True, successor, ended
            waiting = list(self._queue)
            self._queue = CallQueue()
            poll_due, self._poll_due = self._poll_due, None
            for crew in (self._callers, self._pollers, self._watchers):
                crew.wanted.notify_all()
            if successor is not None:
                # Under our lock, so that what is on its way can be withdrawn.
                for call in waiting:
                    successor.submit(call)
                if poll_due is not None:
                    successor.poll_at(poll_due - time.monotonic() + time.time())
                successor._tell_again()

    # The threads

    def _work(self, crew: _Crew) -> None:
        if crew is self._watchers:
            self._watch()
        else:
            following = self._next_poll if crew is self._pollers else self._next_call
            while (running := following()) is not None:
                self._make(running)
        with self._lock:
            left = self._callers.threads + self._pollers.threads + self._watchers.threads
            ended = None
            if self._ending and not left:
                ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    def _next_call(self) -> _Running[T] | None:
        """Wait for a call to be due and begin it; None if this thread is not needed any more."""
        with self._lock:
            while not self._ending and not self._callers.too_many:
                now = time.monotonic()
                if self._gate.is_open(now):
                    call = self._queue.next()
                    if call is not None:
                        self._grow()
                        return self._begin(call, self._callers, now)
                self._callers.idle += 1
                self._callers.wanted.wait()
                self._callers.idle -= 1
            self._leave(self._callers)
            return None

    def _next_poll(self) -> _Running[T] | None:
        """The same for the poll."""
        with self._lock:
            while not self._ending and not self._pollers.too_many:
                now = time.monotonic()
                due = self._next_poll_due()
                if due is not None and due <= now:
                    self._poll_due = None
                    if self._gate.begin_poll(now):
                        self._tell(self._health())
                    return self._begin(self._poll, self._pollers, now)
                self._pollers.wanted.wait(None if due is None else due - now)
            self._leave(self._pollers)
            return None

    def _watch(self) -> None:
        """Give up what takes too long, end pauses and the patience of creations."""
        while True:
            with self._lock:
                if self._ending and not self._running:
                    self._leave(self._watchers)
                    return
                now = time.monotonic()
                overdue = [one for one in self._running if not one.given_up and now >= self._overdue_at(one)]
                for running in overdue:
                    self._give_up(running, now)
                refused = self._queue.clear(Lane.CREATE) if self._gate.out_of_patience(now) else []
                if not self._gate.pauses(now):
                    self._callers.wanted.notify_all()
                if not overdue and not refused:
                    self._watch_at = self._next_watch(now)
                    self._watchers.wanted.wait(None if self._watch_at is None else self._watch_at - now)
            for running in overdue:
                running.call.done(Result(None, self._too_long(), running.began, time.time()))
            self._refuse(refused)

    # Inside; to be called under the lock unless said otherwise

    def _grow(self) -> None:
        """Start another thread if there is work, and nobody to do it."""
        crew = self._callers
        if self._queue and crew.threads and not crew.idle and crew.threads - crew.hung < crew.size:
            self._start_thread(crew)

    def _start_thread(self, crew: _Crew) -> None:
        crew.threads += 1
        crew.started += 1
        name = crew.name if crew.size == crew.started == 1 else f"{crew.name}-{crew.started}"
        threading.Thread(target=self._work, args=(crew,), name=name, daemon=True).start()

    def _leave(self, crew: _Crew) -> None:
        """The thread that calls this ends. At once it does not count any more, so that not the next one leaves too."""
        crew.threads -= 1
        # It may have been woken for a call.
        crew.wanted.notify()

    def _begin(self, call: Call[T], crew: _Crew, now: float) -> _Running[T]:
        running = _Running(call, crew, now, time.time())
        self._running.add(running)
        if self._watch_at is None or self._watch_at > self._overdue_at(running):
            self._watchers.wanted.notify()
        return running

    def _make(self, running: _Running[T]) -> None:
        """Make a call and say what came of it. Not under the lock."""
        call, error, value = running.call, None, None
        try:
            value = call.do(self._target, self._limits.deadline)
        except CloudError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001 - a driver's defect must not end the thread of all others' calls
            self._log.exception("The driver of provider %s failed", self._name)
            error = UnknownOutcome(f"{type(raised).__name__}: {raised}")
        if not running.given_up:
            self._call_ended(call.operation, error, time.monotonic() - running.since)
        with self._lock:
            again = self._take_over(running, error)
            successor = self._successor
        if again and call is self._poll and successor is not None:
            successor.poll_at(time.time())
        elif again and successor is not None:
            successor.submit(call)
        # What a poll tells that was given up may have been overtaken.
        elif not again and not (running.given_up and call is self._poll):
            call.done(Result(value, error, running.began, time.time()))

    def _take_over(self, running: _Running[T], error: CloudError | None) -> bool:
        """A call ended; returns whether it is to be made again."""
        now = time.monotonic()
        self._running.discard(running)
        if self._ending:
            self._watchers.wanted.notify()
        if running.given_up:
            running.crew.hung -= 1
            return False
        if isinstance(error, RateLimited) and self._pause(running, error, now):
            return True
        if running.call is self._poll:
            self._failed_polls = 0 if error is None else self._failed_polls + 1
            pause = self._interval * 2 ** min(max(self._failed_polls - 1, 0), 16)
            self._earliest_poll = now + min(pause, max(self._interval, LONGEST_PAUSE))
        self._judge(running, error, now)
        return False

    def _judge(self, running: _Running[T], error: CloudError | None, now: float) -> None:
        """Tell the breaker, and whoever waits for it."""
        if not self._gate.ended(error, running.since, now):
            return
        for crew in (self._callers, self._pollers, self._watchers):
            crew.wanted.notify_all()
        self._say_health()

    def _pause(self, running: _Running[T], error: RateLimited, now: float) -> bool:
        """There are too many calls: make pauses; returns whether this one is to be made again after that."""
        call = running.call
        self._gate.refused(error, running.since, now)
        self._say_health()
        self._watchers.wanted.notify()
        if call.refused_since is None:
            call.refused_since = now
        if call is self._poll:
            self._poll_due = now
        elif now >= call.refused_since + self._limits.repeats:
            return False
        elif not self._ending:
            self._queue.put_back(call.lane, call.key, call)
        return True

    def _give_up(self, running: _Running[T], now: float) -> None:
        """A call hangs: let another thread go on in its place, unless there are many already."""
        running.given_up = True
        self._call_ended(running.call.operation, self._too_long(), now - running.since)
        running.crew.hung += 1
        hung = self._callers.hung + self._pollers.hung
        if hung <= self._limits.most_given_up:
            self._start_thread(running.crew)
        if hung == 1:
            self._log.warning("Provider %s: %s", self._name, self._too_long())
        self._judge(running, self._too_long(), now)

    def _too_long(self) -> UnknownOutcome:
        limits = self._limits
        return UnknownOutcome(f"a call has not ended {limits.margin:g} s after its deadline of {limits.deadline:g} s")

    def _overdue_at(self, running: _Running[T]) -> float:
        return running.since + self._limits.deadline + self._limits.margin

    def _next_watch(self, now: float) -> float | None:
        """When something has to be seen to, other than what others wake us for."""
        times = [self._overdue_at(running) for running in self._running if not running.given_up]
        return min((at for at in (*times, *self._gate.changes()) if at > now), default=None)

    def _next_poll_due(self) -> float | None:
        wanted = None if self._poll_due is None else max(self._poll_due, self._earliest_poll)
        return self._gate.poll_due(wanted)

    def _refuse(self, calls: list[Call[T]]) -> None:
        """Not under the lock."""
        for call in calls:
            error = NotBegun(f"provider {self._name} does not answer: {self._gate.error}")
            call.done(Result(None, error, time.time(), time.time()))

    def _tell_again(self) -> None:
        """The pool that we follow has said how the provider is, and says nothing any more. Not under the lock."""
        with self._lock:
            self._say_health()

    def _say_health(self) -> None:
        if not self._ending:
            self._tell(self._health())

    def _health(self) -> Health:
        return self._gate.health(time.time() - time.monotonic())
