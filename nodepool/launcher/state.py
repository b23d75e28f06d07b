"""All that the decision thread knows, and the few things that every decision needs.

Belongs to the decision thread; no I/O. What matters is in the mirror, which is ZooKeeper's; the rest (claims, launches,
deletions) is work under way, which a restart or another launcher takes up again from the records.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from nodepool.daemon.instructions import Level, Say
from nodepool.daemon.state import CoreState
from nodepool.driver.errors import BadLabel
from nodepool.launcher.clouds import Cloud
from nodepool.launcher.index import NodeIndex
from nodepool.launcher.instructions import CancelCreate, ListServers, Order, Purpose
from nodepool.launcher.lifecycle import Launch, Phase
from nodepool.launcher.offerings import Offerings
from nodepool.launcher.open_requests import Kind, OpenRequests
from nodepool.launcher.setup import Setup
from nodepool.launcher.work import Claim, Deletion, HostWork, Planned, Refusals, StockWork
from nodepool.model.component import Component
from nodepool.model.node import Node
from nodepool.model.reasons import WaitReason
from nodepool.model.request import NodeRequest
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState
from nodepool.zk import paths
from nodepool.zk.mirror import Changes
from nodepool.zk.seize import seize
from nodepool.zk.store import Batch, Create, Datum, Operation

if TYPE_CHECKING:
    import random

EVERYTHING = "everything"
"""Marked as dirty: look at all there is."""


class State(CoreState[Purpose, Hashable, Order]):
    """See the module's description."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.index = NodeIndex()
        self.setup = Setup()
        self.clouds: dict[str, Cloud] = {}
        self.claims: dict[str, Claim] = {}
        self.launches: dict[str, Launch] = {}
        self._launching: dict[str, int] = {}
        self.deletions: dict[str, Deletion] = {}
        self.broken_labels: dict[tuple[str, str], float] = {}
        """Provider and label that its driver called broken when a server was to be made, and until when that counts."""
        self.offerings = Offerings()
        """What the last attempts tell of kinds of machines."""
        self.waiting: dict[str, WaitReason] = {}
        """Why a request waits, by request id."""
        self.open_requests = OpenRequests()
        """Requests in state ``requested``."""
        self.hopeless: dict[Kind, WaitReason] = {}
        """Why all requests of a kind wait, as of the last pass."""
        self.first_seen: dict[str, float] = {}
        self.refusals: dict[tuple[str, str], Refusals] = {}
        """By request id and provider."""
        self.taking: dict[str, Claim] = {}
        """Claims whose first transaction is under way."""
        self.planned: dict[str, Planned] = {}
        """By request id, while its transaction is under way or in doubt; by node id, until there is news of it."""
        self.reserving: dict[str, list[str]] = {}
        """Nodes that a transaction under way gives to a request."""
        self.creating: set[str] = set()
        """Nodes for which a call that makes a server is under way."""
        self.unclaimed: dict[str, tuple[str, Any]] = {}
        """Node id to the provider and external id of a server that we made for it, though we work on it no more."""
        self.crowded: frozenset[str] = frozenset()
        """Launcher ids of our pools in which a request waits for room."""
        self.paused: dict[str, float] = {}
        """Those of which others are told so, with the time (epoch seconds) until which they are at least."""
        self.short_of_quota: set[str] = set()
        """Providers for whose quota a request waits."""
        self.published: dict[str, Component] = {}
        self._events: dict[str, str] = {}
        """Event ids of requests that are there or have nodes, by request id."""
        self.hosts = HostWork()
        self.stock = StockWork()

    # Work

    def add_launch(self, launch: Launch) -> None:
        """A node is to be launched."""
        self.launches[launch.node_id] = launch
        self._launching[launch.provider] = self._launching.get(launch.provider, 0) + 1

    def remove_launch(self, node_id: str) -> Launch | None:
        """A launch is over."""
        launch = self.launches.pop(node_id, None)
        if launch is not None:
            self._launching[launch.provider] -= 1
            self.clouds[launch.provider].waiting.discard(node_id)
            if launch.phase is Phase.CREATING:
                self.out.append(CancelCreate(launch.provider, node_id, launch.attempt))
        return launch

    def launching(self, provider: str) -> int:
        """How many launches of a provider are in progress."""
        return self._launching.get(provider, 0)

    # Asking for things

    def say(self, level: Level, logger: str, message: str, request: NodeRequest | None = None, node: str = "") -> None:
        """One sentence for the log, with the ids that it concerns; those of a node's request are found."""
        request_id = request.id if request else self._request_of(node)
        request = request or self.mirror.request(request_id or "")
        event_id = request.event_id if request else self._events.get(request_id or "")
        self.out.append(Say(level, logger, message, event_id, request_id, node or None))

    def _request_of(self, node_id: str) -> str | None:
        launch = self.launches.get(node_id)
        return launch.request_id if launch is not None else self.index.request_of(node_id)

    def free(self, key: Hashable) -> None:
        """The transaction about ``key`` has ended, and what it has changed is in the mirror."""
        super().free(key)
        if isinstance(key, tuple) and key[0] == "request":
            self.planned.pop(key[1], None)

    def list_servers(self, provider: str, at: float = 0.0) -> None:
        """Have the servers of a provider listed, as soon as its poll interval allows."""
        self.out.append(ListServers(provider, at))

    # Time

    def wake(self, at: float, key: Hashable) -> None:
        """Look at ``key`` again at ``at`` (epoch seconds)."""
        self.timers.add(at, key)

    def wake_by(self, at: float, key: Hashable) -> None:
        """Look at ``key`` again at ``at`` (epoch seconds) at the latest; for what asks again at each look."""
        self.timers.add_latest(at, key, self.now)

    def fire_timers(self) -> None:
        """Mark what is due."""
        for key in self.timers.due(self.now):
            self.is_due(key)

    # The mirror

    def take_over(self, batch: Batch) -> Changes:
        """Apply a batch of the feed."""
        changes = self.mirror.apply(batch)
        self._mark(changes)
        return changes

    def take_over_own(self, entries: dict[str, Datum | None]) -> None:
        """Apply what our own transaction wrote."""
        self._mark(self.mirror.apply_own(entries))

    def _mark(self, changes: Changes) -> None:
        for node_id in changes.nodes:
            provider, request_id = self.index.provider_of(node_id), self.index.request_of(node_id)
            self.reindex(node_id)
            self._follow_event(request_id or "")
            self.planned.pop(node_id, None)
            self.touch(("node", node_id))
            if request_id in self.claims:
                self.dirty.add(("request", request_id))
            provider = provider or self.index.provider_of(node_id)
            if provider is not None:
                self.dirty.add(("stock", provider))
        for request_id in changes.requests | changes.request_locks:
            self._follow_event(request_id)
            self.touch(("request", request_id))
        if changes.nodes or changes.requests or changes.request_locks or changes.uploads or changes.components:
            self.dirty.add("admission")
            self.dirty.add("min-ready")
        for name in changes.drained:
            self.dirty.update(("admission", "min-ready", "pools"))
            for node_id in self.index.of_provider(name.removeprefix("provider/")):
                self.touch(("node", node_id))
        if changes.components:
            self._find_fence()
        if changes.elections:
            self.dirty.update(("stock", provider) for provider in self.setup.providers)

    def _follow_event(self, request_id: str) -> None:
        """Know the event of a request for as long as it has nodes: its requestor deletes it when it has them."""
        request = self.mirror.request(request_id)
        if request is not None and request.event_id:
            self._events[request_id] = request.event_id
        elif request is None and not self.index.of_request(request_id):
            self._events.pop(request_id, None)

    def _find_fence(self) -> None:
        """Our launcher's own component in this session: as long as it stands, so does the session."""
        ours = (
            name
            for name, entry in self.mirror.components.items()
            if name.startswith("launcher/") and self.session and entry.ephemeral_owner == self.session
        )
        found = next(ours, None)
        fence = f"{paths.COMPONENTS}/{found}" if found else ""
        if fence != self.fence:
            self.fence = fence
            self.dirty.add(EVERYTHING)

    def reindex(self, node_id: str) -> None:
        """Bring the sums up to date for one node."""
        entry = self.mirror.nodes.get(node_id)
        locked = bool(self.mirror.node_locks.get(node_id))
        self.index.update(node_id, entry.record if entry else None, locked, self.cost_of)

    def cost_of(self, node: Node) -> Resources:
        """Use of a node whose record does not say it (spec launcher 2.6)."""
        pool = self.setup.pool_of(node.provider, node.pool)
        if pool is not None and node.type:
            try:
                return pool.provider.cost(pool.settings.name, node.type[0])
            except BadLabel:
                return Resources()
        return Resources(instances=1)

    def node_version(self, node_id: str) -> int:
        """Version of a node's record as the mirror has it."""
        return self.mirror.nodes[node_id].version

    def request_version(self, request_id: str) -> int:
        """Version of a request's record as the mirror has it."""
        return self.mirror.requests[request_id].version

    # Locks

    def our_node_lock(self, node_id: str) -> str | None:
        """Path of our contender for a node, if the lock is ours."""
        order = self.mirror.node_queue(node_id)
        ours = self.our_contender(order[:1])
        return f"{paths.node_lock(node_id)}/{ours}" if ours else None

    def our_request_lock(self, request_id: str) -> str | None:
        """Path of our contender for a request, if the lock is ours."""
        ours = self.our_contender(self.mirror.request_locks.get(request_id, ()))
        return f"{paths.request_lock(request_id)}/{ours}" if ours else None

    def seize_node(self, node_id: str) -> tuple[Operation, ...]:
        """Operations that succeed only if nobody holds or awaits the node's lock, and leave an empty directory."""
        return seize(paths.node_lock(node_id), node_id in self.mirror.node_locks)

    def seize_request(self, request_id: str) -> tuple[Operation, ...]:
        """The same for a request's lock."""
        return seize(paths.request_lock(request_id), request_id in self.mirror.request_locks)

    def lock_node(self, node_id: str) -> tuple[Operation, ...]:
        """Operations that take the node's lock, or fail if anybody holds or awaits it."""
        contender = f"{paths.node_lock(node_id)}/{self.contender_path}"
        return (*self.seize_node(node_id), Create(contender, ephemeral=True, sequence=True))

    def lock_request(self, request_id: str) -> tuple[Operation, ...]:
        """The same for a request's lock."""
        contender = f"{paths.request_lock(request_id)}/{self.contender_path}"
        return (*self.seize_request(request_id), Create(contender, ephemeral=True, sequence=True))

    # Others

    def is_free(self, node: Node) -> bool:
        """Whether nobody has a node, or is about to get it."""
        untouched = ("node", node.id) not in self.busy and not self.mirror.node_locks.get(node.id)
        return node.state is NodeState.READY and not node.allocated_to and untouched

    def why_waiting(self, request_id: str) -> WaitReason | None:
        """What stands in the way of an open request, None if it is not open."""
        if request_id not in self.open_requests:
            return None
        return self.hopeless.get(self.open_requests.kind(request_id)) or self.waiting.get(request_id)

    def known_pools(self) -> set[str]:
        """Launcher ids of all registered pools, and of ours even if they are not registered yet."""
        return {pool.id for pool in self.mirror.pools() if pool.id} | self.setup.pools.keys()

    def registered_pools_of(self, provider: str) -> list[str]:
        """Launcher ids of all registered pools of a provider."""
        return [pool.id for pool in self.mirror.pools() if pool.provider_name == provider and pool.id]
