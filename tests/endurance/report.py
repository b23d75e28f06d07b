"""What an endurance run showed, and what of it must not be."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.endurance.crowd import Tally
from tests.endurance.overshoot import Overshoot, overshoot
from tests.endurance.site import CloudPlan, Site

_PAUSE = 0.5
_MOST_COMPLAINTS = 20
_KINDS = ("compute.server.create", "compute.server.delete", "compute.server.list")


@dataclass(slots=True)
class Report:
    """See the module's description. Times are in seconds."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    """By cloud, as the following."""
    accounting: dict[str, Any] = field(default_factory=dict)
    overshoots: dict[str, Overshoot] = field(default_factory=dict)
    left: dict[str, Any] = field(default_factory=dict)
    """What was left over when the time for the end phase was over."""
    seconds: float = 0.0
    """From the first request until the last node was returned."""
    end_seconds: float = 0.0
    """From then until nothing was left."""
    cpu: list[float] = field(default_factory=list)
    """Of each launcher."""
    resident: list[tuple[float, list[int]]] = field(default_factory=list)
    """Memory of the launchers in MiB at times since the beginning."""
    complaints: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The report as text."""
        for name, tally in self.tallies.items():
            yield f"{name}: {self._about_requests(tally)}"
            yield f"{name}: {self._about_servers(name)}"
            yield f"{name}: {_about_calls(self.accounting[name]['calls'])}"
        sizes = self.resident[:: max(len(self.resident) // 6, 1)]
        memory = ", ".join(f"{'+'.join(map(str, launchers))} at {at:.0f} s" for at, launchers in sizes)
        yield f"launchers: {' + '.join(f'{one:.1f}' for one in self.cpu)} CPU seconds; MiB: {memory}"
        load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
        yield f"left over: {self.left or 'nothing'}, {self.end_seconds:.0f} s after the last node; load average {load}"
        yield from (f"COMPLAINT: {complaint[:300]}" for complaint in self.complaints[:_MOST_COMPLAINTS])
        if len(self.complaints) > _MOST_COMPLAINTS:
            yield f"COMPLAINT: and {len(self.complaints) - _MOST_COMPLAINTS} more"

    def _about_requests(self, tally: Tally) -> str:
        return (
            f"{tally.asked} requests: {tally.served} fulfilled, {tally.failed} failed, {tally.cancelled} cancelled; "
            f"{tally.nodes} nodes used in {self.seconds:.0f} s, {tally.nodes / max(self.seconds, 0.001):.1f}/s; "
            f"time to fulfil p50 {tally.wait_at(0.5):.2f} s, p99 {tally.wait_at(0.99):.2f} s"
        )

    def _about_servers(self, name: str) -> str:
        servers = self.accounting[name]["servers"]
        return (
            f"{servers['created']} servers made, at most {servers['peak']['instances']} at once, over quota by "
            f"{servers['over_quota']['instances']}; {len(servers['doubles'])} nodes with two servers at once; "
            f"{len(servers['vanished'])} vanished"
        )


def settle(place: Site, report: Report, limit: float) -> None:
    """Wait until clouds and ZooKeeper are empty, or the time is over."""
    began = time.monotonic()
    report.cpu = place.cpu()
    while True:
        left = {name: found for name in place.clouds if (found := place.left_in(name))}
        records = [path for path in place.audit.left() if not path.endswith("/lock")]
        if records:
            left["ZooKeeper"] = dict(Counter(path.split("/")[2] for path in records))
        report.left, report.end_seconds = left, time.monotonic() - began
        if not left or report.end_seconds > limit:
            return
        time.sleep(_PAUSE)


def judge(place: Site, plans: Sequence[CloudPlan], report: Report) -> None:
    """Collect the figures of the clouds, and what must not be."""
    complaints = report.complaints
    for plan in plans:
        tally = report.tallies[plan.name]
        report.accounting[plan.name] = place.clouds[plan.name].control.region()
        complaints += [f"{plan.name}: {complaint}" for complaint in tally.complaints]
        complaints += [f"{plan.name}: {complaint}" for complaint in _bad_figures(place, plan, report)]
    complaints += [f"{name}: left over: {found}" for name, found in report.left.items()]
    complaints += place.audit.complaints
    complaints += place.defects()


def _bad_figures(place: Site, plan: CloudPlan, report: Report) -> Iterator[str]:
    servers, tally = report.accounting[plan.name]["servers"], report.tallies[plan.name]
    beyond = overshoot(place.journal, place.place.chroot, plan.name, plan.quota)
    report.overshoots[plan.name] = beyond
    if beyond.unexplained > 0:
        yield f"{beyond.worst} nodes over quota, {beyond.unexplained} more than were in flight"
    if servers["over_quota"]["instances"] > max(beyond.worst, 0):
        yield f"over quota by {servers['over_quota']}"
    if servers["doubles"]:
        yield f"nodes with several servers at once: {servers['doubles']}"
    # A server that vanished sets its address free, though its node is in use, or waits to be with its siblings.
    shared = [pair for pair in tally.shared_addresses if not set(pair) & set(servers["vanished"])]
    if shared:
        yield f"nodes were handed over with the address of another one in use: {shared}"


def _about_calls(calls: dict[str, Any]) -> str:
    tables = {kind.rpartition(".")[2]: calls[kind]["statuses"] for kind in _KINDS if kind in calls}
    return "answers by status (0: none): " + "; ".join(f"{kind} {_table(table)}" for kind, table in tables.items())


def _table(statuses: dict[str, int]) -> str:
    return ", ".join(f"{status}: {count}" for status, count in statuses.items())
