"""What one pool can give now: free nodes to reuse, and room to launch more.

Pure. A :class:`PoolCapacity` lives for one pass of admission and shrinks as requests are given something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import inf

from nodepool.launcher.setup import PoolSetup
from nodepool.model.node import Node
from nodepool.model.reasons import WaitReason
from nodepool.model.request import NodeRequest
from nodepool.model.resources import Resources

MOST_KINDS = 10
"""With more labels in one request than this, only single labels and all together are compared with the slots."""
FreeNodes = Callable[[str], Iterable[Node]]
"""Label to the free nodes of the pool that carry it, the longest free first."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """How a pool would serve a request: one element per label in order, None where a node has to be launched."""

    nodes: tuple[Node | None, ...]
    zone: str | None

    @property
    def complete(self) -> bool:
        """Whether nothing has to be launched."""
        return None not in self.nodes


@dataclass(slots=True)
class Room:
    """What some limits leave during one pass."""

    left: Resources
    """A limit less all that is used now."""
    in_reach: Resources
    """The limit less what will stay used: what may become free without anybody's decision."""
    reserved: Resources = field(default_factory=Resources)
    """What is kept for the oldest request that does not fit yet."""

    def reserve(self, need: Resources) -> None:
        """Keep room, unless it is kept for somebody already."""
        if not self.reserved:
            self.reserved = need

    def leaves(self, need: Resources) -> bool:
        """Whether there is room beside what is reserved."""
        return (need + self.reserved).fits_in(self.left)


@dataclass(slots=True)
class ProviderCapacity:
    """What the pools of a provider share during one pass."""

    room: Room
    launch_slots: float = inf
    """How many more launches ``max-concurrency`` allows."""
    crowded: bool = False
    """Whether a request waits for the provider's quota."""


@dataclass(slots=True)
class PoolCapacity:
    """What a pool can give during one pass."""

    pool: PoolSetup
    free: FreeNodes
    room: Room
    provider: ProviderCapacity
    blocked: WaitReason | None = None
    """Why nothing can be launched at all just now."""
    is_busy: Callable[[str], bool] = lambda _: False
    """Whether a transaction about a node is under way."""
    taken: set[str] = field(default_factory=set)
    """Nodes that are given away or looked at; shared by all pools."""
    crowded: bool = False
    """Whether a request waits here for room."""

    def reusable(self, request: NodeRequest) -> Allocation:
        """The free nodes that suit the request, label by label, all in one zone."""
        labels = request.node_types
        if not request.reuse and self.pool.provider.stock is None:
            return Allocation((None,) * len(labels), None)
        if self.pool.provider.stock is not None:
            return Allocation(tuple(match(labels, lambda label: self._candidates(label))), None)
        chosen: list[Node | None] = []
        zone: str | None = None
        mine: set[str] = set()
        for label in labels:
            node = next((n for n in self._candidates(label) if n.id not in mine and zone in (None, n.az)), None)
            if node is not None:
                mine.add(node.id)
                zone = zone or node.az
            chosen.append(node)
        return Allocation(tuple(chosen), zone)

    def _candidates(self, label: str) -> Iterable[Node]:
        stock = self.pool.provider.stock
        return (
            node
            for node in self.free(label)
            if node.id not in self.taken and not self.is_busy(node.id) and (stock is None or stock.is_current(node))
        )

    def need(self, labels: Iterable[str]) -> Resources:
        """What launching nodes of these labels uses. Raises BadLabel."""
        name = self.pool.settings.name
        return Resources.total(self.pool.provider.cost(name, label) for label in labels)

    def obstacle(self, need: Resources) -> WaitReason | None:
        """Why nodes that need ``need`` cannot be launched now, None if they can.

        A request with several nodes may exceed ``max-concurrency`` once one launch is free: it would starve otherwise.
        """
        if self.blocked is not None:
            return self.blocked
        if self.provider.launch_slots <= 0:
            return WaitReason.MAX_CONCURRENCY
        if not need.fits_in(self.room.left):
            return WaitReason.AT_POOL_LIMIT
        if self.heeds_quota and not need.fits_in(self.provider.room.left):
            return WaitReason.AT_PROVIDER_QUOTA
        if not self.room.leaves(need) or (self.heeds_quota and not self.provider.room.leaves(need)):
            return WaitReason.RESERVED
        return None

    @property
    def heeds_quota(self) -> bool:
        """Whether the provider's quota counts (``ignore-provider-quota``)."""
        return not self.pool.settings.ignore_provider_quota

    def missing(self, need: Resources) -> Resources:
        """What has to become free before ``need`` fits."""
        room = self.room.left.both(self.provider.room.left) if self.heeds_quota else self.room.left
        return Resources({name: need[name] - room[name] for name in need.shortage(room)})

    def in_reach(self, need: Resources) -> bool:
        """Whether there will be room without anybody giving up what is held."""
        quota = self.provider.room
        return need.fits_in(self.room.in_reach) and (not self.heeds_quota or need.fits_in(quota.in_reach))

    def reserve(self, need: Resources) -> None:
        """Keep room for a request that does not fit yet."""
        self.room.reserve(need)
        if self.heeds_quota:
            self.provider.room.reserve(need)

    def room_for(self, label: str, most: int) -> int:
        """How many nodes of a label, up to ``most``, could be launched now; they are taken out of the room."""
        need = self.need([label])
        found = 0
        while found < most and self.obstacle(need) is None:
            self.give(Allocation((None,), None), need)
            found += 1
        return found

    def give(self, allocation: Allocation, need: Resources) -> None:
        """Take what an allocation uses out of the room."""
        self.taken.update(node.id for node in allocation.nodes if node is not None)
        self.room.left = self.room.left.remaining(need)
        self.provider.room.left = self.provider.room.left.remaining(need)
        self.provider.launch_slots -= sum(node is None for node in allocation.nodes)


def fits_in_stock(labels: Sequence[str], slots: Callable[..., int]) -> bool:
    """Whether all the labels can be served at once when every slot is free (Hall's theorem).

    ``slots`` tells how many slots have one of some labels; a slot may have several.
    """
    kinds = sorted(set(labels))
    sizes = range(1, len(kinds) + 1) if len(kinds) <= MOST_KINDS else (1, len(kinds))
    groups = (group for size in sizes for group in combinations(kinds, size))
    return all(sum(label in group for label in labels) <= slots(*group) for group in groups)


def match(labels: Sequence[str], candidates: Callable[[str], Iterable[Node]]) -> list[Node | None]:
    """Give each label a node of its own if that can be done at all (Kuhn's augmenting paths).

    Nodes may carry several labels, so that taking the first that suits could leave a later label without.
    """
    options = {label: list(candidates(label)) for label in set(labels)}
    holder: dict[str, int] = {}
    nodes: dict[str, Node] = {}

    def place(index: int, seen: set[str]) -> bool:
        for node in options[labels[index]]:
            if node.id in seen:
                continue
            seen.add(node.id)
            if node.id not in holder or place(holder[node.id], seen):
                holder[node.id], nodes[node.id] = index, node
                return True
        return False

    for index in range(len(labels)):
        place(index, set())
    chosen: list[Node | None] = [None] * len(labels)
    for node_id, index in holder.items():
        chosen[index] = nodes[node_id]
    return chosen
