"""A cloud in memory: servers, quota, delay and faults. No clock, no threads, no waiting of its own.

The time is what ``now`` says and chance what ``chance`` says, so that a simulation with virtual time and one seed runs
the same every time. Nothing happens in the background: the state of a server is computed from the time when asked for.
Not thread-safe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Protocol

from nodepool.driver.adapter import Server, ServerState
from nodepool.driver.errors import (
    CloudError,
    NoCapacity,
    NotFound,
    QuotaExceeded,
    RateLimited,
    UnknownOutcome,
)
from nodepool.driver.fake.faults import NO_FAULTS, FaultRates
from nodepool.model.record import NOTHING
from nodepool.model.resources import Resources

DEFAULT_QUOTA = Resources.limit({"instances": 20, "cores": 100, "ram": 1_000_000, "volumes": 100})
"""Limits of the cloud; RAM in MiB (spec drivers 12)."""
DEFAULT_ADDRESS = "fake"
"""Address of all servers unless told otherwise; nothing is there, so that nodes with it are not checked."""

_BOOT_FAULTS: tuple[tuple[type[CloudError], str], ...] = (
    (NoCapacity, "no valid host was found"),
    (QuotaExceeded, "quota exceeded while the server was being built"),
    (CloudError, "the hypervisor gave up"),
)


class Chance(Protocol):
    """What is needed of :class:`random.Random`."""

    def random(self) -> float:
        """A number from 0 up to, but not including, 1."""
        ...


@dataclass(frozen=True, slots=True)
class FakeCloudSettings:
    """How a fake cloud behaves. Times are in seconds."""

    quota: Resources = DEFAULT_QUOTA
    boot_time: float = 0.1
    """From creation to ACTIVE or ERROR."""
    delete_time: float = 0.0
    """From the call to the end of the server."""
    list_lag: float = 0.0
    """Longest time for which a list may not know of a creation or of an end yet."""
    address: str = DEFAULT_ADDRESS
    faults: FaultRates = NO_FAULTS


@dataclass(slots=True)
class _Machine:
    external_id: str
    tags: Mapping[str, str]
    resources: Resources
    az: str | None
    boot_end: float
    fault: tuple[type[CloudError], str] | None
    seen_from: float
    gone_from: float = inf
    """When it ends and gives its resources back."""
    listed_until: float = inf
    delete_asked: bool = False

    def state(self, now: float) -> ServerState:
        if self.delete_asked:
            return ServerState.DELETING
        if now < self.boot_end:
            return ServerState.BUILDING
        return ServerState.ERROR if self.fault else ServerState.ACTIVE


class FakeCloud:
    """The servers of one project, whoever made them."""

    def __init__(
        self,
        now: Callable[[], float],
        chance: Chance,
        settings: FakeCloudSettings | None = None,
        region: str | None = None,
    ) -> None:
        self.settings = settings or FakeCloudSettings()
        self.calls: Counter[str] = Counter()
        """Calls so far: ``create``, ``delete``, ``list``, ``limits``; failed ones count."""
        self.faults: Counter[str] = Counter()
        """Faults so far, by the names of :class:`FaultRates`."""
        self.peak = Resources()
        """The most that was ever in use at once, for each resource by itself."""
        self._now = now
        self._chance = chance
        self._region = region
        self._machines: dict[str, _Machine] = {}
        self._ending: list[_Machine] = []
        self._in_use = Resources()
        """Of all machines but those in ``_ending`` that have ended since."""
        self._count = 0

    # What a client may call

    def create(self, tags: Mapping[str, str], resources: Resources, az: str | None = None) -> str:
        """Make a server; returns its id. Raises the errors of a cloud."""
        self.calls["create"] += 1
        self._raise_before_creation()
        shortage = (self.used() + resources).shortage(self.settings.quota)
        if shortage:
            raise QuotaExceeded(f"quota exceeded for {', '.join(shortage)}")
        done = self._hits("create_unknown_done")
        late = not done and self._hits("create_late")
        machine = self._machine(tags, resources, az, late)
        self._machines[machine.external_id] = machine
        self._in_use += machine.resources
        used = self._in_use
        names = {*self.peak.names(), *used.names()}
        self.peak = Resources({name: max(self.peak[name], used[name]) for name in names})
        if done or late:
            raise UnknownOutcome("the connection broke before the cloud's answer came")
        return machine.external_id

    def list(self) -> tuple[Server, ...]:
        """The servers, as the cloud likes to know of them at this moment, oldest first."""
        self.calls["list"] += 1
        if self._hits("list_fails"):
            raise CloudError("the list of servers is not available")
        if self._hits("list_unknown"):
            raise UnknownOutcome("no list of servers came in time")
        now = self._now()
        self._forget(now)
        return tuple(
            self._server(machine, now)
            for machine in self._machines.values()
            if machine.seen_from <= now < machine.listed_until
        )

    def delete(self, external_id: str) -> None:
        """Begin to delete a server. Raises the errors of a cloud, NotFound among them."""
        self.calls["delete"] += 1
        now = self._now()
        machine = self._machines.get(external_id)
        if machine is None or machine.gone_from <= now:
            raise NotFound(f"there is no server {external_id}")
        if self._hits("delete_refused"):
            raise CloudError("the server is busy")
        if self._hits("delete_lost"):
            return
        stuck = not machine.delete_asked and self._hits("delete_stuck")
        machine.delete_asked = True
        if not stuck and machine.gone_from == inf:
            self._end(machine, now + self.settings.delete_time)
        if self._hits("delete_unknown"):
            raise UnknownOutcome("the connection broke before the cloud's answer came")

    def limits(self) -> Resources:
        """The quota."""
        self.calls["limits"] += 1
        return self.settings.quota

    def console(self, external_id: str) -> str | None:
        """What a server printed so far."""
        machine = self._machines.get(external_id)
        if machine is None or machine.gone_from <= self._now():
            return None
        return f"{external_id} boots\n{external_id} login:\n"

    # What only a test or an operator of the cloud can know

    def alive(self) -> tuple[Server, ...]:
        """All servers that exist and use quota, whether a list shows them or not. Not counted as a call."""
        now = self._now()
        return tuple(self._server(machine, now) for machine in self._machines.values() if machine.gone_from > now)

    def used(self) -> Resources:
        """What the living servers use."""
        now = self._now()
        if any(machine.gone_from <= now for machine in self._ending):
            ended = Resources.total(machine.resources for machine in self._ending if machine.gone_from <= now)
            self._ending = [machine for machine in self._ending if machine.gone_from > now]
            self._in_use -= ended
        return self._in_use

    def fail(self, external_id: str, fault: type[CloudError] = CloudError, text: str = "killed") -> None:
        """Put a server into ERROR."""
        machine = self._machines[external_id]
        machine.fault, machine.boot_end = (fault, text), min(machine.boot_end, self._now())

    def repair(self) -> None:
        """End all faults: no new ones from now on, and what is stuck in deletion goes."""
        settings = self.settings
        self.settings = FakeCloudSettings(
            settings.quota, settings.boot_time, settings.delete_time, settings.list_lag, settings.address
        )
        for machine in self._machines.values():
            if machine.delete_asked and machine.gone_from == inf:
                self._end(machine, self._now())

    # Inside

    def _raise_before_creation(self) -> None:
        if self._hits("create_refused"):
            raise CloudError("the request was refused")
        if self._hits("create_quota"):
            raise QuotaExceeded("quota exceeded by others")
        if self._hits("create_no_capacity"):
            raise NoCapacity("no valid host was found")
        if self._hits("create_rate_limited"):
            raise RateLimited("too many requests", retry_after=1.0)
        if self._hits("create_unknown_undone"):
            raise UnknownOutcome("the connection broke")

    def _machine(self, tags: Mapping[str, str], resources: Resources, az: str | None, late: bool) -> _Machine:
        now = self._now()
        self._count += 1
        fault = None
        if self._hits("boot_error"):
            fault = _BOOT_FAULTS[int(self._chance.random() * len(_BOOT_FAULTS))]
        stuck = fault is None and self._hits("boot_stuck")
        return _Machine(
            external_id=f"fake-{self._count:08d}",
            tags=dict(tags),
            resources=resources,
            az=az,
            boot_end=inf if stuck else now + self.settings.boot_time,
            fault=fault,
            seen_from=now + (self.settings.faults.late_appearance if late else self._lag()),
        )

    def _end(self, machine: _Machine, end: float) -> None:
        machine.gone_from = end
        machine.listed_until = end + self._lag()
        self._ending.append(machine)

    def _server(self, machine: _Machine, now: float) -> Server:
        state = machine.state(now)
        fault = machine.fault if state is ServerState.ERROR else None
        address = self.settings.address if state is ServerState.ACTIVE else None
        ipv6 = address is not None and ":" in address
        return Server(
            external_id=machine.external_id,
            state=state,
            tags=machine.tags,
            fault=fault[0] if fault else None,
            fault_text=fault[1] if fault else "",
            interface_ip=address,
            public_ipv4=None if ipv6 else address,
            private_ipv4=None if ipv6 else address,
            public_ipv6=address if ipv6 else None,
            host_id="fake" if address else None,
            cloud="fake",
            region=self._region,
            az=machine.az,
            resources=machine.resources,
            record={"node_properties": {}} if address else NOTHING,
        )

    def _forget(self, now: float) -> None:
        for external_id in [
            key for key, item in self._machines.items() if max(item.gone_from, item.listed_until) <= now
        ]:
            del self._machines[external_id]

    def _lag(self) -> float:
        lag = self.settings.list_lag
        return lag * self._chance.random() if lag else 0.0

    def _hits(self, fault: str) -> bool:
        rate = getattr(self.settings.faults, fault)
        hit = bool(rate) and self._chance.random() < rate
        if hit:
            self.faults[fault] += 1
        return hit
