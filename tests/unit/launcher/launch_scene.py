"""A decision core, and a cloud of which the test says what it does: for tests of launches as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nodepool.driver.adapter import (
    ATTEMPT_TAG,
    NODE_TAG,
    PROVIDER_TAG,
    KeepFailed,
    LabelSettings,
    ReadyCheck,
    Server,
    ServerState,
)
from nodepool.driver.errors import CloudError
from nodepool.driver.nodescan import ScanResult
from nodepool.driver.readycheck.request import CheckResult
from nodepool.launcher.events import CheckEnded, CreateEnded, LimitsRead, ScanEnded, ServersListed
from nodepool.launcher.instructions import CreateServer, DeleteServer, StartCheck, StartScan
from nodepool.launcher.lifecycle import Launch, Phase
from nodepool.launcher.setup import LabelRule, ProviderSetup, Setup
from nodepool.model.resources import Resources
from tests.unit.launcher.core_scene import CoreScene
from tests.unit.launcher.parts import pool_settings, provider, request
from tests.unit.launcher.parts import setup as setup_of

CHECK = ReadyCheck(("true",))
KEEP = KeepFailed(2, 600.0)
KEYS = ("ssh-ed25519 AAAA",)
ADDRESS = "192.0.2.1"


def cloud_of(limits: dict[str, int | None] | None = None, **label: Any) -> ProviderSetup:
    """A cloud with one pool, whose labels have these settings; ``provider_…`` are settings of the provider."""
    of_provider = {name.removeprefix("provider_"): label.pop(name) for name in list(label) if "provider_" in name}
    pool = pool_settings(limits=limits)
    labels = {name: LabelSettings(name, cloud_image="image", **label) for name in pool.labels}
    return provider(replace(pool, labels=labels), **{"launch_retries": 3, **of_provider})


def configured(cloud: ProviderSetup, **changes: Any) -> Setup:
    """The configuration of a launcher with this cloud."""
    return setup_of(cloud, labels={"small": LabelRule(), "big": LabelRule()}, **changes)


class LaunchScene(CoreScene):
    """See the module's description. ``servers`` are those that the next list shows."""

    def __init__(self, cloud: ProviderSetup, heir_of: LaunchScene | None = None) -> None:
        """An heir finds what another launcher has left in ZooKeeper and in the cloud."""
        self.servers: dict[str, Server] = heir_of.servers if heir_of is not None else {}
        super().__init__(configured(cloud), heir_of.ensemble if heir_of is not None else None)

    @property
    def order(self) -> CreateServer:
        """The last order of a server."""
        return self.last(CreateServer)

    @property
    def deleted(self) -> list[str]:
        """Servers that were asked to go, in order."""
        return [one.external_id for one in self.asked if isinstance(one, DeleteServer)]

    def launch(self, node_id: str | None = None) -> Launch:
        """A launch, the only one unless the node is given."""
        if node_id is not None:
            return self.core.state.launches[node_id]
        (found,) = self.core.state.launches.values()
        return found

    def begin(self, external_id: str = "s1", **fields: Any) -> str:
        """A request is served by a server that is being made; the node's id."""
        self.put(request(**fields))
        return self.create(external_id)

    def create(self, external_id: str) -> str:
        """The server that was ordered last is being made; the node's id."""
        node_id = self.order.order.node_id
        tags = {NODE_TAG: node_id, PROVIDER_TAG: "cloud", ATTEMPT_TAG: str(self.order.attempt)}
        self.servers[external_id] = Server(
            external_id, ServerState.BUILDING, tags, resources=Resources(instances=1), interface_ip=ADDRESS
        )
        self.tell(CreateEnded("cloud", node_id, self.order.attempt, external_id, None, self.now))
        return node_id

    def refuse(self, error: CloudError) -> None:
        """The server that was ordered last cannot be made."""
        self.tell(CreateEnded("cloud", self.order.order.node_id, self.order.attempt, None, error, self.now))

    def change(self, external_id: str, **changes: Any) -> None:
        """A server changes, and a list tells."""
        self.servers[external_id] = replace(self.servers[external_id], **changes)
        self.list_servers()

    def list_servers(self) -> None:
        """The cloud is listed a second later."""
        self.wait(1.0)
        self.tell(ServersListed("cloud", tuple(self.servers.values()), None, self.now, self.now))

    def activate(self, external_id: str = "s1") -> None:
        """A server becomes active."""
        self.change(external_id, state=ServerState.ACTIVE)

    def read_limits(self, limits: Resources) -> None:
        """The cloud tells its limits."""
        self.tell(LimitsRead("cloud", limits, None))

    def vanish(self, external_id: str) -> None:
        """A server goes, and a list tells."""
        del self.servers[external_id]
        self.list_servers()

    def answer_scan(self, result: ScanResult | None = None) -> None:
        """The machine answers the look at its port."""
        key = self.last(StartScan).request.key
        self.tell(ScanEnded(key, result or ScanResult(key, KEYS, address=ADDRESS)))

    def answer_check(self, failure: str | None = None, output: str = "") -> None:
        """The check before use ends."""
        self.tell(CheckEnded(self.last(StartCheck).request.key, CheckResult(failure, output)))

    def reach(self, phase: Phase, external_id: str = "s1") -> str:
        """A new request's launch gets as far as this; the node's id."""
        node_id = ""
        steps: dict[Phase, Callable[[], object]] = {
            Phase.CREATING: lambda: self.put(request()),
            Phase.BOOTING: lambda: self.create(external_id),
            Phase.FINISHING: lambda: self.activate(external_id),
            Phase.SCANNING: lambda: self.activate(external_id),
            Phase.CHECKING: self.answer_scan,
            Phase.KEEPING: lambda: self.answer_check("no network", "no route\nto host"),
        }
        for step in steps.values():
            step()
            node_id = node_id or self.order.order.node_id
            if node_id in self.core.state.launches and self.launch(node_id).phase is phase:
                break
        return node_id
