"""Images of a simulation: records as builders leave them in ZooKeeper, and what is in the clouds beside them."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from nodepool.zk import paths
from nodepool.zk.store import Create, Delete, SetData
from tests.simulation.launchers.project import Upload
from tests.simulation.launchers.scenario import IMAGE
from tests.simulation.records import decoded

if TYPE_CHECKING:
    from tests.simulation.launchers.world import LauncherWorld

NUMBER = "0000000001"
"""Of the only upload of a build to a provider."""


def prepare(world: LauncherWorld) -> None:
    """What builders have done so far, and what they will do in the time of trouble."""
    for plan in world.scenario.clouds:
        chance = world.chance(f"image {plan.settings.name}")
        _upload(world, plan.settings.name, chance)
        _leave(world, plan.settings.name, chance)


def has_record(world: LauncherWorld, upload: Upload) -> bool:
    """Whether there is a record of an upload."""
    provider, build, upload_id = upload
    return world.ensemble.read(paths.upload(IMAGE, build, provider, upload_id)) is not None


def is_ready(world: LauncherWorld, provider: str) -> bool:
    """Whether nodes can be made of the image."""
    return decoded(world.ensemble.read(paths.upload(IMAGE, "b1", provider, NUMBER))).get("state") == "ready"


def _upload(world: LauncherWorld, provider: str, chance: random.Random) -> None:
    """The image of the site: there, on its way or impossible."""
    state = chance.choice(("ready", "ready", "uploading", "failed"))
    fields = {"state": state, "state_time": world.clock.now, "external_id": "img-1", "external_name": "image-1"}
    path = _record(world, "b1", provider, fields)
    world.adapters[provider].project.images[f"image-of-{provider}"] = (provider, "b1", NUMBER)

    def finish() -> None:
        world.ensemble.commit([SetData(path, json.dumps({**fields, "state": "ready"}).encode(), -1)])

    if state == "uploading":
        world.clock.schedule(chance.uniform(0, world.scenario.trouble), finish)


def _leave(world: LauncherWorld, provider: str, chance: random.Random) -> None:
    """An image whose record is gone, and one whose record goes after a while."""
    images = world.adapters[provider].project.images
    images[f"lost-image-of-{provider}"] = (provider, "b1", "0000000009")
    images[f"old-image-of-{provider}"] = (provider, "b0", NUMBER)
    path = _record(world, "b0", provider, {"state": "deleting"})

    def forget() -> None:
        world.ensemble.commit([Delete(path)])

    world.clock.schedule(chance.uniform(0, world.scenario.trouble), forget)


def _record(world: LauncherWorld, build: str, provider: str, fields: dict[str, object]) -> str:
    path = paths.upload(IMAGE, build, provider, NUMBER)
    for parent in paths.parents(path):
        if world.ensemble.read(parent) is None:
            world.ensemble.commit([Create(parent)])
    world.ensemble.commit([Create(path, json.dumps(fields).encode())])
    return path
