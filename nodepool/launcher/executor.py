"""Carries out what only a launcher asks for: of clouds, of hosts, of its pools' components.

Called from the decision thread and never blocks it; the results come as events from other threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from nodepool.daemon.executor import DaemonExecutor
from nodepool.driver.nodescan import ScanRequest, ScanResult
from nodepool.driver.readycheck.request import CheckRequest, CheckResult
from nodepool.launcher.events import CheckEnded, Event, ScanEnded
from nodepool.launcher.instructions import (
    CancelCheck,
    CancelCreate,
    CancelScan,
    CloudInstruction,
    CreateServer,
    DeleteServer,
    FindLeftovers,
    FinishServer,
    ListServers,
    Order,
    PublishPool,
    ReadConsole,
    ReadLimits,
    RemoveLeftover,
    StartCheck,
    StartScan,
)
from nodepool.model.component import Component
from nodepool.telemetry.facts import Fact, nowhere
from nodepool.zk.store import Store


class Hosts(Protocol):
    """Whoever looks at hosts: :class:`nodepool.driver.nodescan.scanner.Scanner`."""

    def submit(self, request: ScanRequest, done: Callable[[ScanResult], None]) -> None:
        """Start to look; ``done`` is called once."""

    def cancel(self, key: object) -> None:
        """Stop looking."""


class Checks(Protocol):
    """Whoever checks machines before use: :class:`nodepool.driver.readycheck.checker.Checker`."""

    def submit(self, request: CheckRequest, done: Callable[[CheckResult], None]) -> None:
        """Start to check; ``done`` is called once."""

    def cancel(self, key: object) -> None:
        """Stop checking."""


class Cloud(Protocol):
    """Whoever talks to one provider: :class:`nodepool.launcher.cloud_link.CloudLink`. No method blocks."""

    def create(self, instruction: CreateServer) -> None:
        """Make a server; ends as :class:`~nodepool.launcher.events.CreateEnded`."""

    def cancel_create(self, instruction: CancelCreate) -> None:
        """Do not make a server, unless that has begun; the creation ends as ever."""

    def finish(self, instruction: FinishServer) -> None:
        """Complete a server; ends as :class:`~nodepool.launcher.events.FinishEnded`."""

    def delete(self, instruction: DeleteServer) -> None:
        """Delete a server; ends as :class:`~nodepool.launcher.events.DeleteEnded`."""

    def list_servers(self, at: float) -> None:
        """List the servers at ``at`` (epoch seconds); ends as :class:`~nodepool.launcher.events.ServersListed`."""

    def read_limits(self) -> None:
        """Ask for the limits; ends as :class:`~nodepool.launcher.events.LimitsRead`."""

    def find_leftovers(self) -> None:
        """Look for leftovers; ends as :class:`~nodepool.launcher.events.LeftoversFound`."""

    def remove_leftover(self, instruction: RemoveLeftover) -> None:
        """Remove a leftover; ends as :class:`~nodepool.launcher.events.LeftoverRemoved`."""

    def read_console(self, instruction: ReadConsole) -> None:
        """Log a server's console."""


class Pools(Protocol):
    """Whoever keeps the components of our pools registered: :class:`nodepool.launcher.components.Components`."""

    def publish(self, key: str, component: Component | None) -> None:
        """Keep this registered under ``key``; None removes it."""


class Executor(DaemonExecutor[Order, Event]):
    """See the module's description."""

    def __init__(
        self,
        store: Store,
        clouds: Mapping[str, Cloud],
        hosts: Hosts,
        checks: Checks,
        pools: Pools,
        publish: Callable[[Event], None],
        measure: Callable[[Fact], None] = nowhere,
    ) -> None:
        """``clouds`` is read at each instruction: it may change with the configuration."""
        super().__init__(store, publish, measure)
        self._clouds = clouds
        self._hosts = hosts
        self._checks = checks
        self._pools = pools

    def _carry_out(self, order: Order) -> None:
        match order:
            case StartScan(request):
                self._scan(request)
            case CancelScan(key):
                self._hosts.cancel(key)
            case StartCheck(request):
                self._check(request)
            case CancelCheck(key):
                self._checks.cancel(key)
            case PublishPool(launcher_id, component):
                self._pools.publish(launcher_id, component)
            case _:
                cloud = self._clouds.get(order.provider)
                if cloud is not None:
                    _call(cloud, order)

    def _scan(self, request: ScanRequest) -> None:
        publish = self._publish
        self._hosts.submit(request, lambda result: publish(ScanEnded(request.key, result)))

    def _check(self, request: CheckRequest) -> None:
        publish = self._publish
        self._checks.submit(request, lambda result: publish(CheckEnded(request.key, result)))


def _call(cloud: Cloud, instruction: CloudInstruction) -> None:
    match instruction:
        case CreateServer():
            cloud.create(instruction)
        case CancelCreate():
            cloud.cancel_create(instruction)
        case FinishServer():
            cloud.finish(instruction)
        case DeleteServer():
            cloud.delete(instruction)
        case ListServers(_, at):
            cloud.list_servers(at)
        case ReadLimits():
            cloud.read_limits()
        case FindLeftovers():
            cloud.find_leftovers()
        case RemoveLeftover():
            cloud.remove_leftover(instruction)
        case ReadConsole():
            cloud.read_console(instruction)
