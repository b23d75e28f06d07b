"""What a seed makes of a site with builders."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nodepool.builder.setup import ProviderSetup, Setup
from nodepool.builder.state import Workers
from nodepool.config.settings import DiskImage
from nodepool.driver.image_adapter import ImageSettings, ProviderImage

FORMATS = ("qcow2", "raw", "vhd")


@dataclass(frozen=True, slots=True)
class CloudPlan:
    """A provider."""

    name: str
    image_format: str
    images: tuple[str, ...]
    """That it lists."""
    paused: frozenset[str] = frozenset()
    hook: str | None = None
    late: bool = False
    """Whether its images can be seen only when all of them is there."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """See the module's description."""

    images: tuple[DiskImage, ...]
    clouds: tuple[CloudPlan, ...]
    builders: Mapping[str, tuple[str, ...]]
    """Names of the providers in its configuration, by builder."""
    workers: Workers
    trouble: float
    """Seconds."""
    violence: float = 0.0
    """Mishaps per builder and minute."""
    crash_rate: float = 0.0
    """Chance of dying at each effect."""
    build_fails: float = 0.0
    cloud_fails: float = 0.0
    longest_build: float = 60.0
    longest_upload: float = 20.0
    """Seconds."""
    operated: bool = False
    nodes: bool = False
    """Whether a launcher makes nodes of the images."""
    removed: frozenset[str] = field(default_factory=frozenset)
    """Images that go out of the configuration after the trouble."""

    def setup(self, builder: str) -> Setup:
        """The configuration of a builder."""
        plans = [plan for plan in self.clouds if plan.name in self.builders[builder]]
        return Setup(
            images={image.name: image for image in self.images},
            providers={plan.name: _provider(plan) for plan in plans},
            images_dir=f"/images/{builder}",
        )

    def without(self, images: frozenset[str]) -> Scenario:
        """The same site, with fewer images."""
        kept = tuple(image for image in self.images if image.name not in images)
        clouds = tuple(
            replace(plan, images=tuple(one for one in plan.images if one not in images)) for plan in self.clouds
        )
        return replace(self, images=kept, clouds=clouds)

    def altered(self, chance: random.Random) -> Scenario:
        """The same site as an operator changes it for a while."""
        plan = chance.choice(self.clouds)
        changed = replace(plan, images=plan.images[1:])
        if chance.random() < 0.5:
            changed = replace(plan, paused=frozenset(plan.images[:1]))
        return replace(self, clouds=tuple(changed if one is plan else one for one in self.clouds))


def draw(seed: int) -> Scenario:
    """The site of a seed."""
    chance = random.Random(f"{seed} builders")
    names = [f"image{number}" for number in range(chance.randint(1, 4))]
    images = tuple(
        DiskImage(
            name,
            formats=chance.choice(((), ("raw",), ("tar",))),
            keep_formats=chance.choice(((), ("raw",))),
            delete_after_upload=chance.random() < 0.4,
            rebuild_age=chance.randint(300, 1200),
        )
        for name in names
    )
    clouds = tuple(
        CloudPlan(
            f"cloud{number}",
            chance.choice(FORMATS),
            tuple(name for name in names if chance.random() < 0.8),
            hook="hook" if chance.random() < 0.2 else None,
            late=chance.random() < 0.4,
        )
        for number in range(chance.randint(1, 3))
    )
    all_clouds = tuple(plan.name for plan in clouds)
    builders = {f"nb{number}": all_clouds for number in range(chance.randint(1, 3))}
    calm = chance.random() < 0.15
    return Scenario(
        images=images,
        clouds=clouds,
        builders=builders,
        workers=Workers(chance.randint(1, 2), chance.randint(1, 4)),
        trouble=chance.uniform(1000.0, 4000.0),
        violence=0.0 if calm else chance.choice((0.05, 0.3, 1.0)),
        crash_rate=0.0 if calm else chance.choice((0.0, 0.002, 0.02)),
        build_fails=0.0 if calm else chance.choice((0.0, 0.2, 0.6)),
        cloud_fails=0.0 if calm else chance.choice((0.0, 0.1, 0.4)),
        longest_build=chance.choice((60.0, 250.0)),
        longest_upload=chance.choice((20.0, 150.0)),
        operated=chance.random() < 0.5,
        removed=frozenset(names[:1]) if chance.random() < 0.3 else frozenset(),
        nodes=chance.random() < 0.5,
    )


def _provider(plan: CloudPlan) -> ProviderSetup:
    images = {name: ProviderImage(name, pause=name in plan.paused) for name in plan.images}
    settings = ImageSettings(images, post_upload_hook=plan.hook)
    return ProviderSetup(plan.name, settings, dict.fromkeys(plan.images, plan.image_format))
