"""What can happen to builders and their disks beside what happens to all daemons; and what operators do."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from nodepool.zk import paths
from nodepool.zk.store import Create, Delete, SetData
from tests.simulation.builders import records
from tests.simulation.builders.process import SimulatedBuilder
from tests.simulation.ensemble import Transaction
from tests.simulation.launchers.process import SimulatedLauncher
from tests.simulation.mishaps import Gremlin

if TYPE_CHECKING:
    from tests.simulation.builders.world import BuilderWorld


class BuilderGremlin(Gremlin[SimulatedBuilder]):
    """Mishaps of builders. Some keep them away for longer than others wait for them."""

    absences: ClassVar[tuple[float, ...]] = (1.0, 10.0, 100.0)
    cuts: ClassVar[tuple[float, ...]] = (0.5, 5.0, 20.0, 200.0)

    def __init__(self, world: BuilderWorld) -> None:
        tricks = {"reload": self._reload, "bad disk": self._bad_disk, "lost files": self._lose_files}
        super().__init__(world, lambda: list(world.builders.values()), tricks)
        self.world = world

    def _reload(self, process: SimulatedBuilder) -> None:
        process.configure(self.world.scenario.altered(self.chance).setup(process.name))
        self.later(60.0, lambda: self.world.configure(process))

    def _bad_disk(self, process: SimulatedBuilder) -> None:
        disk = self.world.disks[process.name]
        disk.full = True
        self.later(60.0, lambda: setattr(disk, "full", False))

    def _lose_files(self, process: SimulatedBuilder) -> None:
        """An operator deletes a file."""
        files = self.world.disks[process.name].files
        done = sorted(build for build in files if build not in process.reconciler.state.builds)
        if done:
            files.pop(self.chance.choice(done))


class GremlinOfNodes(Gremlin[SimulatedLauncher]):
    """Mishaps of the launcher beside, many, since its nodes come and go faster than images do.

    Often it does not know yet what builders have begun.
    """

    def __init__(self, world: BuilderWorld) -> None:
        super().__init__(world, world.launchers, {"behind": self._behind}, "gremlin of nodes", vigour=5.0)
        self.world = world
        if world.scenario.violence:
            world.ensemble.observers.append(self._look)

    def _look(self, transaction: Transaction) -> None:
        """When a build is done, uploads begin."""
        done = any(not _is_upload(path) for path in _become_ready(transaction))
        if done and not self.world.calm and self.chance.random() < 0.8:
            self.world.count("behind when uploads begin")
            for process in self.world.launchers():
                self._behind(process)

    def _behind(self, process: SimulatedLauncher) -> None:
        process.memory.feed_lag = self.chance.uniform(5.0, 15.0)
        self.later(60.0, lambda: setattr(process.memory, "feed_lag", 0.0))


class Operator:
    """Somebody with the command line, who also looks at what has just come, and may find it bad."""

    def __init__(self, world: BuilderWorld) -> None:
        self._world = world
        self._chance: random.Random = world.chance("operator")

    def start(self) -> None:
        """Until everything has to be calm."""
        self._world.ensemble.observers.append(self._look)
        self._wait()

    def _wait(self) -> None:
        self._world.clock.schedule(self._chance.uniform(10.0, 300.0), self._act)

    def _act(self) -> None:
        world = self._world
        image = self._chance.choice(world.scenario.images).name
        if world.calm:
            for one in records.images(world.ensemble):
                world.ensemble.commit([Delete(paths.image_pause(one))])
            return
        deed = self._chance.choice(("build", "pause", "unpause", "delete upload", "delete build", "empty records"))
        self._note(deed, image)
        match deed:
            case "build":
                world.ensemble.commit([Create(paths.build_request(image))])
            case "pause":
                world.ensemble.commit([Create(paths.image_pause(image))])
                world.clock.schedule(200.0, lambda: self._unpause(image))
            case "unpause":
                self._unpause(image)
            case "delete upload":
                paths_of_all = [paths.upload(*key) for key, one in records.uploads(world.ensemble) if one]
                self._mark_one(paths_of_all, "uploading")
            case "delete build":
                found = [paths.build(image, build) for image, build, one in records.builds(world.ensemble) if one]
                self._mark_one(found, "building")
            case "empty records":
                self._leave_empty_records()
        self._wait()

    def _note(self, deed: str, about: str) -> None:
        self._world.say("operator", f"{deed} {about}")
        self._world.count(f"operator: {deed}")

    def _unpause(self, image: str) -> None:
        self._world.ensemble.commit([Delete(paths.image_pause(image))])

    def _look(self, transaction: Transaction) -> None:
        """Now and then, take away what has just come, and what would be fallen back to."""
        for path in _become_ready(transaction):
            if _is_upload(path) and not self._world.calm and self._chance.random() < 0.2:
                delay = self._chance.choice((0.01, 0.01, 1.0, 20.0)) * self._chance.random()
                self._world.clock.schedule(delay, partial(self._dislike, path))

    def _dislike(self, path: str) -> None:
        image, _, build, _, provider, *_ = path.removeprefix(f"{paths.IMAGES}/").split("/")
        self._note("delete the newest uploads", f"of {image} in {provider}, and {build}")
        good = [
            (record["state_time"], paths.upload(*key))
            for key, record in records.uploads(self._world.ensemble)
            if key[0] == image and key[2] == provider and record.get("state") == "ready"
        ]
        for _, newest in sorted(good)[-2:]:
            self._mark(newest, "uploading")

    def _mark_one(self, candidates: list[str], in_progress: str) -> None:
        if candidates:
            self._mark(self._chance.choice(candidates), in_progress)

    def _mark(self, path: str, in_progress: str) -> None:
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


def _become_ready(transaction: Transaction) -> Iterator[str]:
    """Paths of the builds and uploads that a transaction makes ready."""
    for operation in transaction.operations:
        if (
            isinstance(operation, SetData)
            and operation.path.startswith(paths.IMAGES)
            and json.loads(operation.data)["state"] == "ready"
        ):
            yield operation.path


def _is_upload(path: str) -> bool:
    return "/providers/" in path
