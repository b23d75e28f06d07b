"""A launcher beside the builders: it keeps a node of each image in stock, and renews it all the time.

So there is somebody who boots from uploads while they come and go, whose servers keep clouds from deleting images, and
who looks for images that no record tells of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nodepool.driver.adapter import LabelSettings, Leftover, PoolSettings, ProviderSettings, ServerOrder
from nodepool.driver.errors import BadLabel, CloudError
from nodepool.driver.fake.cloud import FakeCloud, FakeCloudSettings
from nodepool.launcher.setup import LabelRule, PoolSetup, ProviderSetup, Setup
from nodepool.model.resources import Resources
from nodepool.zk import paths
from tests.simulation.builders import records
from tests.simulation.builders.clouds import ImageCloud
from tests.simulation.launchers.clouds import SimulatedAdapter
from tests.simulation.launchers.process import SimulatedLauncher
from tests.simulation.launchers.project import IMAGES, Mishaps, Project

if TYPE_CHECKING:
    from tests.simulation.builders.world import BuilderWorld

NAME = "launcher"
POOL = "main"
UP_TO_DATE = 20.0
"""Seconds after a mishap within which the launcher may act on what it knew before."""
ONE = Resources(instances=1)


class BootingAdapter(SimulatedAdapter):
    """A provider whose servers are made of what builders have uploaded."""

    def __init__(self, world: BuilderWorld, provider: str, images: ImageCloud, clings: bool) -> None:
        """``clings``: an image cannot be deleted as long as there is a server of it."""
        quota = FakeCloudSettings(Resources.limit({"instances": 100}), boot_time=3.0, delete_time=1.0)
        servers = FakeCloud(world.clock, world.chance(f"servers of {provider}"), quota)
        chance = world.chance(f"project of {provider}")
        project = Project(world.clock, chance, servers, Mishaps(), lambda _: True, world.report, world.count)
        super().__init__(provider, project, {image.name: ONE for image in world.scenario.images})
        self._world = world
        self._images = images
        self._made_of: dict[str, str] = {}
        """Server to image."""
        if clings:
            images.in_use = self._is_in_use

    def create_server(self, order: ServerOrder, deadline: float) -> str:
        """Boot from an uploaded image. Raises BadLabel."""
        external_id = order.image_external_id
        self._world.boots(order.label, self.name, external_id)
        image = self._images.images.get(external_id or "")
        if image is None or not image.ready:
            self._world.count("booted from an image that is gone")
            raise BadLabel(f"there is no image {external_id}")
        server = str(super().create_server(order, deadline))
        self._made_of[server] = str(external_id)
        self._world.count("servers made")
        return server

    def leftovers(self, deadline: float) -> Sequence[Leftover]:
        """What servers have left, and all images of the provider. After an error it is asked for again soon."""
        if self._world.hits(0.6):
            raise CloudError("simulated")
        of_images = (
            Leftover(IMAGES, external_id, 60.0, (image.build_id, image.upload_id))
            for external_id, image in self._images.images.items()
        )
        return (*super().leftovers(deadline), *of_images)

    def remove_leftover(self, leftover: Leftover, deadline: float) -> None:
        """Remove it."""
        if leftover.kind == IMAGES:
            self._world.count("images removed by the launcher")
            self._images.delete(NAME, leftover.external_id)
        else:
            super().remove_leftover(leftover, deadline)

    def _is_in_use(self, image: str) -> bool:
        alive = {server.external_id for server in self.cloud.alive()}
        self._made_of = {server: of for server, of in self._made_of.items() if server in alive}
        return image in self._made_of.values()


def adapters(world: BuilderWorld) -> dict[str, BootingAdapter]:
    """One for each provider that takes images."""
    chance = world.chance("nodes")
    return {
        plan.name: BootingAdapter(world, plan.name, world.clouds[plan.name], clings=chance.random() < 0.5)
        for plan in world.scenario.clouds
    }


def setup(world: BuilderWorld) -> Setup:
    """The configuration of the launcher: a label for each image."""
    pools: dict[str, PoolSetup] = {}
    providers: dict[str, ProviderSetup] = {}
    for plan in world.scenario.clouds:
        labels = {image: LabelSettings(image, diskimage=image, host_key_checking=False) for image in plan.images}
        pool = PoolSettings(POOL, labels)
        adapter = world.adapters[plan.name]
        provider = ProviderSetup(
            ProviderSettings(plan.name, {POOL: pool}),
            adapter.cost,
            is_finished=adapter.is_finished,
            has_leftovers=True,
        )
        providers[plan.name] = provider
        launcher_id = f"{NAME}-{world.starts[NAME]}-{plan.name}"
        pools[launcher_id] = PoolSetup(launcher_id, provider, pool)
    wanted = {image.name for image in world.present.images}
    return Setup(pools, providers, {one.name: LabelRule(int(one.name in wanted), 90) for one in world.scenario.images})


def launcher(world: BuilderWorld) -> SimulatedLauncher:
    """The launcher, not started yet."""
    return SimulatedLauncher(NAME, world.surroundings(NAME), setup(world), world.adapters)


def findings(world: BuilderWorld) -> Iterator[str]:
    """What is not as it should be when all has been calm for long."""
    if not world.adapters:
        return
    ensemble = world.ensemble
    nodes = {name: records.fields(ensemble, paths.node(name)) for name in ensemble.children(paths.NODES) or ()}
    for plan in world.final.clouds:
        for server in world.adapters[plan.name].cloud.alive():
            if server.tags.get("nodepool_node_id") not in nodes:
                yield f"server {server.external_id} of {plan.name} belongs to no node"
    good = {key[0] for key, record in records.uploads(ensemble) if record.get("state") == "ready"}
    for image in good & {image for plan in world.final.clouds for image in plan.images}:
        if not any(node.get("state") == "ready" and node.get("type") == [image] for node in nodes.values()):
            yield f"there is no node of {image}"
