"""The runs: many launches on faulty clouds, and a cloud that goes away for a while beside one that does not."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum

from tests.endurance.crowd import Crowd, Habits
from tests.endurance.report import Report, judge, settle
from tests.endurance.site import CloudPlan, Site
from tests.launcher_process import zookeeper_client

_SAMPLE_EVERY = 5.0
_CALM = 8.0
"""Seconds before an outage, to compare with."""
_AFTERWARDS = 5.0
"""Seconds for which customers go on after it."""


class Outage(Enum):
    """How a region goes away."""

    MUTE = "it accepts connections and answers nothing"
    REFUSING = "it answers every call with 503"


def launch_many(
    place: Site,
    plans: Sequence[CloudPlan],
    launches: int,
    habits: Habits,
    *,
    seed: int,
    end_limit: float,
    kill_every: float = 0.0,
) -> Report:
    """Have ``launches`` nodes launched in all, evenly on all clouds, as fast as the quota allows; then judge.

    With ``kill_every``, one launcher after the other is killed and started again, as often.
    """

    async def shop(crowds: dict[str, Crowd]) -> None:
        killing = asyncio.create_task(_kill(place, kill_every)) if kill_every else None
        await serve(crowds)
        if killing is not None:
            killing.cancel()

    async def serve(crowds: dict[str, Crowd]) -> None:
        async with asyncio.TaskGroup() as group:
            for plan in plans:
                share = launches // len(plans)
                group.create_task(crowds[plan.name].shop(plan.labels, share, 2 * plan.quota))

    return _run(place, plans, habits, seed, end_limit, shop)


def outlast(
    place: Site,
    plans: Sequence[CloudPlan],
    outage: Outage,
    seconds: float,
    habits: Habits,
    *,
    rate: float,
    seed: int,
    end_limit: float,
) -> Report:
    """Let the last cloud go away for ``seconds`` while customers ask ``rate`` times a second for nodes of each.

    Beside the usual: the time to fulfil on the other clouds must stay what it was.
    """
    total = _CALM + seconds + _AFTERWARDS

    async def shop(crowds: dict[str, Crowd]) -> None:
        until = time.monotonic() + total
        async with asyncio.TaskGroup() as group:
            for plan in plans:
                group.create_task(crowds[plan.name].shop_steadily(plan.labels, rate, until))
            await asyncio.sleep(_CALM)
            _take_away(place, plans[-1].name, outage)
            await asyncio.sleep(seconds)
            _bring_back(place, plans[-1].name, outage)

    report = _run(place, plans, habits, seed, end_limit, shop)
    for plan in plans[:-1]:
        tally = report.tallies[plan.name]
        before, meanwhile = tally.wait_at(0.95, 0.0, _CALM), tally.wait_at(0.95, _CALM, _CALM + seconds)
        if meanwhile > 1.5 * before + 1.0:
            slower = f"p95 of the time to fulfil {meanwhile:.2f} s, {before:.2f} s before"
            report.complaints.append(f"{plan.name}: {slower} {plans[-1].name} went away")
    return report


def _run(
    place: Site,
    plans: Sequence[CloudPlan],
    habits: Habits,
    seed: int,
    end_limit: float,
    shop: Callable[[dict[str, Crowd]], Awaitable[None]],
) -> Report:
    report = Report()

    async def work() -> None:
        with zookeeper_client(place.place) as client:
            crowds = {plan.name: Crowd(client, plan.name, habits, seed) for plan in plans}
            report.tallies = {name: crowd.tally for name, crowd in crowds.items()}
            began = time.monotonic()
            watch = asyncio.create_task(_watch(place, report, began))
            await shop(crowds)
            report.seconds = time.monotonic() - began
            watch.cancel()

    asyncio.run(work())
    settle(place, report, end_limit)
    judge(place, plans, report)
    return report


async def _watch(place: Site, report: Report, began: float) -> None:
    while True:
        report.resident.append((time.monotonic() - began, place.resident()))
        await asyncio.sleep(_SAMPLE_EVERY)


async def _kill(place: Site, every: float) -> None:
    for launcher in itertools.cycle(place.launchers):
        await asyncio.sleep(every)
        launcher.kill()
        # From the main thread, with which a launcher ends; the customers wait so long.
        launcher.start(wait=False)


def _take_away(place: Site, name: str, outage: Outage) -> None:
    cloud = place.clouds[name]
    if outage is Outage.MUTE:
        cloud.suspend()
    else:
        everything = {"fault": "error-before", "calls": ["*"], "status": 503, "message": "The region is away."}
        cloud.control.add_faults(calls=[everything])


def _bring_back(place: Site, name: str, outage: Outage) -> None:
    cloud = place.clouds[name]
    if outage is Outage.MUTE:
        cloud.resume()
    else:
        cloud.control.clear_faults()
