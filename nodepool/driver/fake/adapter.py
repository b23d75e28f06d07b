"""The fake cloud as the launcher sees it: with latency and deadlines, from several threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nodepool.driver.adapter import CloudAdapter, Leftover, Server, ServerOrder
from nodepool.driver.errors import BadLabel, NotFound, UnknownOutcome
from nodepool.driver.fake.cloud import FakeCloud
from nodepool.driver.fake.config import FakeLabel, FakePool
from nodepool.driver.fake.images import FakeImages
from nodepool.driver.image_adapter import uploaded_images
from nodepool.model.resources import Resources

ZONES = ("az1", "az2")


@dataclass(frozen=True, slots=True)
class Flavor:
    """A size of servers; RAM in MiB."""

    name: str
    ram: int
    cores: int


FLAVORS = (Flavor("Fake Flavor", 8192, 4), Flavor("Unreal Flavor", 8192, 4))
"""Spec drivers 12."""


class FakeAdapter(CloudAdapter):
    """One provider's view of a :class:`~nodepool.driver.fake.cloud.FakeCloud`.

    With ``latency`` 0 it never waits, so that a simulation can use it too. A call whose latency exceeds its deadline
    ends at the deadline with UnknownOutcome; it has done nothing then. Adapters of one cloud must share one ``lock``.
    """

    lists_everything = False
    """What another process has made is in that one's memory."""

    def __init__(
        self,
        cloud: FakeCloud,
        pools: Mapping[str, FakePool],
        latency: float = 0.0,
        poll_interval: float = 0.1,
        lock: threading.Lock | None = None,
        images: FakeImages | None = None,
    ) -> None:
        self.cloud = cloud
        self.poll_interval = poll_interval
        self.list_lag = cloud.settings.list_lag
        self._pools = pools
        self._latency = latency
        self._stopped = threading.Event()
        self._lock = lock or threading.Lock()
        self._images = images
        self._costs = {
            (pool.name, label.name): _cost(label) for pool in pools.values() for label in pool.labels.values()
        }

    def list_servers(self, deadline: float) -> Sequence[Server]:
        """All servers of the cloud."""
        self._wait(deadline)
        with self._lock:
            return self.cloud.list()

    def create_server(self, order: ServerOrder, deadline: float) -> str:
        """Start making a server."""
        cost = self.cost(order.pool, order.label)
        self._wait(deadline)
        with self._lock:
            return self.cloud.create(order.tags, cost, order.az)

    def delete_server(self, external_id: str, deadline: float) -> None:
        """Start deleting a server."""
        self._wait(deadline)
        with self._lock:
            self.cloud.delete(external_id)

    def cost(self, pool: str, label: str) -> Resources:
        """Use of one node by its flavor."""
        cost = self._costs.get((pool, label))
        if cost is None:
            raise BadLabel(f"no flavor fits the label '{label}' of pool '{pool}'")
        return cost

    def limits(self, deadline: float) -> Resources:
        """The cloud's quota."""
        self._wait(deadline)
        with self._lock:
            return self.cloud.limits()

    def zones(self) -> Sequence[str]:
        """Two zones."""
        return ZONES

    def console_log(self, external_id: str, deadline: float) -> str | None:
        """A few lines."""
        self._wait(deadline)
        with self._lock:
            return self.cloud.console(external_id)

    def leftovers(self, deadline: float) -> Sequence[Leftover]:
        """Images of ours, of which there may be no record."""
        return () if self._images is None else tuple(uploaded_images(self._images.find(deadline)))

    def remove_leftover(self, leftover: Leftover, deadline: float) -> None:
        """Delete an image."""
        if self._images is not None:
            with contextlib.suppress(NotFound):
                self._images.delete(leftover.external_id, deadline)

    def stop(self) -> None:
        """End all waiting."""
        self._stopped.set()

    def _wait(self, deadline: float) -> None:
        if self._latency <= 0:
            return
        if self._stopped.wait(min(self._latency, deadline)):
            raise UnknownOutcome("the provider was stopped")
        if self._latency > deadline:
            raise UnknownOutcome(f"no answer within {deadline:g} s")


def _cost(label: FakeLabel) -> Resources | None:
    flavor = next((flavor for flavor in FLAVORS if _fits(flavor, label)), None)
    if flavor is None:
        return None
    cost = Resources(instances=1, cores=flavor.cores, ram=flavor.ram)
    if label.volume_size is None:
        return cost
    return cost + Resources({"volumes": 1, "volume-gb": label.volume_size})


def _fits(flavor: Flavor, label: FakeLabel) -> bool:
    """``flavor-name`` alone is exact; with ``min-ram`` it is a part of the name (spec drivers 2)."""
    if label.flavor_name is None:
        return flavor.ram >= label.min_ram
    if not label.min_ram:
        return flavor.name == label.flavor_name
    return flavor.ram >= label.min_ram and label.flavor_name in flavor.name
