"""The addresses of a subnet: given out, taken back, given out again. Pure."""

from __future__ import annotations

import ipaddress
from collections import deque

from tools.cloud.settings import AddressReuse

_FIRST = 10
"""The first addresses of a subnet belong to gateway and services."""


class AddressPool:
    """Addresses of ``cidr``, or those in ``given``, which then go round and may be in use several times."""

    def __init__(self, cidr: str, given: tuple[str, ...], reuse: AddressReuse) -> None:
        self.network = ipaddress.ip_network(cidr)
        self.gateway = str(self.network[1])
        self._given = deque(given)
        self._reuse = reuse
        self._next = _FIRST
        self._last = self.network.num_addresses - (2 if self.network.version == 4 else 1)
        self._returned: deque[str] = deque()
        self._used: set[str] = set()

    def take(self, wanted: str = "") -> str | None:
        """An address, or ``wanted``; None if there is none left, or that one is in use or not of this subnet."""
        if self._given:
            self._given.rotate(-1)
            return wanted or self._given[-1]
        address = self._free(wanted) if wanted else self._following()
        if address is not None:
            self._used.add(address)
        return address

    def give_back(self, address: str) -> None:
        """Take an address back."""
        if address in self._used:
            self._used.remove(address)
            self._returned.append(address)

    def _free(self, wanted: str) -> str | None:
        return wanted if wanted not in self._used and ipaddress.ip_address(wanted) in self.network else None

    def _following(self) -> str | None:
        if self._returned and (self._reuse is AddressReuse.SOON or self._next > self._last):
            address = self._returned.pop() if self._reuse is AddressReuse.SOON else self._returned.popleft()
            return address if address not in self._used else self._following()
        while self._next <= self._last:
            address = str(self.network[self._next])
            self._next += 1
            if address not in self._used:
                return address
        return self._following() if self._returned else None
