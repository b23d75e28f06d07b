"""Measurements of the launcher on clouds: each starts a simulated OpenStack, and returns lines for people to read.

The figures of Nodepool 11.0.0 were measured once, on a machine with 2 processors, with the same cloud and requests.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools.bench.cloud_site import CloudSetup, CloudSite, Usage, cloud_site
from tools.bench.site import Site, cpu_seconds, wait_for


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of many requests that were made at once. Times are seconds."""

    count: int
    times: Sequence[float]
    """From asking to ``fulfilled``, the shortest first."""
    failed: int
    broken: Sequence[str]
    """What went wrong for a requestor."""
    decided: float
    """Until all were fulfilled or failed."""
    gone: float
    """Until no server and no record was left."""
    before: Usage
    after: Usage
    memory: float
    """MiB of the launcher."""
    calls: float
    """API calls for a node's life."""
    verdict: str
    """What went wrong in the cloud."""

    @property
    def launcher_cpu(self) -> float:
        """Processor seconds of the launcher for a node's whole life."""
        return (self.after.cpu["launcher"] - self.before.cpu["launcher"]) / self.count

    def lines(self, comparison: str) -> list[str]:
        """For people."""
        return [
            f"{self.count} requests at once: fulfilled in {self.decided:.1f} s "
            f"({self.count / self.decided:.0f} a second; {spread(self.times)}), {self.failed} failed, "
            f"{len(self.broken)} broken; all gone after {self.gone:.1f} s ({comparison})",
            f"{self.after.since(self.before, self.count)}; memory {self.memory:.0f} MiB",
            f"{self.calls:.2f} calls a node (wanted: 6); {self.verdict}",
        ]


def ask_at_once(place: Site, count: int, setup: CloudSetup) -> Outcome:
    """Many requests at once, whose nodes are used for no time at all; until every server is gone again."""
    with cloud_site(place, setup) as site, site.launcher():
        site.warm_up()
        with site.crowd() as crowd:
            before = site.usage()
            crowd.ask(count)
            crowd.wait_decided(count, 600)
            decided = time.monotonic() - before.at
            crowd.wait_ended(60)
            site.wait_empty(120)
            after = site.usage()
            return Outcome(
                count,
                sorted(crowd.times),
                crowd.failed,
                crowd.broken,
                decided,
                after.at - before.at,
                before,
                after,
                site.memory(),
                site.calls_per_life(),
                site.verdict(),
            )


def burst(place: Site, count: int = 1000) -> list[str]:
    """Many requests at once, a place for each."""
    outcome = ask_at_once(place, count, CloudSetup(quota=count))
    return outcome.lines("wanted: 8 s, 7 ms; Nodepool 11: 61 s, 41 ms")


def flood(place: Site, count: int = 5000, quota: int = 1000) -> list[str]:
    """Several times as many requests at once as there are places."""
    outcome = ask_at_once(place, count, CloudSetup(quota=quota))
    return outcome.lines(f"quota {quota}; wanted: 50 s; Nodepool 11: not in 360 s")


def errors(place: Site, count: int = 1000) -> list[str]:
    """A fifth of the servers go to ERROR."""
    faults = {"servers": [{"fault": "error", "chance": 0.2}]}
    outcome = ask_at_once(place, count, CloudSetup(quota=count, faults=faults))
    return outcome.lines("20 % of the servers in ERROR; wanted: no request fails; Nodepool 11: 16 of 1000 failed")


def stream(place: Site, seconds: float = 180.0, rate: float = 20.0, hold: float = 2.0) -> list[str]:
    """Steady load on several providers."""
    setup = CloudSetup(providers=5, quota=50)
    with cloud_site(place, setup) as site, site.launcher():
        site.warm_up()
        with site.crowd(hold) as crowd:
            before = site.usage()
            count = 0
            while count < seconds * rate:
                crowd.ask()
                count += 1
                time.sleep(max(0.0, before.at + count / rate - time.monotonic()))
            crowd.wait_ended(120)
            took, times, failed = time.monotonic() - before.at, sorted(crowd.times), crowd.failed
            site.wait_empty()
            after = site.usage()
        return [
            f"{count} requests, {rate:g} a second, {setup.providers} providers of {setup.quota} servers, "
            f"held {hold:g} s: {len(times)} served in {took:.0f} s, {failed} failed; {spread(times)} "
            f"(wanted: all, p99 6 s; Nodepool 11: 8 a second, 263 s)",
            after.since(before, count),
            f"{site.calls_per_life():.2f} calls a node; {site.verdict()}",
        ]


def idle(place: Site, count: int = 2000, seconds: float = 125.0) -> list[str]:
    """Many ready nodes and nothing to do; long enough for two searches for leaks."""
    with cloud_site(place, CloudSetup(quota=count, min_ready=count)) as site, site.launcher():
        _wait_stock(site, count)
        time.sleep(15)
        site.cloud.control.reset()
        before, calls_before = site.usage(), sum(site.calls().values())
        time.sleep(seconds)
        after = site.usage()
        minutes = (after.at - before.at) / 60
        calls = sum(site.calls().values()) - calls_before
        return [
            f"idle with {count} ready nodes, a minute: "
            f"{(after.cpu['launcher'] - before.cpu['launcher']) / minutes:.2f} s of CPU, "
            f"{calls / minutes:.1f} API calls; {(after.zookeeper - before.zookeeper) / minutes / 60:.2f} requests to "
            f"ZooKeeper a second, {site.memory():.0f} MiB "
            f"(wanted: 0.2 s, 5 calls, 1 request, 130 MiB; Nodepool 11: 0.87, 5, 38, 186)",
            f"calls: {site.calls()}",
        ]


def restart(place: Site, count: int = 5000, runs: int = 3) -> list[str]:
    """A launcher that starts among many nodes, while a request waits."""
    lines = []
    with cloud_site(place, CloudSetup(quota=count, min_ready=count)) as site:
        with site.launcher():
            _wait_stock(site, count)
        times, cpu = [], []
        for _ in range(runs):
            with site.crowd(None) as crowd:
                crowd.ask()
                began = time.time()
                with site.launcher():
                    crowd.wait_decided(1, 60)
                    cpu.append(cpu_seconds(site.pid))
                    times.append(next(iter(crowd.fulfilled_at.values())) - began)
                    crowd.wait_held(1, 10)
                    crowd.release()
                    crowd.wait_ended(10)
                    wait_for(lambda: site.znodes("requests") == 0, "the stock to be full again", 30)
        lines.append(
            f"from the start of the program to the first request served, {count} nodes: "
            f"median {statistics.median(times):.2f} s, longest {max(times):.2f} s of {runs}, "
            f"with {statistics.median(cpu):.2f} s of CPU (wanted: 1.5 s; Nodepool 11: 7.8 s)"
        )
    return lines


def latency(place: Site, count: int = 100, rate: float = 10.0) -> list[str]:
    """From ACTIVE to ``fulfilled``, with and without floating addresses, and what a life costs in calls."""
    lines = []
    for floating in (False, True):
        with cloud_site(place, CloudSetup(quota=count, floating=floating)) as site, site.launcher():
            site.warm_up()
            with site.crowd(None) as crowd:
                for _ in range(count):
                    crowd.ask()
                    time.sleep(1 / rate)
                crowd.wait_held(count, 60)
                launched = {
                    server["id"]: float(server["launched"])
                    for server in site.cloud.control.resources("region0")["servers"]
                }
                delays = sorted(
                    crowd.fulfilled_at[node_id] - launched[record["external_id"]]
                    for node_id, record in crowd.nodes.items()
                )
                crowd.release()
                crowd.wait_ended(60)
            site.wait_empty()
            kind = "with floating addresses" if floating else "without floating addresses"
            lines.append(
                f"{kind}: from ACTIVE to fulfilled {spread(delays)}, with a poll interval of 1 s "
                f"(wanted: the median below 1 s beyond it)"
            )
            lines.append(f"{kind}: {site.calls_per_life():.2f} calls a node (wanted: 6); {site.verdict()}")
    return lines


def soak(place: Site, minutes: float = 3.0, nodes: int = 500, speed: float = 20.0) -> list[str]:
    """Hundreds of nodes in use, and 720 jobs an hour, ``speed`` times as fast: memory and times must stay flat."""
    rate = 720 * speed / 3600
    with cloud_site(place, CloudSetup(quota=nodes + 200)) as site, site.launcher():
        site.warm_up()
        with site.crowd(None) as residents, site.crowd(5.0) as crowd:
            residents.ask(nodes)
            residents.wait_held(nodes, 120)
            before, memory = site.usage(), [site.memory()]
            began, count, marks = time.monotonic(), 0, []
            for third in range(1, 4):
                while time.monotonic() - began < minutes * 60 * third / 3:
                    crowd.ask()
                    count += 1
                    time.sleep(max(0.0, began + count / rate - time.monotonic()))
                marks.append(len(crowd.times))
                memory.append(site.memory())
            crowd.wait_ended(60)
            after = site.usage()
            times, failed, broken = crowd.times, crowd.failed, crowd.broken
            residents.release()
            residents.wait_ended(60)
        site.wait_empty(120)
        thirds = [times[start:end] for start, end in zip([0, *marks[:2]], [*marks[:2], len(times)], strict=True)]
        return [
            f"{nodes} nodes held, {rate * 3600:.0f} jobs an hour for {minutes:g} min: {len(times)} of {count} served, "
            f"{failed} failed, {len(broken)} broken",
            f"memory at the start and after each third: {', '.join(f'{size:.1f}' for size in memory)} MiB",
            *(f"third {number}: {spread(sorted(third))}" for number, third in enumerate(thirds, 1)),
            after.since(before, count),
            f"{site.calls_per_life():.2f} calls a node; {site.verdict()}",
        ]


MEASURES: dict[str, Callable[[Site], list[str]]] = {
    "cloud-burst": burst,
    "cloud-flood": flood,
    "cloud-stream": stream,
    "cloud-errors": errors,
    "cloud-idle": idle,
    "cloud-restart": restart,
    "cloud-latency": latency,
    "cloud-soak": soak,
}


def spread(times: Sequence[float]) -> str:
    """Median, p99 and longest of sorted times, for people."""
    if not times:
        return "none"
    p99 = times[int(len(times) * 0.99) - 1]
    return f"median {statistics.median(times):.2f} s, p99 {p99:.2f} s, longest {times[-1]:.2f} s"


def _wait_stock(site: CloudSite, count: int) -> None:
    wait_for(lambda: site.alive() >= count, "the servers", 300)
    wait_for(lambda: site.znodes("requests") == 0 and site.znodes("requests-lock") == 0, "the nodes to be ready", 120)
