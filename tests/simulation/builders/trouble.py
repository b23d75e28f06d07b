"""Whatever can happen to builders, their connections, disks and clouds; and what operators do. From the seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from nodepool.zk import paths
from nodepool.zk.store import Create, Delete, SetData, Uncertain
from tests.simulation.builders import records
from tests.simulation.builders.process import SimulatedBuilder

if TYPE_CHECKING:
    from tests.simulation.builders.world import World


class Gremlin:
    """Mishaps at a rate."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance("gremlin")
        self._tricks: tuple[tuple[str, Callable[[SimulatedBuilder], None]], ...] = (
            ("kill", lambda process: process.die()),
            ("stop", lambda process: process.stop(self._chance.random() < 0.5)),
            ("expire", self._expire),
            ("cut", self._cut),
            ("long cut", self._long_cut),
            ("freeze", self._freeze),
            ("lose answers", self._lose_answers),
            ("lag", self._lag),
            ("reload", self._reload),
            ("bad disk", self._bad_disk),
            ("lost files", self._lose_files),
        )

    def start(self) -> None:
        """Until everything has to be calm."""
        per_second = self._world.scenario.violence * len(self._world.scenario.builders) / 60.0
        if per_second:
            self._world.clock.schedule(self._chance.expovariate(per_second), self._strike)

    def _strike(self) -> None:
        world = self._world
        if world.calm:
            return
        living = [process for process in world.processes.values() if process.alive and not process.frozen]
        if living:
            name, trick = self._chance.choice(self._tricks)
            process = self._chance.choice(living)
            world.say("gremlin", f"{name}: {process.name}")
            world.count(name)
            trick(process)
        self.start()

    def _expire(self, process: SimulatedBuilder) -> None:
        self._world.ensemble.expire(process.memory.session(), self._chance.choice((0.0, 3.0)))

    def _cut(self, process: SimulatedBuilder) -> None:
        process.memory.disconnect()
        self._later(self._chance.choice((0.5, 5.0, 20.0)), process.memory.reconnect)

    def _long_cut(self, process: SimulatedBuilder) -> None:
        process.memory.disconnect()
        self._later(200.0, process.memory.reconnect)

    def _freeze(self, process: SimulatedBuilder) -> None:
        process.freeze()
        self._later(self._chance.choice((1.0, 10.0, 100.0)), process.thaw)

    def _lose_answers(self, process: SimulatedBuilder) -> None:
        for _ in range(self._chance.randint(1, 3)):
            verdict = self._chance.choice((Uncertain.CONNECTION_LOST, Uncertain.TIMED_OUT))
            process.memory.lose_answer(executed=self._chance.random() < 0.6, verdict=verdict)

    def _lag(self, process: SimulatedBuilder) -> None:
        process.memory.feed_lag = self._chance.choice((0.05, 0.5, 5.0))
        self._later(20.0, lambda: setattr(process.memory, "feed_lag", 0.0))

    def _reload(self, process: SimulatedBuilder) -> None:
        process.configure(self._world.scenario.altered(self._chance).setup(process.name))
        self._later(60.0, lambda: process.configure(self._world.present.setup(process.name)))

    def _bad_disk(self, process: SimulatedBuilder) -> None:
        disk = self._world.disks[process.name]
        disk.full = True
        self._later(60.0, lambda: setattr(disk, "full", False))

    def _lose_files(self, process: SimulatedBuilder) -> None:
        """An operator deletes a file."""
        files = self._world.disks[process.name].files
        done = sorted(build for build in files if build not in process.reconciler.state.builds)
        if done:
            files.pop(self._chance.choice(done))

    def _later(self, longest: float, action: Callable[[], None]) -> None:
        self._world.clock.schedule(self._chance.uniform(0.0, longest), action)


class Operator:
    """Somebody with the command line."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance: random.Random = world.chance("operator")

    def start(self) -> None:
        """Until everything has to be calm."""
        self._world.clock.schedule(self._chance.uniform(10.0, 300.0), self._act)

    def _act(self) -> None:
        world = self._world
        image = self._chance.choice(world.scenario.images).name
        if world.calm:
            for one in records.images(world.ensemble):
                world.ensemble.commit([Delete(paths.image_pause(one))])
            return
        deed = self._chance.choice(("build", "pause", "unpause", "delete upload", "delete build", "empty records"))
        world.say("operator", f"{deed} {image}")
        world.count(f"operator: {deed}")
        match deed:
            case "build":
                world.ensemble.commit([Create(paths.build_request(image))])
            case "pause":
                world.ensemble.commit([Create(paths.image_pause(image))])
                world.clock.schedule(200.0, lambda: self._unpause(image))
            case "unpause":
                self._unpause(image)
            case "delete upload":
                self._mark([paths.upload(*key) for key, one in records.uploads(world.ensemble) if one], "uploading")
            case "delete build":
                found = [paths.build(image, build) for image, build, one in records.builds(world.ensemble) if one]
                self._mark(found, "building")
            case "empty records":
                self._leave_empty_records()
        self.start()

    def _unpause(self, image: str) -> None:
        self._world.ensemble.commit([Delete(paths.image_pause(image))])

    def _mark(self, candidates: list[str], in_progress: str) -> None:
        if not candidates:
            return
        path = self._chance.choice(candidates)
        record = records.fields(self._world.ensemble, path)
        if record.get("state") != in_progress:
            record.update(state="deleting", state_time=self._world.clock.now)
            self._world.ensemble.commit([SetData(path, json.dumps(record).encode(), -1)])

    def _leave_empty_records(self) -> None:
        """What a builder of Nodepool 11 leaves that locks a record which is gone (spec zookeeper 6.4)."""
        ensemble = self._world.ensemble
        for key, _ in records.uploads(ensemble):
            empty = paths.upload(*key[:3], "0000009999")
            ensemble.commit([Create(empty)])
            ensemble.commit([Create(f"{empty}/lock")])
            break
        for image, _, _ in records.builds(ensemble):
            empty = paths.build(image, f"{self._chance.getrandbits(128):032x}")
            ensemble.commit([Create(empty)])
            ensemble.commit([Create(f"{empty}/lock")])
            break
