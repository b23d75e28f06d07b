"""The whole state of a simulated cloud, without any HTTP. Pure: the time comes with :meth:`Cloud.advance`."""

from __future__ import annotations

from tools.cloud.accounting import Calls
from tools.cloud.chance import Chance, Spread
from tools.cloud.faults import FaultPlan, matches
from tools.cloud.identity import Identity
from tools.cloud.images import Images
from tools.cloud.instances import Instances
from tools.cloud.networks import Networking
from tools.cloud.place import Place
from tools.cloud.rates import RateLimiter
from tools.cloud.reading import changed
from tools.cloud.records import Flavor, Port
from tools.cloud.settings import CloudSettings, RegionSettings
from tools.cloud.timeline import Timeline
from tools.cloud.volumes import Volumes


class Region:
    """One region with its services."""

    def __init__(self, name: str, project_id: str, settings: RegionSettings, cloud: Cloud) -> None:
        self.place = Place(name, project_id, settings, cloud.timeline, cloud.chance)
        self.plan = FaultPlan(cloud.chance, cloud.timeline, settings.faults)
        self.calls = Calls()
        self.networking = Networking(self.place, lambda server_id: self.instances.refresh_addresses(server_id))
        self.volumes = Volumes(self.place)
        self.images = Images(self.place, self.plan)
        self.instances = Instances(self.place, self.plan, self.networking, self.volumes, cloud.settings.identity_tag)
        self.flavors: dict[str, Flavor] = {}
        self.key_pairs: dict[str, str] = {}
        self._provide()
        self.rates = RateLimiter(settings.rate_limits, self.place.now)
        self._latencies: dict[str, Spread] = {}

    @property
    def settings(self) -> RegionSettings:
        """The settings in force."""
        return self.place.settings

    def latency(self, kind: str) -> Spread:
        """How long a call of this kind takes."""
        spread = self._latencies.get(kind)
        if spread is None:
            patterns = self.settings.latency.items()
            spread = next((spread for pattern, spread in patterns if matches(kind, (pattern,))), Spread(0.0, 0.0))
            self._latencies[kind] = spread
        return spread

    def change(self, document: object) -> None:
        """Change settings while the region runs: what it offers is then what they say. Raises BadSettings."""
        settings = changed(self.place.settings, document, self.place.region)
        self.place.settings = settings
        self._provide()
        self.networking.provide()
        self.images.provide()
        self._latencies = {}
        self.rates = RateLimiter(settings.rate_limits, self.place.now)

    def leftovers(self) -> dict[str, list[str]]:
        """Identifiers of resources of servers that are gone or failed, and of floating addresses nobody uses."""
        servers = self.instances.servers
        return {
            "ports": [port.id for port in self.networking.ports.values() if self._orphaned(port)],
            "volumes": [volume.id for volume in self.volumes.volumes.values() if volume.server_id not in servers],
            "floating_ips": [entry.id for entry in self.networking.floating_ips.values() if entry.port is None],
            "images": [image.id for image in self.images.images.values() if image.status != "active"],
        }

    def _provide(self) -> None:
        """Have the flavors of the settings and no others, and their key pairs."""
        known = {flavor.name: flavor.id for flavor in self.flavors.values()}
        self.flavors = {}
        for flavor in self.settings.flavors:
            identifier = flavor.id or known.get(flavor.name) or self.place.identifier("flavor", flavor.name)
            self.flavors[identifier] = Flavor(identifier, flavor.name, flavor.ram, flavor.vcpus, flavor.disk)
        for name in self.settings.key_pairs:
            self.key_pairs.setdefault(name, f"ssh-ed25519 {name}")

    def _orphaned(self, port: Port) -> bool:
        owned = port.device_owner.startswith("compute:")
        return owned and port.device_id not in self.instances.servers


class Cloud:
    """All regions, who may use them, and the clock."""

    def __init__(self, settings: CloudSettings, now: float) -> None:
        self.settings = settings
        self.timeline = Timeline(now)
        self.url = "http://cloud.invalid"
        """Where it answers, without a slash at the end; the server sets it."""
        self.chance = Chance(settings.seed)
        self.identity = Identity(settings, self.chance)
        self.identity_plan = FaultPlan(self.chance, self.timeline, settings.identity_faults)
        self.identity_calls = Calls()
        self.regions = {
            name: Region(name, self.identity.project_id, region, self) for name, region in settings.regions.items()
        }

    @property
    def now(self) -> float:
        """Epoch seconds of the last :meth:`advance`."""
        return self.timeline.now

    def advance(self, now: float) -> None:
        """Let everything happen that is due by ``now`` (epoch seconds)."""
        self.timeline.advance(now)
