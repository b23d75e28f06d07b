"""One endurance run: many launches on a faulty cloud, then the end phase, then the judgement."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.endurance.crowd import Crowd, Habits, Tally
from tests.endurance.site import CloudPlan, Site
from tests.launcher_process import zookeeper_client

_PAUSE = 0.5
_MOST_COMPLAINTS = 20


@dataclass(slots=True)
class Report:
    """What a run showed."""

    seconds: float = 0.0
    tallies: dict[str, Tally] = field(default_factory=dict)
    """By cloud."""
    accounting: dict[str, Any] = field(default_factory=dict)
    """Of each cloud's region, at the end."""
    left: dict[str, Any] = field(default_factory=dict)
    """What was left over in each cloud when the time for the end phase was over."""
    end_seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)
    resident: list[tuple[float, list[int]]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The report as text."""
        load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
        for name, tally in self.tallies.items():
            servers = self.accounting[name]["servers"]
            made = max(servers["created"], 1)
            yield (
                f"{name}: {tally.asked} requests ({tally.served} fulfilled, {tally.failed} failed, "
                f"{tally.cancelled} cancelled), {tally.nodes} nodes used, {servers['created']} servers made in "
                f"{self.seconds:.0f} s, {tally.nodes / max(self.seconds, 0.001):.1f} nodes/s"
            )
            yield (
                f"{name}: time to fulfil p50 {tally.wait_at(0.5):.2f} s, p99 {tally.wait_at(0.99):.2f} s; peak "
                f"{servers['peak']['instances']} servers, over quota by {servers['over_quota']['instances']}; "
                f"{len(servers['doubles'])} nodes with two servers at once; {tally.shared_addresses} handed over with "
                f"the address of another; {_statuses(self.accounting[name]['calls'])} of {made}"
            )
        yield f"launcher CPU {', '.join(f'{one:.1f}' for one in self.cpu)} s; MiB over time: {self._memory()}"
        yield f"end phase {self.end_seconds:.0f} s; left over: {self.left or 'nothing'}; load average {load}"
        yield from (f"COMPLAINT: {complaint[:300]}" for complaint in self.complaints[:_MOST_COMPLAINTS])
        if len(self.complaints) > _MOST_COMPLAINTS:
            yield f"COMPLAINT: and {len(self.complaints) - _MOST_COMPLAINTS} more"

    def _memory(self) -> str:
        step = max(len(self.resident) // 6, 1)
        return ", ".join(f"{at:.0f} s: {'+'.join(map(str, sizes))}" for at, sizes in self.resident[::step])


async def _watch(place: Site, report: Report, began: float) -> None:
    while True:
        report.resident.append((time.monotonic() - began, place.resident()))
        await asyncio.sleep(5.0)


async def _shop(place: Site, plans: list[CloudPlan], launches: int, habits: Habits, seed: int, report: Report) -> None:
    began = time.monotonic()
    watch = asyncio.create_task(_watch(place, report, began))
    with zookeeper_client(place.place) as client:
        async with asyncio.TaskGroup() as group:
            for plan in plans:
                crowd = Crowd(client, plan.name, habits, seed)
                report.tallies[plan.name] = crowd.tally
                group.create_task(crowd.shop(plan.label, launches // len(plans), 2 * plan.quota))
    report.seconds = time.monotonic() - began
    watch.cancel()


def run(place: Site, plans: list[CloudPlan], launches: int, habits: Habits, *, seed: int, end_limit: float) -> Report:
    """Launch, wait at most ``end_limit`` seconds until nothing is left, and judge."""
    report = Report()
    asyncio.run(_shop(place, plans, launches, habits, seed, report))
    settle(place, report, end_limit)
    judge(place, plans, report)
    return report


def settle(place: Site, report: Report, limit: float) -> None:
    """Wait until clouds and ZooKeeper are empty, or the time is over."""
    began = time.monotonic()
    report.cpu = place.cpu()
    while True:
        left = {name: found for name in place.clouds if (found := place.left_in(name))}
        records = place.audit.left()
        if records:
            left["ZooKeeper"] = Counter(path.split("/")[2] for path in records)
        report.left, report.end_seconds = left, time.monotonic() - began
        if not left or report.end_seconds > limit:
            return
        time.sleep(_PAUSE)


def judge(place: Site, plans: list[CloudPlan], report: Report) -> None:
    """Collect what must not be."""
    complaints = report.complaints
    for name, tally in report.tallies.items():
        complaints += [f"{name}: {complaint}" for complaint in tally.complaints]
    complaints += [f"{name}: left over: {found}" for name, found in report.left.items()]
    complaints += place.audit.complaints
    complaints += place.defects()
    for plan in plans:
        accounting = report.accounting[plan.name] = place.clouds[plan.name].control.region()
        servers = accounting["servers"]
        over = {name: count for name, count in servers["over_quota"].items() if count}
        if over and len(place.launchers) == 1:
            complaints.append(f"{plan.name}: over quota by {over}")
        if servers["doubles"]:
            complaints.append(f"{plan.name}: nodes with several servers at once: {servers['doubles']}")


def _statuses(calls: dict[str, Any]) -> str:
    kinds = ("compute.server.create", "compute.server.delete", "compute.server.list")
    return "; ".join(f"{kind.rpartition('.')[2]} {dict(calls[kind]['statuses'])}" for kind in kinds if kind in calls)
