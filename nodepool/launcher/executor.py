"""Carries out instructions and reports what came of them as events.

The edge between the decision core and the world: ZooKeeper, clouds, hosts, the log. Called from the decision thread and
never blocks it; the results come from other threads, through ``publish``, which must be safe to call from any.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from nodepool.driver.nodescan import ScanRequest, ScanResult
from nodepool.driver.readycheck.request import CheckRequest, CheckResult
from nodepool.launcher.events import CheckEnded, CommitEnded, Event, ScanEnded
from nodepool.launcher.instructions import (
    CancelCheck,
    CancelCreate,
    CancelScan,
    Commit,
    CreateServer,
    DeleteServer,
    FindLeftovers,
    FinishServer,
    Instruction,
    ListServers,
    PublishPool,
    ReadConsole,
    ReadLimits,
    RemoveLeftover,
    Say,
    StartCheck,
    StartScan,
)
from nodepool.model.component import Component
from nodepool.telemetry.logs import annotate
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
        """Remove a leftover."""

    def read_console(self, instruction: ReadConsole) -> None:
        """Log a server's console."""


class Pools(Protocol):
    """Whoever keeps the components of our pools registered: :class:`nodepool.launcher.components.Components`."""

    def publish(self, key: str, component: Component | None) -> None:
        """Keep this registered under ``key``; None removes it."""


class Executor:
    """See the module's description."""

    def __init__(
        self,
        store: Store,
        clouds: Mapping[str, Cloud],
        hosts: Hosts,
        checks: Checks,
        pools: Pools,
        publish: Callable[[Event], None],
    ) -> None:
        """``clouds`` is read at each instruction: it may change with the configuration."""
        self._store = store
        self._clouds = clouds
        self._hosts = hosts
        self._checks = checks
        self._pools = pools
        self._publish = publish

    def carry_out(self, instructions: Iterable[Instruction]) -> None:
        """Start everything; returns at once."""
        for instruction in instructions:
            self._carry_out(instruction)

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case Commit():
                self._commit(instruction)
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
            case Say():
                _say(instruction)
            case _:
                cloud = self._clouds.get(instruction.provider)
                if cloud is not None:
                    _call(cloud, instruction)

    def _commit(self, commit: Commit) -> None:
        publish = self._publish
        self._store.commit(commit.operations, lambda outcome: publish(CommitEnded(commit, outcome)), commit.session)

    def _scan(self, request: ScanRequest) -> None:
        publish = self._publish
        self._hosts.submit(request, lambda result: publish(ScanEnded(request.key, result)))

    def _check(self, request: CheckRequest) -> None:
        publish = self._publish
        self._checks.submit(request, lambda result: publish(CheckEnded(request.key, result)))


_CloudInstruction = (
    CreateServer
    | CancelCreate
    | FinishServer
    | DeleteServer
    | ListServers
    | ReadLimits
    | FindLeftovers
    | RemoveLeftover
    | ReadConsole
)


def _call(cloud: Cloud, instruction: _CloudInstruction) -> None:
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


def _say(sentence: Say) -> None:
    log = annotate(
        logging.getLogger(sentence.logger),
        event_id=sentence.event_id,
        node_request_id=sentence.request_id,
        node_id=sentence.node_id,
    )
    log.log(sentence.level.value, sentence.message)
