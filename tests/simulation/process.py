"""One launcher in a simulation: the real decision core, executor and component registry, on a store in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial

from nodepool.driver.nodescan import ScanFailure, ScanRequest, ScanResult
from nodepool.driver.readycheck.request import CheckRequest, CheckResult
from nodepool.launcher.components import Components
from nodepool.launcher.events import Configured, Event, News, SessionChanged, Stopping
from nodepool.launcher.executor import Executor
from nodepool.launcher.instructions import Instruction
from nodepool.launcher.reconciler import Reconciler
from nodepool.launcher.setup import Setup
from nodepool.zk import paths
from nodepool.zk.memory import MemoryEnsemble, MemoryStore
from nodepool.zk.registry import Registry
from nodepool.zk.store import (
    Batch,
    ChildrenOutcome,
    ContendOutcome,
    Operation,
    Outcome,
    ReadOutcome,
    SessionChange,
    Store,
)
from tests.simulation.clock import Action, Clock
from tests.simulation.clouds import SimulatedAdapter, SimulatedCloud

ROOTS = (paths.NODES, paths.REQUESTS, paths.REQUEST_LOCKS, paths.IMAGES, paths.COMPONENTS, paths.ELECTIONS)
STOP_LIMIT = 10.0
"""Most seconds that an orderly stop takes."""
Crash = Callable[[str], bool]
"""Asked before and after each effect whether the process dies there."""
Scan = Callable[[ScanRequest], ScanResult]
Check = Callable[[CheckRequest], CheckResult]


class SimulatedLauncher:
    """A launcher process. Dies when ``crash`` says so, and then does nothing any more."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        ensemble: MemoryEnsemble,
        chance: random.Random,
        setup: Setup,
        adapters: Mapping[str, SimulatedAdapter],
        *,
        crash: Crash = lambda _: False,
        wrap: Callable[[Store], Store] = lambda store: store,
        scan: Scan = lambda request: ScanResult(request.key, ("ssh-ed25519 AAAA",)),
        check: Check = lambda _: CheckResult(),
        observe: Callable[[Instruction], None] = lambda _: None,
        count: Callable[[str], None] = lambda _: None,
        session_timeout: float = 10.0,
    ) -> None:
        self.name = name
        self.clock = clock
        self.chance = chance
        self.count = count
        self.alive = True
        self.frozen = False
        self.slowness = 0.0
        """Most seconds that a decision may take beyond half a millisecond."""
        self._crash = crash
        self._observe = observe
        self.memory = MemoryStore(ensemble, clock.schedule, self.latency, session_timeout)
        self.store = wrap(_Edge(self, self.memory))
        self.reconciler = Reconciler(chance)
        self._registry = Registry(self.store, name)
        components = Components(self._registry, name, "simulated")
        clouds = {provider: SimulatedCloud(self, provider, adapter) for provider, adapter in adapters.items()}
        hosts, checks = SimulatedHosts(self, scan), SimulatedChecks(self, check)
        self.executor = Executor(self.store, clouds, hosts, checks, components, self.publish)
        self._inbox: list[Event] = []
        self._scheduled = False
        self._stopping = False
        self._wake_at: float | None = None
        self._held: list[Action] = []
        self.publish(Configured(setup))

    def start(self) -> None:
        """Connect and begin to work."""
        self.memory.listen(lambda change: self.publish(SessionChanged(change)))
        self.memory.feed(ROOTS, lambda batch: self.publish(News(batch)))
        self.memory.start()

    def die(self) -> None:
        """SIGKILL."""
        if self.alive:
            self.alive = False
            self.memory.crash()

    def dies(self, where: str) -> bool:
        """Whether the process dies here; True also if it is dead already."""
        if self.alive and self._crash(where):
            self.die()
        return not self.alive

    def stop(self) -> None:
        """SIGINT: give back what is not done, and end."""
        self._stopping = True
        self.publish(Stopping())
        self.later(STOP_LIMIT, self._end)

    def configure(self, setup: Setup) -> None:
        """There is a new configuration."""
        self.publish(Configured(setup))

    def freeze(self) -> None:
        """SIGSTOP."""
        self.frozen = True
        self.memory.pause()

    def thaw(self) -> None:
        """SIGCONT."""
        if self.alive and self.frozen:
            self.frozen = False
            held, self._held = self._held, []
            for action in held:
                self.later(0.0, action)
            self.memory.resume()

    def latency(self) -> float:
        """Seconds for one way between us and ZooKeeper."""
        return self.chance.random() * 0.004

    def cloud_latency(self) -> float:
        """Seconds for one way between us and a cloud or a host."""
        return 0.02 + self.chance.random() * 0.3

    def later(self, delay: float, action: Action) -> None:
        """Run an action of this process."""
        self.clock.schedule(delay, partial(self._run, action))

    def publish(self, event: Event) -> None:
        """Give the decision core an event."""
        self._inbox.append(event)
        if not self._scheduled:
            self._scheduled = True
            self.later(0.0005 + self.chance.random() * self.slowness, self._decide)

    def _run(self, action: Action) -> None:
        if not self.alive:
            return
        if self.frozen:
            self._held.append(action)
        else:
            action()

    def _decide(self) -> None:
        self._scheduled = False
        events, self._inbox = self._inbox, []
        for instruction in self.reconciler.handle(events, self.clock.now):
            if not self.alive:
                return
            self._observe(instruction)
            self.executor.carry_out([instruction])
        self._wake()
        if self._stopping and self.reconciler.stopped:
            self._end()

    def _wake(self) -> None:
        at = self.reconciler.next_wake()
        if at is None or (self._wake_at is not None and self.clock.now < self._wake_at <= at):
            return
        self._wake_at = at
        self.later(at - self.clock.now, self._decide_if_idle)

    def _decide_if_idle(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._decide()

    def _end(self) -> None:
        if self.alive:
            self.alive = False
            self.memory.close()


class SimulatedHosts:
    """Looks at hosts; what they answer is what ``scan`` says."""

    def __init__(self, process: SimulatedLauncher, scan: Scan) -> None:
        self._process = process
        self._scan = scan
        self._open: dict[Hashable, Callable[[ScanResult], None]] = {}

    def submit(self, request: ScanRequest, done: Callable[[ScanResult], None]) -> None:
        """Look at a host."""
        self.cancel(request.key)
        self._open[request.key] = done

        def answer() -> None:
            if self._open.get(request.key) is done:
                del self._open[request.key]
                done(self._scan(request))

        self._process.later(self._process.cloud_latency(), answer)

    def cancel(self, key: Hashable) -> None:
        """Stop looking."""
        done = self._open.pop(key, None)
        if done is not None:
            done(ScanResult(key, failure=ScanFailure.CANCELLED))


class SimulatedChecks:
    """Checks machines before use; what they answer is what ``check`` says."""

    def __init__(self, process: SimulatedLauncher, check: Check) -> None:
        self._process = process
        self._check = check
        self._open: set[Hashable] = set()

    def submit(self, request: CheckRequest, done: Callable[[CheckResult], None]) -> None:
        """Check a machine."""
        self._open.add(request.key)

        def answer() -> None:
            if request.key in self._open:
                self._open.discard(request.key)
                done(self._check(request))

        self._process.later(self._process.cloud_latency(), answer)

    def cancel(self, key: Hashable) -> None:
        """Stop checking."""
        self._open.discard(key)


class _Edge:
    """A store whose process may die before and after it sends a transaction."""

    def __init__(self, process: SimulatedLauncher, store: MemoryStore) -> None:
        self._process = process
        self._store = store

    def session(self) -> int:
        return self._store.session()

    def commit(self, operations: Sequence[Operation], done: Callable[[Outcome], None], session: int = 0) -> None:
        if self._process.dies("before a transaction"):
            return
        self._store.commit(operations, done, session)
        self._process.dies("after a transaction")

    def contend(
        self, directory: str, identifier: bytes, done: Callable[[ContendOutcome], None], session: int = 0
    ) -> None:
        self._store.contend(directory, identifier, done, session)

    def read(self, paths: Sequence[str], done: Callable[[ReadOutcome], None]) -> None:
        self._store.read(paths, done)

    def children(self, path: str, done: Callable[[ChildrenOutcome], None]) -> None:
        self._store.children(path, done)

    def listen(self, listener: Callable[[SessionChange], None]) -> None:
        self._store.listen(listener)

    def feed(self, roots: Iterable[str], publish: Callable[[Batch], None]) -> None:
        self._store.feed(tuple(roots), publish)
