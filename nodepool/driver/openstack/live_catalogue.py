"""The catalogue of one provider as it is known now: read when it is first needed, and anew when it may be wrong.

May be used from any thread; all methods that read are to be called within a deadline of the connection.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from nodepool.driver.errors import CloudError
from nodepool.driver.openstack.catalogue import Catalogue, make_catalogue
from nodepool.driver.openstack.config import OpenStackPool
from nodepool.driver.openstack.connection import CloudConnection
from nodepool.driver.openstack.survey import read_stock


class LiveCatalogue:
    """See the module's description."""

    drop_age = 10.0
    """Seconds between two readings that are made because the cloud refused an order: most such orders stay wrong."""
    look_again = 20.0
    """Seconds after which the cloud is asked anew for what a label lacks, if :meth:`renewed` is wanted."""
    refresh = 3600.0
    """Seconds after which it is asked anew in any case: an image may have been replaced by a newer one of its name."""

    def __init__(
        self, provider: str, pools: Mapping[str, OpenStackPool], cloud: CloudConnection, log: logging.Logger
    ) -> None:
        self._provider = provider
        self._pools = pools
        self._cloud = cloud
        self._log = log
        self._reading = threading.Lock()
        self._generation = 0
        self._stale = False
        self._doubted_at = -self.drop_age
        """When it was read last because it seemed to be wrong (monotonic clock)."""
        self._read_at = 0.0
        """When it was read last, or could not be (monotonic clock)."""
        self._error = ""
        self.known: Catalogue | None = None
        """As it was read last."""

    def current(self) -> Catalogue:
        """For an order. Raises the errors of drivers if nothing is known yet."""
        return self._read_if(self.refresh)

    def renewed(self) -> Catalogue:
        """For a regular look at the cloud: what was missing may be there now. Raises as :meth:`current` does."""
        return self._read_if(self.look_again if self.known and self.known.problems else self.refresh)

    def refused(self) -> Catalogue:
        """For an order that the cloud has refused as invalid: read anew, unless it was a moment ago."""
        self._stale = True
        return self._read_if(self.refresh)

    def mark_stale(self) -> None:
        """Something in it was found to be wrong."""
        self._stale = True

    def _read_if(self, age: float) -> Catalogue:
        known = self.known
        if known is None:
            return self._read(known)
        now = time.monotonic()
        doubted = self._stale or self._generation != self._cloud.generation
        if doubted and now >= self._doubted_at + self.drop_age:
            self._doubted_at = now
            return self._read(known)
        return self._read(known) if now >= self._read_at + age else known

    def _read(self, known: Catalogue | None) -> Catalogue:
        """Read, unless somebody else does so; while it cannot be read anew, what is known has to do."""
        if not self._reading.acquire(blocking=known is None, timeout=self._cloud.left() if known is None else -1):
            if known is not None:
                return known
            raise CloudError("no time left: what the cloud offers is still being read")
        try:
            if self.known is not known:
                assert self.known is not None, "nobody forgets it"
                return self.known
            self._read_at = time.monotonic()
            try:
                return self._take(known)
            except CloudError as error:
                if known is None:
                    raise
                self._tell_failure(error)
                return known
        finally:
            self._reading.release()

    def _take(self, known: Catalogue | None) -> Catalogue:
        if known is not None and known.stock.missing:
            # Services are looked for only while connecting.
            self._cloud.forget()
        catalogue = make_catalogue(self._pools, read_stock(self._cloud, self._pools.values()), self._read_at)
        self._stale, self._generation = False, self._cloud.generation
        self._tell_changes(catalogue, known)
        self.known = catalogue
        return catalogue

    def _tell_failure(self, error: CloudError) -> None:
        if self._error != str(error):
            self._error = str(error)
            self._log.warning("What the cloud offers cannot be read anew, and is taken to be as it was: %s", error)

    def _tell_changes(self, catalogue: Catalogue, known: Catalogue | None) -> None:
        if self._error:
            self._error = ""
            self._log.info("What the cloud offers can be read again")
        problems, before = catalogue.problems, known.problems if known else {}
        for (pool, label), problem in problems.items():
            if _without_hints(before.get((pool, label), "")) != _without_hints(problem):
                where = f"provider '{self._provider}', pool '{pool}', label '{label}'"
                self._log.warning("Out of service: %s: %s", where, problem)
        for pool, label in before.keys() - problems.keys():
            where = f"provider '{self._provider}', pool '{pool}', label '{label}'"
            self._log.warning("In service again: %s", where)
        for remark in catalogue.remarks:
            if known is None or remark not in known.remarks:
                self._log.warning("provider '%s', %s", self._provider, remark)


def _without_hints(problem: str) -> str:
    """A problem without what there is instead, which may change often."""
    return problem.partition("; ")[0]
