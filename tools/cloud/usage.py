"""How much of the quota of servers is used, was used at most, and how often it was refused. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tools.cloud.records import Flavor, Refused
from tools.cloud.settings import UNLIMITED, Quota


@dataclass(frozen=True, slots=True)
class Amount:
    """Servers, cores and memory (MiB)."""

    instances: int = 0
    cores: int = 0
    ram: int = 0

    @classmethod
    def of(cls, flavor: Flavor) -> Amount:
        """One server of a flavor."""
        return cls(1, flavor.vcpus, flavor.ram)

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.instances + other.instances, self.cores + other.cores, self.ram + other.ram)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.instances - other.instances, self.cores - other.cores, self.ram - other.ram)


_NAMES = ("instances", "cores", "ram")


class Usage:
    """Counts the servers of a region."""

    def __init__(self) -> None:
        self.alive = Amount()
        """All that were created and are not gone."""
        self.placed = Amount()
        """Those among them that found room."""
        self.peak = Amount()
        self.over_quota = Amount()
        """The most that ``alive`` was ever beyond the quota, for each resource."""
        self.refused = 0
        """Creations that were refused, or failed, for a quota of any kind."""
        self.created = 0
        self.gone = 0
        self._holders: Counter[str] = Counter()
        self.doubles: dict[str, int] = {}
        """Tag values that several living servers had at once, with the most at a time."""
        self.vanished: list[str] = []
        """Tag values of servers that went though nobody had asked."""

    def reset_peaks(self) -> None:
        """Begin to measure anew; what is alive stays counted."""
        self.peak, self.over_quota = self.alive, Amount()
        self.refused = self.created = self.gone = 0
        self.doubles, self.vanished = {}, []

    def check(self, used: Amount, more: Amount, quota: Quota) -> None:
        """Refuse with 403, as Nova does, if ``used`` and ``more`` go beyond the quota."""
        exceeded = [
            name
            for name in _NAMES
            if getattr(quota, name) != UNLIMITED and getattr(used, name) + getattr(more, name) > getattr(quota, name)
        ]
        if exceeded:
            names = ", ".join(exceeded)
            asked, have, limit = (
                ", ".join(str(getattr(source, name)) for name in exceeded) for source in (more, used, quota)
            )
            message = f"Quota exceeded for {names}: Requested {asked}, but already used {have} of {limit} {names}"
            raise Refused(403, message)

    def begin(self, amount: Amount, quota: Quota) -> None:
        """A server was created."""
        self.created += 1
        self.alive += amount
        self.peak = Amount(*(max(getattr(self.peak, name), getattr(self.alive, name)) for name in _NAMES))
        beyond = (_beyond(getattr(self.alive, name), getattr(quota, name)) for name in _NAMES)
        self.over_quota = Amount(
            *(max(getattr(self.over_quota, name), more) for name, more in zip(_NAMES, beyond, strict=True))
        )

    def end(self, amount: Amount) -> None:
        """A server is gone."""
        self.gone += 1
        self.alive -= amount

    def hold(self, tag: str) -> None:
        """A living server has this tag."""
        if tag:
            self._holders[tag] += 1
            if self._holders[tag] > 1:
                self.doubles[tag] = max(self.doubles.get(tag, 0), self._holders[tag])

    def let_go(self, tag: str) -> None:
        """The server with this tag is being deleted."""
        if tag:
            self._holders[tag] -= 1
            if not self._holders[tag]:
                del self._holders[tag]


def _beyond(used: int, limit: int) -> int:
    return 0 if limit == UNLIMITED else max(0, used - limit)
