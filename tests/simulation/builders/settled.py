"""What must hold at the end, when nothing has gone wrong for long enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nodepool.zk import paths
from tests.simulation.builders import nodes, records
from tests.simulation.records import Fields

if TYPE_CHECKING:
    from tests.simulation.builders.world import BuilderWorld

SLACK = 600.0
"""Seconds beyond the rebuild age within which a new build must be there."""


def findings(world: BuilderWorld) -> Iterator[str]:
    """All that is wrong just now."""
    yield from _goals(world)
    yield from _surplus(world)
    yield from _orphans(world)
    yield from _locks(world)
    yield from nodes.findings(world)


def _ready_builds(world: BuilderWorld, image: str) -> list[tuple[float, str, Fields]]:
    found = [
        (record["state_time"], build_id, record)
        for name, build_id, record in records.builds(world.ensemble)
        if name == image and record.get("state") == "ready"
    ]
    return sorted(found, key=lambda one: one[0], reverse=True)


def _goals(world: BuilderWorld) -> Iterator[str]:
    setup = world.final.setup(next(iter(world.final.builders)))
    for image in world.final.images:
        formats = set(setup.formats(image.name))
        if not formats or world.ensemble.read(paths.image_pause(image.name)) is not None:
            continue
        ready = _ready_builds(world, image.name)
        if not ready:
            yield f"{image.name} has no good build"
            continue
        if world.clock.now > ready[0][0] + image.rebuild_age + SLACK:
            yield f"{image.name} is not built anew"
        if world.ensemble.read(paths.build_request(image.name)) is not None:
            yield f"the request for {image.name} is not served"
        uploads = [(key, one) for key, one in records.uploads(world.ensemble) if one.get("state") == "ready"]
        for plan in world.final.clouds:
            of_newest = [key for key, _ in uploads if key[1] == ready[0][1] and key[2] == plan.name]
            late = world.clock.now > ready[0][0] + SLACK
            if image.name in plan.images and late and not of_newest:
                yield f"{image.name} is not uploaded to {plan.name}"


def _surplus(world: BuilderWorld) -> Iterator[str]:
    wanted = {image.name for image in world.final.images}
    builds: Counter[tuple[str, str]] = Counter()
    for image, build_id, record in records.builds(world.ensemble):
        state = record.get("state", "unreadable")
        builds[image, state] += 1
        if state not in ("ready", "building", "failed"):
            yield f"build {build_id} of {image} is {state}"
        if image not in wanted:
            yield f"build {build_id} of {image} is not wanted"
    limits = {"ready": 2, "building": 1, "failed": 1}
    for (image, state), number in builds.items():
        if number > limits.get(state, 0):
            yield f"{image} has {number} builds {state}"
    uploads: Counter[tuple[str, str, str]] = Counter()
    for (image, build_id, provider, upload_id), record in records.uploads(world.ensemble):
        state = record.get("state", "unreadable")
        uploads[image, provider, state] += 1
        listed = any(plan.name == provider and image in plan.images for plan in world.final.clouds)
        if not listed or state not in ("ready", "uploading", "failed"):
            yield f"upload {upload_id} of {build_id} of {image} to {provider} is {state}"
    for (image, provider, state), number in uploads.items():
        if number > (3 if state == "ready" else 1):
            yield f"{image} has {number} uploads {state} at {provider}"
    for image in set(records.images(world.ensemble)) - wanted:
        yield f"{image} is not gone"


def _orphans(world: BuilderWorld) -> Iterator[str]:
    known = {
        (key[2], record.get("external_id")): record.get("state") for key, record in records.uploads(world.ensemble)
    }
    going = {key for process in world.builders.values() for key in process.reconciler.state.uploads}
    for provider in world.clouds:
        for external_id, one in world.clouds[provider].images.items():
            under_way = (one.image, one.build_id, provider, one.upload_id) in going
            if (provider, external_id) not in known and not under_way:
                yield f"image {external_id} ({one}) has no record"
    builds = {(image, build_id): record for image, build_id, record in records.builds(world.ensemble)}
    for name, disk in world.disks.items():
        for image, build_id in disk.files:
            record = builds.get((image, build_id), {})
            if record.get("state") not in ("ready", "building") or record.get("builder") != name:
                yield f"files of build {build_id} of {image} on {name} belong to {record}"


def _locks(world: BuilderWorld) -> Iterator[str]:
    """Locks that are held for nothing."""
    works = [process.reconciler.state for process in world.builders.values()]
    for image in records.images(world.ensemble):
        building = any(key[0] == image for state in works for key in state.builds)
        if world.ensemble.children(paths.image_lock(image)) and not building:
            yield f"the build lock of {image} is held"
    for image, build_id, _ in records.builds(world.ensemble):
        if world.ensemble.children(paths.build_lock(image, build_id)):
            yield f"the lock of build {build_id} of {image} is held"
        for provider in world.ensemble.children(paths.build_providers(image, build_id)) or ():
            held = world.ensemble.children(paths.uploads_lock(image, build_id, provider))
            if held and not any(key[:3] == (image, build_id, provider) for state in works for key in state.uploads):
                yield f"the upload lock of {build_id} of {image} at {provider} is held"
