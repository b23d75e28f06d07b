"""A site with builders: their disks and clouds, an operator, perhaps a launcher, and what can be known of it."""

from __future__ import annotations

from collections.abc import Iterator

from nodepool.builder.service import ROOTS
from nodepool.launcher.service import ROOTS as ROOTS_OF_LAUNCHERS
from nodepool.zk import paths
from nodepool.zk.store import Check
from tests.simulation.builders import nodes, records, settled
from tests.simulation.builders import scenario as scenarios
from tests.simulation.builders.clouds import CloudManners, ImageCloud
from tests.simulation.builders.host import Disk, Manners
from tests.simulation.builders.invariants import KNOWN_AFTER, Invariants
from tests.simulation.builders.process import SimulatedBuilder
from tests.simulation.builders.trouble import BuilderGremlin, GremlinOfNodes, Operator
from tests.simulation.daemon import SimulatedDaemon
from tests.simulation.ensemble import Transaction
from tests.simulation.launchers.process import SimulatedLauncher
from tests.simulation.mutations import Mutation
from tests.simulation.world import Rules, World


class BuilderWorld(World):
    """See the module's description."""

    rules = Rules(
        # The longest pause after failures is an hour.
        least_calm=900.0,
        calm=4500.0,
        looks=12,
        between_looks=41.3,
        pauses=(0.0, 3.0, 30.0, 300.0),
        most_starts=40,
    )
    scenario: scenarios.Scenario

    def __init__(self, seed: int, mutation: Mutation, log: bool = False) -> None:
        super().__init__(seed, scenarios.draw(seed), mutation, log)
        self.final = self.scenario.without(self.scenario.removed)
        self.invariants = Invariants(self)
        self.disks = {name: Disk(self.chance(f"disk {name}")) for name in self.scenario.builders}
        self.clouds = {plan.name: self._cloud(plan) for plan in self.scenario.clouds}
        self.builders: dict[str, SimulatedBuilder] = {}
        self.adapters = nodes.adapters(self) if self.scenario.nodes else {}
        """Of the launcher beside; none if there is no launcher."""
        self._up_to_date_at = 0.0
        """When the launcher beside knows again what there is, if nothing happens to it (epoch)."""

    @property
    def present(self) -> scenarios.Scenario:
        """The site as it is to be now."""
        return self.final if self.calm else self.scenario

    # Life

    def begin(self) -> None:
        """Make the site, and let everybody begin."""
        self.make_znodes(dict.fromkeys((paths.ROOT, *ROOTS, *ROOTS_OF_LAUNCHERS)))
        for name in self.scenario.builders:
            self.start(name)
        if self.adapters:
            self.start(nodes.NAME)
            self.every(1.0, self._look_at_launcher)
            GremlinOfNodes(self).start()
        BuilderGremlin(self).start()
        if self.scenario.operated:
            Operator(self).start()

    def make(self, name: str) -> SimulatedDaemon:
        """A builder, or the launcher beside."""
        if name == nodes.NAME:
            return nodes.launcher(self)
        clouds = {cloud: self.clouds[cloud] for cloud in self.scenario.builders[name]}
        builder = SimulatedBuilder(
            name,
            self.surroundings(name),
            self.present.setup(name),
            self.disks[name],
            clouds,
            self._manners,
            self.scenario.workers,
        )
        self.builders[name] = builder
        return builder

    def configure(self, daemon: SimulatedDaemon) -> None:
        """Give a daemon the configuration that the site has now."""
        daemon.configure(nodes.setup(self) if daemon.name == nodes.NAME else self.present.setup(daemon.name))

    def repair(self) -> None:
        """Nothing goes wrong from now on."""
        for cloud in self.clouds.values():
            cloud.manners = CloudManners(late=cloud.manners.late)
        for disk in self.disks.values():
            disk.full = False

    def findings(self) -> Iterator[str]:
        """What is not as it should be when all has been calm for long."""
        return settled.findings(self)

    # Parts

    def _cloud(self, plan: scenarios.CloudPlan) -> ImageCloud:
        cloud = ImageCloud(self.clock, self.chance(plan.name))
        rate = self.scenario.cloud_fails
        longest = self.scenario.longest_upload
        cloud.manners = CloudManners(rate, rate / 2, rate, rate, longest=longest, late=plan.late)
        cloud.deleting = self.invariants.deleting
        changed: ImageCloud = self.mutation.cloud(cloud)
        return changed

    def _manners(self) -> Manners:
        return Manners(longest=self.scenario.longest_build, fails=0.0 if self.calm else self.scenario.build_fails)

    def launchers(self) -> list[SimulatedLauncher]:
        """The launcher beside, if there is one."""
        return [daemon for daemon in self.daemons.values() if isinstance(daemon, SimulatedLauncher)]

    def _look_at_launcher(self) -> None:
        for one in self.launchers():
            hindered = one.frozen or one.memory.feed_lag or one.slowness or not one.reconciler.state.working
            if hindered or not one.alive:
                self._up_to_date_at = self.clock.now + nodes.UP_TO_DATE

    # What is, to those who check

    def builder_of(self, session: int) -> str | None:
        """Whose session it is, None for somebody else's."""
        name = self.sessions.get(session)
        return name if name in self.builders else None

    def is_wanted(self, builder: str, image: str, provider: str | None = None) -> bool:
        """Whether a builder's configuration has an image (for a provider), or that of another one whom it may know."""
        setup = self.builders[builder].reconciler.state.setup
        if setup is not None and image in setup.images:
            ours = setup.providers.get(provider) if provider else None
            if provider is None or (ours is not None and ours.image(image)):
                return True
        told = records.listed(self.ensemble, self.clock.now - KNOWN_AFTER)
        return any(name != builder and (image, provider or one) == (of, one) for name, of, one in told)

    def boots(self, image: str, provider: str, external_id: str | None) -> None:
        """The launcher beside makes a server."""
        if self.clock.now >= self._up_to_date_at:
            self.invariants.boots(image, provider, external_id)

    def describe(self, transaction: Transaction) -> Iterator[str]:
        """What a transaction did, for the log."""
        for one in transaction.operations:
            if not isinstance(one, Check):
                data = getattr(one, "data", b"").decode()[:200]
                yield f"{type(one).__name__} {one.path.removeprefix('/nodepool/')} {data}"
