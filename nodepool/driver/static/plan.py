"""What to do about the hosts of a static provider: register, look, update, deregister (spec launcher 3.5). Pure.

The rule above all: a slot never has two records that can be used. A slot gets a record when none occupies it (see
:mod:`nodepool.driver.static.seats`) and the host has been looked at successfully since one last did. The looks are
told apart by object, not by time, because clocks may stand still.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from nodepool.driver.nodescan import ScanRequest
from nodepool.driver.static.config import StaticHost
from nodepool.driver.static.look import RETRY_INTERVAL, Look, has_host_keys, scan_key, scan_request
from nodepool.driver.static.seats import Seating, Seats, Slot, is_free, slots
from nodepool.driver.stock import (
    Deregister,
    Register,
    Scan,
    Scanned,
    Stock,
    StockAction,
    StockNode,
    StockPlan,
    Update,
)
from nodepool.model.node import Node
from nodepool.model.states import NodeState

LAUNCHER = "static driver"
"""What the records have as ``launcher`` (spec zookeeper 4.1)."""
_CHECK_TIMEOUT = 5.0


class StaticStock(Stock):
    """The hosts of one static provider. Called from the decision thread only."""

    def __init__(self, provider: str, hosts: Sequence[StaticHost]) -> None:
        self._provider = provider
        self._hosts = tuple(hosts)
        self._seats = Seats(self._hosts)
        self._used_looks: dict[Slot, Scanned | None] = {}
        """For each slot, the last look that was known when the slot was last seen occupied."""

    def plan(self, nodes: Sequence[StockNode], scans: Mapping[Hashable, Scanned], now: float) -> StockPlan:
        """What is missing, surplus or changed."""
        draft = _Draft(self._provider, now, self._seats.seat(nodes), self._used_looks)
        for entry in draft.seating.surplus:
            if is_free(entry):
                draft.actions.append(Deregister(entry.node.id, "no such host or slot in the configuration"))
        for host in self._hosts:
            draft.add_host(Look(host, scans.get(scan_key(self._provider, host)), now))
        return StockPlan(tuple(draft.actions), draft.wake, draft.unregistered)

    def is_current(self, node: Node) -> bool:
        """Whether there is such a host, and all that does not have to be learned from it is as configured."""
        host = self._host(node)
        if host is None or _needs_look(host, node):
            return False
        return all(getattr(node, name) == value for name, value in _configured(self._provider, host).items())

    def check_before_use(self, node: Node) -> ScanRequest | None:
        """A TCP connection within the host's timeout; nothing for a host that must not be contacted."""
        host = self._host(node)
        if host is not None and not host.checked:
            return None
        timeout = host.timeout if host else _CHECK_TIMEOUT
        return ScanRequest(
            key=(self._provider, "before use", node.id),
            host=str(node.interface_ip or node.hostname),
            port=node.connection_port if isinstance(node.connection_port, int) else 22,
            connection_type=node.connection_type or "ssh",
            timeout=timeout,
            attempt_timeout=timeout,
            retry=False,
            keys=False,
            group=self._provider,
        )

    def capacity(self, pool: str, *labels: str) -> int:
        """The sum of the slots of the pool's hosts that have one of the labels."""
        wanted = set(labels)
        return sum(host.slots for host in self._hosts if host.pool == pool and not wanted.isdisjoint(host.labels))

    def _host(self, node: Node) -> StaticHost | None:
        return next((host for host in self._hosts if host.identity == _identity(node)), None)


@dataclass(slots=True)
class _Draft:
    """A plan in the making."""

    provider: str
    now: float
    seating: Seating
    used_looks: dict[Slot, Scanned | None]
    actions: list[StockAction] = field(default_factory=list)
    wake: float = 0.0
    unregistered: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wake = self.now + RETRY_INTERVAL

    def add_host(self, look: Look) -> None:
        """All slots of a host."""
        times = [self._add_slot(look, slot) for slot in slots(look.host)]
        due = min((time for time in times if time is not None), default=None)
        if due is None:
            return
        if look.trouble is not None or look.scanned is None:
            self.unregistered[f"{look.host.name} port {look.host.port}"] = look.trouble
        if due <= self.now:
            self.actions.append(Scan(scan_request(self.provider, look.host)))
        else:
            self.wake = min(self.wake, due)

    def _add_slot(self, look: Look, slot: Slot) -> float | None:
        """One slot; returns when the host has to be looked at for it, None if it need not."""
        entry = self.seating.seats.get(slot)
        if entry is not None:
            self.used_looks[slot] = look.scanned
            return self._add_changes(look, slot, entry.node) if is_free(entry) else None
        used = self.used_looks.get(slot)
        if not look.is_good(after=used):
            return look.next_time(after=used)
        fresh = Node(id="", state=NodeState.READY, state_time=self.now, created_time=self.now, launcher=LAUNCHER)
        node = fresh.replace(**_fields(self.provider, look, slot[1]), host_keys=look.host_keys)
        self.actions.append(Register((self.provider, *slot), node))
        return None

    def _add_changes(self, look: Look, slot: Slot, node: Node) -> float | None:
        """A free record: bring it up to date; returns when the host has to be looked at before that."""
        wanted = _fields(self.provider, look, slot[1])
        if _needs_look(look.host, node):
            if not look.recent:
                return self.now
            if look.trouble is not None:
                self.actions.append(Deregister(node.id, f"its configuration has changed: {look.trouble}"))
                return None
            wanted["host_keys"] = look.host_keys
        elif look.newer_than(node):
            wanted["host_keys"] = look.host_keys
        changes = {name: value for name, value in wanted.items() if getattr(node, name) != value}
        if changes:
            self.actions.append(Update(node.replace(**changes)))
        return None


def _needs_look(host: StaticHost, node: Node) -> bool:
    """Whether the record tells nothing about the host as it is configured now."""
    if not host.checked:
        return False
    if (host.port, host.connection_type) != (node.connection_port, node.connection_type):
        return True
    return has_host_keys(host) and not set(host.host_keys) <= set(node.host_keys)


def _identity(node: Node) -> tuple[str | None, str | None, Any]:
    return node.hostname, node.username, node.connection_port


def _fields(provider: str, look: Look, slot: int) -> dict[str, Any]:
    """What the configuration says of a record, and the address if it is known."""
    values = _configured(provider, look.host) | {"slot": slot}
    version, address = _public_address(look.host.name) or _public_address(look.address or "") or (0, None)
    if version:
        values[f"public_ipv{version}"] = address
    return values


def _configured(provider: str, host: StaticHost) -> dict[str, Any]:
    return {
        "provider": provider,
        "pool": host.pool,
        "type": host.labels,
        "external_id": host.name,
        "hostname": host.name,
        "interface_ip": host.name,
        "connection_type": host.connection_type,
        "connection_port": host.port,
        "username": host.username,
        "python_path": host.python_path,
        "shell_type": host.shell_type,
        "attributes": host.attributes,
    }


@lru_cache(maxsize=10_000)
def _public_address(text: str) -> tuple[int, str] | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.version, str(address)
