"""One launcher in a simulation: the real decision core, executor and component registry, on a store in memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

from nodepool.daemon.events import Configured
from nodepool.driver.nodescan import ScanFailure, ScanRequest, ScanResult
from nodepool.driver.readycheck.request import CheckRequest, CheckResult
from nodepool.launcher.components import Components
from nodepool.launcher.events import Stopping
from nodepool.launcher.executor import Executor
from nodepool.launcher.reconciler import Reconciler
from nodepool.launcher.service import ROOTS
from nodepool.launcher.setup import Setup
from nodepool.zk.registry import Registry
from tests.simulation.daemon import SimulatedDaemon, Surroundings
from tests.simulation.launchers.clouds import SimulatedAdapter, SimulatedCloud

STOP_LIMIT = 10.0
"""Most seconds that an orderly stop takes."""
Scan = Callable[[ScanRequest], ScanResult]
Check = Callable[[CheckRequest], CheckResult]


class SimulatedLauncher(SimulatedDaemon):
    """A launcher process."""

    reconciler: Reconciler
    executor: Executor
    roots = ROOTS

    def __init__(
        self,
        name: str,
        around: Surroundings,
        setup: Setup,
        adapters: Mapping[str, SimulatedAdapter],
        scan: Scan = lambda request: ScanResult(request.key, ("ssh-ed25519 AAAA",)),
        check: Check = lambda _: CheckResult(),
    ) -> None:
        super().__init__(name, around)
        self.reconciler = Reconciler(self.chance)
        self._registry = Registry(self.store, name)
        components = Components(self._registry, name, "simulated")
        clouds = {provider: SimulatedCloud(self, provider, adapter) for provider, adapter in adapters.items()}
        hosts, checks = SimulatedHosts(self, scan), SimulatedChecks(self, check)
        self.executor = Executor(self.store, clouds, hosts, checks, components, self.publish)
        self.publish(Configured(setup))

    def stop(self) -> None:
        """SIGINT: give back what is not done, and end."""
        self._finish(Stopping(), STOP_LIMIT)

    def cloud_latency(self) -> float:
        """Seconds for one way between us and a cloud or a host."""
        return 0.02 + self.chance.random() * 0.3


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
