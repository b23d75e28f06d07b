"""An hour in the life of a busy site, in virtual time.

``python -m tests.simulation.launchers.hour --nodes 500 --jobs 7200`` shows it.

Many nodes are held all the time while jobs come and go. What the launcher keeps in memory, what it asks of the cloud
and how long a job waits must be the same at the end as at the beginning.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import random
import sys
import time
import types
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from nodepool.driver.adapter import LabelSettings, PoolSettings, ProviderSettings
from nodepool.driver.call_pool import CallLimits
from nodepool.driver.fake.cloud import FakeCloud, FakeCloudSettings
from nodepool.launcher.service import ROOTS
from nodepool.launcher.setup import LabelRule, PoolSetup, ProviderSetup, Setup
from nodepool.model.resources import Resources
from nodepool.zk import paths
from nodepool.zk.store import Committed, Create, Delete, SetData
from tests.simulation.clock import Clock
from tests.simulation.daemon import Surroundings
from tests.simulation.ensemble import Transaction, WatchedEnsemble
from tests.simulation.launchers.clouds import SimulatedAdapter
from tests.simulation.launchers.process import SimulatedLauncher
from tests.simulation.launchers.project import Mishaps, Project
from tests.simulation.records import decoded

LABEL = "small"
ONE = Resources(instances=1)
BOOT, DELETE, JOB = 5.0, 2.0, 60.0
"""Seconds that a server takes to boot and to go, and that a job takes on average."""
WARM_UP = 300.0
"""Seconds before the first part, in which the long jobs get their nodes and the rest comes to a steady state."""
PARTS = 3


@dataclass(frozen=True, slots=True)
class Part:
    """What was measured in one part of the time."""

    jobs: int
    """Jobs that got their node."""
    waits: tuple[float, ...]
    """Seconds from each request to its fulfilment, in virtual time."""
    calls: int
    """Calls of the cloud."""
    cpu: float
    """CPU seconds of the whole simulation."""
    memory: int
    """Bytes that the decision core keeps at the end of the part."""
    objects: int

    def describe(self) -> str:
        """One line."""
        waits = sorted(self.waits)
        return (
            f"{self.jobs} jobs, waited {median(waits):.2f} s, p99 {waits[len(waits) * 99 // 100]:.2f} s; "
            f"{self.calls / self.jobs:.1f} calls and {1000 * self.cpu / self.jobs:.1f} ms of CPU each; "
            f"{self.memory / 1024:.0f} KiB in {self.objects} objects"
        )


class Hour:
    """One launcher, one cloud, ``nodes`` jobs that never end, and short ones at a rate."""

    def __init__(self, nodes: int, jobs_per_hour: float, seconds: float, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self._nodes = nodes
        self._rate = jobs_per_hour / 3600.0
        self._seconds = seconds
        self._clock = Clock()
        self._ensemble = WatchedEnsemble(self._clock)
        self._client = self._ensemble.open_session()
        self._asked: dict[str, tuple[float, bool]] = {}
        """Open requests: when each was made, and whether its job ends."""
        self._waits: list[float] = []
        quota = nodes + int(self._rate * (JOB + BOOT + DELETE) * 1.5) + 20
        settings = FakeCloudSettings(Resources.limit({"instances": quota}), BOOT, DELETE)
        self._cloud = FakeCloud(self._clock, self._chance, settings)
        self._launcher = self._start()
        self._ensemble.observers.append(self._look)

    def live(self) -> list[Part]:
        """Live through it; returns what was measured in each third."""
        for _ in range(self._nodes):
            self._ask(ends=False)
        self._clock.schedule(0.0, self._next_job)
        self._clock.run(self._clock.now + WARM_UP)
        return [self._measure() for _ in range(PARTS)]

    def held(self) -> int:
        """Nodes that are in use."""
        nodes = self._ensemble.children(paths.NODES) or ()
        return sum(decoded(self._ensemble.read(paths.node(one))).get("state") == "in-use" for one in nodes)

    def _start(self) -> SimulatedLauncher:
        for path in (paths.ROOT, *ROOTS):
            self._ensemble.commit([Create(path)])
        pool = PoolSettings("main", {LABEL: LabelSettings(LABEL)})
        settings = ProviderSettings("cloud", {"main": pool})
        project = Project(self._clock, self._chance, self._cloud, Mishaps(), lambda _: True, lambda _: None)
        adapter = SimulatedAdapter("cloud", project, {LABEL: ONE})
        adapter.threads = CallLimits().threads
        provider = ProviderSetup(settings, adapter.cost, is_finished=adapter.is_finished, has_leftovers=True)
        pools = {"ours": PoolSetup("ours", provider, pool)}
        setup = Setup(pools, {"cloud": provider}, {LABEL: LabelRule()})
        around = Surroundings(self._clock, self._ensemble, self._chance, session_timeout=60.0)
        launcher = SimulatedLauncher("launcher", around, setup, {"cloud": adapter})
        launcher.start()
        return launcher

    # Jobs

    def _next_job(self) -> None:
        self._ask(ends=True)
        self._clock.schedule(self._chance.uniform(0.5, 1.5) / self._rate, self._next_job)

    def _ask(self, *, ends: bool) -> None:
        fields = {
            "state": "requested",
            "state_time": self._clock.now,
            "created_time": self._clock.now,
            "node_types": [LABEL],
            "requestor": "hour",
            "event_id": f"{self._chance.getrandbits(64):x}",
        }
        outcome = self._ensemble.commit([Create(f"{paths.REQUESTS}/200-", json.dumps(fields).encode(), sequence=True)])
        assert isinstance(outcome, Committed)
        self._asked[str(outcome.results[0])] = (self._clock.now, ends)

    def _look(self, transaction: Transaction) -> None:
        for write in transaction.requests:
            record = decoded(write.after)
            if record.get("state") in ("fulfilled", "failed") and write.path in self._asked:
                asked, ends = self._asked.pop(write.path)
                assert record["state"] == "fulfilled", record
                if ends:
                    self._waits.append(self._clock.now - asked)
                self._clock.schedule(0.05, lambda: self._work(write.path, record["nodes"][0], ends=ends))  # noqa: B023

    def _work(self, request: str, node_id: str, *, ends: bool) -> None:
        path, directory = paths.node(node_id), paths.node_lock(node_id)
        made = () if self._ensemble.read(directory) else (Create(directory),)
        contender = f"{directory}/{self._chance.getrandbits(128):032x}__lock__"
        begin = self._ensemble.commit(
            [*made, Create(contender, ephemeral=True, sequence=True), self._in_state(path, "in-use"), Delete(request)],
            self._client,
        )
        assert isinstance(begin, Committed), begin
        lock = str(begin.results[len(made)])
        if ends:
            end = self._chance.uniform(0.5 * JOB, 1.5 * JOB)
            self._clock.schedule(end, lambda: self._finish(path, lock))

    def _finish(self, path: str, lock: str) -> None:
        self._ensemble.commit([self._in_state(path, "used"), Delete(lock)], self._client)

    def _in_state(self, path: str, state: str) -> SetData:
        record = decoded(self._ensemble.read(path)) | {"state": state, "state_time": self._clock.now}
        return SetData(path, json.dumps(record).encode(), -1)

    # Measures

    def _measure(self) -> Part:
        self._waits.clear()
        calls, began = self._cloud.calls.total(), time.process_time()
        self._clock.run(self._clock.now + self._seconds / PARTS)
        cpu = time.process_time() - began
        memory, objects = weigh(self._launcher.reconciler)
        waits = tuple(self._waits)
        return Part(len(waits), waits, self._cloud.calls.total() - calls, cpu, memory, objects)


def weigh(thing: object) -> tuple[int, int]:
    """Bytes and number of all objects that are kept by ``thing``, apart from code."""
    code = (type, types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType)
    seen: set[int] = set()
    todo, size = [thing], 0
    while todo:
        one = todo.pop()
        if id(one) not in seen and not isinstance(one, code):
            seen.add(id(one))
            size += sys.getsizeof(one)
            todo.extend(gc.get_referents(one))
            if isinstance(one, dict):
                # The collector does not follow keys that are strings.
                todo.extend(one)
    return size, len(seen)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if nothing has grown, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.launchers.hour", description=__doc__)
    parser.add_argument("--nodes", type=int, default=500, help="held all the time (%(default)s)")
    parser.add_argument("--jobs", type=float, default=720.0, help="per hour (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3600.0, help="of virtual time (%(default)s)")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    parts = Hour(options.nodes, options.jobs, options.seconds).live()
    for part in parts:
        print(part.describe())
    grown = [what for what, ratio in growth(parts).items() if ratio > MOST_GROWTH]
    print(f"grown: {', '.join(grown)}" if grown else "nothing has grown")
    return bool(grown)


MOST_GROWTH = 1.2
"""From the first part to the last; chance alone makes them differ by a tenth at most."""


def growth(parts: Sequence[Part]) -> dict[str, float]:
    """The last part by the first, apart from CPU time, which depends on the machine's other work."""
    first, last = parts[0], parts[-1]
    return {
        "memory": last.memory / first.memory,
        "objects": last.objects / first.objects,
        "median wait": median(last.waits) / median(first.waits),
        "calls": (last.calls / last.jobs) / (first.calls / first.jobs),
    }


if __name__ == "__main__":
    sys.exit(main())
