"""All servers of a project, kept up to date by lists of what has changed (Nova's ``changes-since``).

A full list of a thousand servers costs Nova seconds; a list of the few that changed costs nothing. A change can be
missed (Nova does not count a new floating address as one, and clocks differ), so a full list follows now and then, and
always when somebody looks for a server that may or may not have been made, or has deleted one that was not built yet.
May be used from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from nodepool.driver.adapter import Server, ServerState

FULL_EVERY = 60.0
"""Seconds after which a full list is due."""
OVERLAP = 10.0
"""Seconds by which the clocks of a cloud's hosts may differ before a change waits for the next full list."""
LAG = 5.0
"""Seconds for which a list may not show a server that was made: Nova's databases follow each other."""


@dataclass(frozen=True, slots=True)
class ListPlan:
    """A list that has begun: of everything, or of what changed since a time of the cloud's clock (epoch seconds)."""

    number: int
    began: float
    since: float | None


class Listing:
    """The servers by id. Times are seconds of one clock, unless said otherwise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers: dict[str, Server] = {}
        self._made: dict[str, float] = {}
        """When we made servers; until a full list must show them."""
        self._begun = 0
        self._taken = 0
        self._full_at = -FULL_EVERY
        self._cloud_time: float | None = None
        self._distrusted = 0
        """Lists with a number below must not be built upon."""

    def begin(self, now: float) -> ListPlan:
        """Begin a list."""
        with self._lock:
            self._begun += 1
            fresh = now < self._full_at + FULL_EVERY and not self._distrusted
            since = self._cloud_time - OVERLAP if fresh and self._cloud_time is not None else None
            return ListPlan(self._begun, now, since)

    def take(self, plan: ListPlan, found: Mapping[str, Server | None], cloud_time: float | None) -> tuple[Server, ...]:
        """Take over what a list has shown, and return all servers.

        :param found: by id; None for a server that is gone
        :param cloud_time: what the cloud's clock (epoch seconds) said when the list began, None if it did not say
        """
        with self._lock:
            if plan.number > self._taken:
                self._taken = plan.number
                if plan.since is None:
                    self._start_anew(plan)
                for external_id, server in found.items():
                    if server is None:
                        self._servers.pop(external_id, None)
                    else:
                        self._servers[external_id] = server
                self._cloud_time = cloud_time
            return tuple(self._servers.values())

    def made(self, server: Server, now: float) -> None:
        """Remember a server that we made; Nova may count it as changed only later."""
        with self._lock:
            self._servers.setdefault(server.external_id, server)
            self._made[server.external_id] = now

    def deleting(self, external_id: str) -> None:
        """Note that a deletion was accepted. What Nova has not given to a host by then is never listed as deleted."""
        with self._lock:
            known = self._servers.get(external_id)
            self._made.pop(external_id, None)
            if known is not None and known.state is ServerState.BUILDING:
                self._distrusted = self._begun + 1

    def distrust(self) -> None:
        """Let the next list that begins show everything."""
        with self._lock:
            self._distrusted = self._begun + 1

    def get(self, external_id: str) -> Server | None:
        """A server as last seen."""
        return self._servers.get(external_id)

    def all(self) -> tuple[Server, ...]:
        """The servers as last seen."""
        with self._lock:
            return tuple(self._servers.values())

    def _start_anew(self, plan: ListPlan) -> None:
        self._made = {one: at for one, at in self._made.items() if plan.began < at + LAG}
        self._servers = {one: self._servers[one] for one in self._made if one in self._servers}
        self._full_at = plan.began
        if self._distrusted <= plan.number:
            self._distrusted = 0
