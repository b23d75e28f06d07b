"""Runs scans: one thread with an event loop, however many hosts. Knows queueing, retries and deadlines, no protocol."""

import asyncio
import logging
import socket
import threading
import warnings
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from nodepool.driver.nodescan.attempt import Attempts
from nodepool.driver.nodescan.connect import AddressLookup, Resolver
from nodepool.driver.nodescan.hostkeys import client_options
from nodepool.driver.nodescan.request import ScanError, ScanFailure, ScanRequest, ScanResult

Done = Callable[[ScanResult], None]

_log = logging.getLogger(__name__)


class Scanner:
    """Scans hosts on request. Threads: its own, one for asyncssh's options, and ``resolver_threads`` for host names.

    At most ``limit`` hosts are worked on at once, at most ``limit_per_group`` of one group; the rest wait in order of
    submission. A host that waits for its next attempt (``retry_interval`` seconds after a failed one) holds no place.
    ``lookup`` is called like `socket.getaddrinfo`, in the resolver's threads.
    """

    def __init__(
        self,
        *,
        limit: int = 200,
        limit_per_group: int = 100,
        retry_interval: float = 1.0,
        resolver_threads: int = 4,
        lookup: AddressLookup = socket.getaddrinfo,
    ) -> None:
        self._limit = limit
        self._limit_per_group = limit_per_group
        self._retry_interval = retry_interval
        self._resolver_threads = resolver_threads
        self._lookup = lookup
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def start(self) -> None:
        """Start the thread; it is a daemon, so it ends with the process even if `stop` is never called.

        Raises ValueError when the process's user has no name (see `client_options`), RuntimeError when running already.
        """
        with self._lock:
            if self._running is not None:
                raise RuntimeError("The scanner is running already")
            _quieten_asyncssh()
            names = ThreadPoolExecutor(self._resolver_threads, thread_name_prefix="nodescan-names")
            attempts = Attempts(Resolver(names, self._lookup), client_options())
            places = _Places(self._limit, self._limit_per_group)
            self._running = _Running(attempts, places, self._retry_interval, names)
            self._running.thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End all scans as CANCELLED, then the thread; wait for it ``timeout`` seconds at most. Any thread but its own.

        When it returns in time, every ``done`` has been called. Stopping twice is harmless; starting again is allowed.
        """
        with self._lock:
            running, self._running = self._running, None
            if running is not None:
                running.loop.call_soon_threadsafe(running.loop.stop)
        if running is not None:
            running.thread.join(timeout)

    def submit(self, request: ScanRequest, done: Done) -> None:
        """Scan a host; call ``done`` exactly once, from the scanner's thread. Any thread; never blocks.

        ``done`` must be short, as it holds up all other scans. A scan under way with the same key ends as CANCELLED.
        Raises RuntimeError when the scanner is not running.
        """
        self._call(lambda running: running.begin(request, done))

    def cancel(self, key: Hashable) -> None:
        """End the scan of ``key`` soon as CANCELLED, if there is one. Any thread; never blocks.

        Raises RuntimeError when the scanner is not running.
        """
        self._call(lambda running: running.cancel(key))

    def _call(self, action: Callable[["_Running"], None]) -> None:
        # Under the lock, so that nothing is handed to the loop after the order to stop.
        with self._lock:
            if self._running is None:
                raise RuntimeError("The scanner is not running")
            self._running.loop.call_soon_threadsafe(action, self._running)


class _Running:
    """A started scanner. Everything but the constructor runs in its thread."""

    def __init__(self, attempts: Attempts, places: "_Places", retry_interval: float, names: ThreadPoolExecutor) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="nodescan", daemon=True)
        self._attempts = attempts
        self._places = places
        self._retry_interval = retry_interval
        self._names = names
        self._scans: dict[Hashable, asyncio.Task[ScanResult]] = {}

    def begin(self, request: ScanRequest, done: Done) -> None:
        self.cancel(request.key)
        task = self.loop.create_task(self._scan(request))
        self._scans[request.key] = task
        task.add_done_callback(partial(self._report, request, done))

    def cancel(self, key: Hashable) -> None:
        task = self._scans.get(key)
        if task is not None:
            task.cancel()

    def _run(self) -> None:
        self.loop.set_exception_handler(_log_loop_error)
        # asyncssh prepares its options in the default executor; one thread is plenty for that.
        self.loop.set_default_executor(ThreadPoolExecutor(1, thread_name_prefix="nodescan-ssh"))
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self._end_scans())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            self._names.shutdown(wait=False, cancel_futures=True)
            self.loop.close()

    async def _end_scans(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _scan(self, request: ScanRequest) -> ScanResult:
        deadline = self.loop.time() + request.timeout
        failed: ScanError | None = None
        attempts = 0
        while True:
            asked = self.loop.time()
            async with self._places.taken(request.group):
                deadline += self.loop.time() - asked  # Time in the queue is not the host's.
                attempts += 1
                try:
                    return await self._attempts.scan_once(request, deadline)
                except ScanError as error:
                    # What the deadline cut off says less about the host than a whole attempt before it.
                    if failed is None or not error.cut_short:
                        failed = error
            if not request.retry or self.loop.time() + self._retry_interval >= deadline:
                detail = f"{failed.detail} (attempts: {attempts})"
                return ScanResult(request.key, failure=failed.failure, detail=detail)
            await asyncio.sleep(self._retry_interval)

    def _report(self, request: ScanRequest, done: Done, task: asyncio.Task[ScanResult]) -> None:
        if self._scans.get(request.key) is task:
            del self._scans[request.key]
        try:
            done(_result_of(request, task))
        except Exception:  # noqa: BLE001  The edge of the loop: one receiver's error must not lose the others' results.
            _log.exception("The receiver of the scan of %r failed", request.key)


def _result_of(request: ScanRequest, task: asyncio.Task[ScanResult]) -> ScanResult:
    if task.cancelled():
        return ScanResult(request.key, failure=ScanFailure.CANCELLED)
    error = task.exception()
    if error is None:
        return task.result()
    _log.error("Scan of %r at %s port %s failed", request.key, request.host, request.port, exc_info=error)
    return ScanResult(request.key, failure=ScanFailure.INTERNAL, detail=f"{type(error).__name__}: {error}")


class _Places:
    """Bounds the attempts under way, per group and in all; first come, first served."""

    def __init__(self, limit: int, limit_per_group: int) -> None:
        self._all = asyncio.Semaphore(limit)
        self._group = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(limit_per_group))

    @asynccontextmanager
    async def taken(self, group: str) -> AsyncIterator[None]:
        # The group first: a full group must not hold places of the others while it waits for its own.
        async with self._group[group], self._all:
            yield


def _quieten_asyncssh() -> None:
    """Keep asyncssh's INFO lines about each connection out of the log, unless the operator gave its logger a level.

    What goes wrong with a connection is in the scan's result. The warning is about key exchanges that asyncssh offers
    for the sake of old servers; it is for asyncssh's authors, not for operators.
    """
    logger = logging.getLogger("asyncssh")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "Diffie-Hellman over finite fields", module=r"asyncssh\.")


def _log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A callback of asyncio or asyncssh failed; the scan it belonged to ends by its deadline."""
    _log.error("Event loop: %s", context.get("message"), exc_info=context.get("exception"))
