"""What a simulated project has besides servers: zones, addresses, ports and images, and what is left of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

from nodepool.driver.adapter import Leftover, Server, ServerState
from nodepool.driver.errors import CloudError, NoCapacity, NotFound, QuotaExceeded, UnknownOutcome
from nodepool.driver.fake.cloud import FakeCloud

ADDRESSES, PORTS, IMAGES = "floatingips", "ports", "images"
Upload = tuple[str, str, str]
"""Of an image: provider, and the ids of the build and of the upload."""


@dataclass(frozen=True, slots=True)
class Mishaps:
    """Probabilities of what goes wrong beside the servers."""

    not_given: float = 0.0
    """No floating address is made."""
    no_quota: float = 0.0
    """No floating address is made, since there are as many as there may be."""
    half_given: float = 0.0
    """A floating address is made for nobody, and the call fails."""
    left: float = 0.0
    """The address and the port of a server stay when it goes."""
    shared: float = 0.0
    """A new server gets the address of another one."""
    longest_attachment: float = 0.0
    """Most seconds in which a floating address leads nowhere yet; not a probability."""


@dataclass(slots=True)
class _Address:
    server: str | None
    attached: float
    """When it leads to the server (epoch seconds)."""


class Project:
    """See the module's description. One per cloud; ``misuse`` is told when something is removed that is of use."""

    def __init__(
        self,
        now: Callable[[], float],
        chance: random.Random,
        cloud: FakeCloud,
        mishaps: Mishaps,
        has_record: Callable[[Upload], bool],
        misuse: Callable[[str], None],
        tally: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``has_record`` tells whether there is a record of an upload."""
        self.cloud = cloud
        self.mishaps = mishaps
        self.images: dict[str, Upload] = {}
        self._now = now
        self._chance = chance
        self._has_record = has_record
        self._misuse = misuse
        self._tally = tally
        self._numbers = count(1)
        self._full: dict[str | None, float] = {}
        self._addresses: dict[str, _Address] = {}
        self._ports: dict[str, str] = {}
        self._fixed: dict[str, str] = {}

    # Zones

    def fill(self, zone: str | None, seconds: float) -> None:
        """There is no machine to be had in a zone for a while."""
        self._full[zone] = self._now() + seconds

    def check_room(self, zone: str | None) -> None:
        """Raises NoCapacity."""
        if self._now() < self._full.get(zone, 0.0):
            self._tally("no capacity in a zone")
            raise NoCapacity(f"no host was found in zone {zone}")

    # Servers

    def made(self, external_id: str) -> None:
        """A server was made: it has a port, and an address of its own or, by mistake, that of another."""
        self._ports[f"port-{external_id}"] = external_id
        others = [self.fixed_address(one.external_id) for one in self.cloud.alive() if one.state is ServerState.ACTIVE]
        if others and self._hits(self.mishaps.shared):
            self._tally("shared addresses")
            self._fixed[external_id] = self._chance.choice(others)

    def deleted(self, external_id: str) -> None:
        """A server is being deleted, and with it what it has."""
        if self._hits(self.mishaps.left):
            return
        self._ports.pop(f"port-{external_id}", None)
        for name in [name for name, address in self._addresses.items() if address.server == external_id]:
            del self._addresses[name]

    def fixed_address(self, external_id: str) -> str:
        """The address that a server has from the start."""
        return self._fixed.get(external_id, f"address-of-{external_id}")

    # Floating addresses

    def give(self, external_id: str) -> str:
        """Give a server a floating address. Raises the errors of a cloud."""
        if external_id not in self._alive():
            raise NotFound(f"there is no server {external_id}")
        known = next((name for name, one in self._addresses.items() if one.server == external_id), None)
        if known is not None:
            return known
        if self._hits(self.mishaps.not_given):
            raise self._chance.choice((CloudError, UnknownOutcome))("no address was made")
        if self._hits(self.mishaps.no_quota):
            raise QuotaExceeded("no more floating addresses")
        name = f"floating-{next(self._numbers)}"
        if self._hits(self.mishaps.half_given):
            self._addresses[name] = _Address(None, self._now())
            raise UnknownOutcome("the connection broke")
        attached = self._now() + self.mishaps.longest_attachment * self._chance.random()
        self._addresses[name] = _Address(external_id, attached)
        self._tally("floating addresses")
        return name

    def floating_address(self, external_id: str) -> str | None:
        """The floating address that leads to a server."""
        now = self._now()
        return next(
            (n for n, one in self._addresses.items() if one.server == external_id and one.attached <= now), None
        )

    def leads_to(self, address: str, external_id: str) -> bool:
        """Whether a floating address is that of a server."""
        known = self._addresses.get(address)
        return known is not None and known.server == external_id

    # What is left

    def leftovers(self, provider: str) -> Iterator[Leftover]:
        """What might be removed, as of now: what leads nowhere, or to what is gone, and all images of a provider."""
        now, alive = self._now(), self._alive()
        for name, address in self._addresses.items():
            if address.server not in alive or now < address.attached:
                yield Leftover(ADDRESSES, name, 60.0)
        for port, server in self._ports.items():
            if server not in alive:
                yield Leftover(PORTS, port, 90.0)
        for image, (of_provider, *upload) in self.images.items():
            if of_provider == provider:
                yield Leftover(IMAGES, image, 60.0, (upload[0], upload[1]))

    def remove(self, leftover: Leftover) -> None:
        """Remove it, and tell if somebody needs it."""
        name = leftover.external_id
        if leftover.kind == IMAGES and name in self.images and self._has_record(self.images[name]):
            self._misuse(f"image {name} is removed, and has a record")
        if leftover.kind == ADDRESSES and name in self._addresses and self._addresses[name].server in self._alive():
            self._misuse(f"the floating address {name} is removed, and leads to {self._addresses[name].server}")
        if leftover.kind == PORTS and self._ports.get(name) in self._alive():
            self._misuse(f"{name} is removed, and its server lives")
        self._tally(f"{leftover.kind} removed")
        self.images.pop(name, None)
        self._addresses.pop(name, None)
        self._ports.pop(name, None)

    def remains(self) -> Iterator[str]:
        """What should not be there when all was calm for long."""
        for leftover in self.leftovers(""):
            yield f"{leftover.kind} {leftover.external_id}"
        for image, upload in self.images.items():
            if not self._has_record(upload):
                yield f"{IMAGES} {image}"

    def repair(self) -> None:
        """Nothing goes wrong any more."""
        self.mishaps = Mishaps()
        self._full.clear()

    def _alive(self) -> set[str]:
        return {str(server.external_id) for server in self.cloud.alive()}

    def _hits(self, probability: float) -> bool:
        return bool(probability) and self._chance.random() < probability


def complete(server: Server, project: Project) -> Server:
    """A server as it is listed, with the addresses that it has."""
    if server.state is not ServerState.ACTIVE:
        return server
    external_id = str(server.external_id)
    fixed, floating = project.fixed_address(external_id), project.floating_address(external_id)
    return replace(server, interface_ip=floating or fixed, private_ipv4=fixed, public_ipv4=floating)
