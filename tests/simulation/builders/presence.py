"""Who is at work: what a builder does that is there must not be taken for given up by another one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.simulation.builders.process import SimulatedBuilder

if TYPE_CHECKING:
    from nodepool.zk.mirror import UploadKey
    from tests.simulation.builders.world import BuilderWorld

AWAY = 30.0
"""Seconds for which a builder may be without session, and within which it then takes its locks again."""


def at_work_on_build(world: BuilderWorld, image: str, build_id: str | None = None) -> Iterator[str]:
    """Names of those who are there and whose command builds the image (only that build, if it is given)."""
    for builder in world.builders.values():
        for (of_image, one), work in builder.reconciler.state.builds.items():
            if of_image == image and build_id in (None, one) and work.result is None and is_there(world, builder):
                yield builder.name


def at_work_on_upload(world: BuilderWorld, key: UploadKey) -> Iterator[str]:
    """The same of an upload; with an empty upload id, of any upload of the build to the provider."""
    for builder in world.builders.values():
        for one, work in builder.reconciler.state.uploads.items():
            alike = one[:3] == key[:3] and key[3] in ("", one[3])
            if alike and work.result is None and is_there(world, builder):
                yield builder.name


def is_there(world: BuilderWorld, builder: SimulatedBuilder) -> bool:
    """Whether a builder lives, and has not been without session for long."""
    if not builder.alive or builder.frozen:
        return False
    now, ensemble, session = world.clock.now, world.ensemble, builder.memory.session()
    if ensemble.is_alive(session) and now > ensemble.began[session] + AWAY:
        return True
    lost = [ensemble.ended.get(one, 0.0) for one, name in world.sessions.items() if name == builder.name]
    return now < max(lost, default=0.0) + AWAY
