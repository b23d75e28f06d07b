"""Which requests our pools take, decline or leave alone, and why: one pass over all open requests.

Pure. The rules are those of spec launcher 2.1 to 2.7, with these differences: a request is taken only when all of it
fits, so nothing holds nodes while it waits; whoever fits goes, and after :data:`PATIENCE` room is kept for the
oldest that does not; and equal pools of several launchers do not race, the first by rendezvous hashing goes first
and the others after :data:`GRACE`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial

from nodepool.driver.errors import BadLabel
from nodepool.launcher.capacity import Allocation, PoolCapacity, fits_in_stock
from nodepool.launcher.open_requests import Kind, kind_of
from nodepool.launcher.setup import LabelRule, PoolSetup
from nodepool.model import rendezvous
from nodepool.model.component import Component
from nodepool.model.node import Node
from nodepool.model.reasons import DeclineReason, WaitReason
from nodepool.model.request import NodeRequest
from nodepool.model.resources import Resources

GRACE = 0.5
"""Seconds that another launcher's equal pool is given to take a request first."""
PATIENCE = 10.0
"""Seconds after which room is kept for a request that does not fit."""

_FULL = frozenset(
    {
        WaitReason.AT_POOL_LIMIT,
        WaitReason.AT_PROVIDER_QUOTA,
        WaitReason.RESERVED,
        WaitReason.MAX_CONCURRENCY,
        WaitReason.NO_FREE_HOST,
        WaitReason.CLOUD_REFUSES,
        WaitReason.NO_CAPACITY,
        WaitReason.LIMITS_UNKNOWN,
        WaitReason.CLOUD_AWAY,
        WaitReason.DRAINED,
    }
)
"""Reasons for which a pool of worse priority may step in."""
_YIELDS = frozenset(
    {WaitReason.OTHER_PROVIDER, WaitReason.BETTER_PRIORITY, WaitReason.OTHER_POOL, WaitReason.OTHER_LAUNCHER}
)
"""Reasons that say only that somebody else decides."""
_STICKY = _FULL | _YIELDS - {WaitReason.OTHER_LAUNCHER} | {WaitReason.TENANT_LIMIT}
"""Reasons that hold for all later requests of the same kind in the same pass: room only shrinks during one."""


@dataclass(frozen=True, slots=True)
class Take:
    """Serve a request from a pool; nothing has to be launched if the allocation is complete."""

    request: NodeRequest
    pool: PoolSetup
    allocation: Allocation
    need: Resources
    """What will be launched uses."""
    tenant_need: Resources
    """What counts for the tenant."""


@dataclass(frozen=True, slots=True)
class Decline:
    """Tell that these pools of ours will never serve a request."""

    request: NodeRequest
    reasons: Mapping[str, DeclineReason]
    """By launcher id."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Leave a request for now; look again at ``until`` (epoch seconds) if it is not None."""

    request: NodeRequest
    reason: WaitReason
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """See whether registered hosts still answer before they are handed to a request."""

    request: NodeRequest
    nodes: tuple[Node, ...]
    pool: PoolSetup


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """A request waits for room in a pool that has ready nodes which nobody asked for."""

    request: NodeRequest
    pool: PoolSetup
    missing: Resources
    """What has to become free."""
    anywhere: bool
    """Whether it may be so in any pool of the provider, because the provider's quota is what is used up."""
    wanted: frozenset[str] = frozenset()
    """Ready nodes that would serve it, and so are to stay."""


Decision = Take | Decline | Wait | Probe | MakeRoom


@dataclass(slots=True)
class Admission:
    """One pass. All fields but the capacities are only read."""

    now: float
    capacities: Mapping[str, PoolCapacity]
    """Our registered pools by launcher id, best priority first."""
    registered: Sequence[Component]
    """All registered pools of all launchers."""
    known: AbstractSet[str]
    """Launcher ids of all pools that have to decline a request before it fails."""
    labels: Mapping[str, LabelRule]
    label_problem: Callable[[PoolSetup, str], DeclineReason | None]
    """Why a label that the pool has cannot be used: broken, image missing."""
    limits_of: Callable[[PoolSetup], Resources]
    """All that the pool could ever use, with the provider's limits as far as known."""
    tenant_room: Callable[[str], Resources]
    answered: AbstractSet[str] = frozenset()
    """Nodes whose hosts answered a moment ago."""
    first_seen: Mapping[str, float] = field(default_factory=dict)
    """When each request was seen first (epoch seconds)."""
    refused_until: Callable[[str, str], float] = lambda _request_id, _provider: 0.0
    """Request id and provider to the time (epoch seconds) until which its cloud is left alone with the request."""
    choose_zone: Callable[[PoolSetup, Sequence[str], str | None], tuple[float, str | None]] = (
        lambda _pool, _labels, zone: (0.0, zone)
    )
    """Labels to be launched and the zone that binds them (None: any) to when they may be asked for, 0 for now, and the
    zone in which: choosing is the last step before that is done."""
    _given_to_tenants: dict[str, Resources] = field(default_factory=dict)
    hopeless: dict[Kind, WaitReason] = field(default_factory=dict)
    """Kinds of requests of which no more can be served in this pass, with the reason."""

    def run(self, requests: Iterable[NodeRequest]) -> list[Decision]:
        """Decide on open requests, which come in order of service."""
        decisions: list[Decision] = []
        for request in requests:
            decisions.extend(self._consider(request))
        return decisions

    def _consider(self, request: NodeRequest) -> list[Decision]:
        kind = kind_of(request)
        if kind in self.hopeless:
            return [Wait(request, self.hopeless[kind])]
        candidates = self._candidates(request)
        refusals: dict[str, DeclineReason] = {}
        waits: list[Decision] = []
        for launcher_id, capacity in self.capacities.items():
            if launcher_id in request.declined_by:
                self._keep_room(request, capacity, candidates)
                continue
            verdict = self._ask_pool(request, capacity, candidates, waits)
            if isinstance(verdict, DeclineReason):
                refusals[launcher_id] = verdict
            elif isinstance(verdict, Take | Probe):
                return [verdict]
            elif verdict is not None:
                waits.extend(verdict)
        if refusals:
            return [Decline(request, refusals)]
        if not waits and self.known <= set(request.declined_by):
            # The last pool that had not declined it is gone.
            return [Decline(request, {})]
        reasons = [one for one in waits if isinstance(one, Wait)]
        told = _summary(request, reasons)
        if all(one.reason in _STICKY for one in reasons):
            self.hopeless[kind] = told.reason
        return [told, *(one for one in waits if not isinstance(one, Wait))]

    def _candidates(self, request: NodeRequest) -> list[Component]:
        """Pools that may serve the request: those of the provider that it prefers, if there are any."""
        wanted = set(request.node_types)
        declined = set(request.declined_by)
        able = [pool for pool in self.registered if pool.id not in declined and wanted <= set(pool.supported_labels)]
        return [pool for pool in able if pool.provider_name == request.provider] or able

    def _keep_room(self, request: NodeRequest, capacity: PoolCapacity, candidates: Sequence[Component]) -> None:
        """Our pool has declined it, but another launcher's equal one waits for the same room: do not take that away."""
        provider, pool = capacity.pool.key
        awaited = any((candidate.provider_name, candidate.name) == (provider, pool) for candidate in candidates)
        if awaited and capacity.pool.provider.stock is None and self._refusal(request, capacity) is None:
            need = capacity.need(request.node_types)
            obstacle = capacity.obstacle(need)
            if obstacle is not None and not request.is_min_ready:
                self._no_room(request, capacity, need, obstacle)

    def _ask_pool(
        self, request: NodeRequest, capacity: PoolCapacity, candidates: Sequence[Component], so_far: Sequence[Decision]
    ) -> Take | Probe | DeclineReason | list[Decision] | None:
        pool = capacity.pool
        yields = self._yields(request, pool, candidates, so_far)
        if yields is not None:
            return [yields]
        refusal = self._refusal(request, capacity)
        if refusal is not None:
            return refusal
        behind = self._behind(request, pool, candidates)
        if behind is not None:
            return [behind]
        return self._fit(request, capacity)

    def _yields(
        self, request: NodeRequest, pool: PoolSetup, candidates: Sequence[Component], so_far: Sequence[Decision]
    ) -> Wait | None:
        """Leave it to a better suited pool (spec launcher 2.2, rows 3 to 5)."""
        preferred = bool(candidates) and candidates[0].provider_name == request.provider
        if preferred and request.provider != pool.provider.name:
            return Wait(request, WaitReason.OTHER_PROVIDER)
        if candidates and not all(pool.label(label) for label in request.node_types):
            return Wait(request, WaitReason.OTHER_POOL)
        full = any(isinstance(one, Wait) and one.reason in _FULL for one in so_far)
        for candidate in candidates:
            better = (candidate.priority or 0) < pool.settings.priority
            ours = candidate.id in self.capacities
            if better and not candidate.paused and not (ours and full):
                return Wait(request, WaitReason.BETTER_PRIORITY)
        return None

    def _refusal(self, request: NodeRequest, capacity: PoolCapacity) -> DeclineReason | None:
        """Why the pool can never serve it (spec launcher 2.2)."""
        pool = capacity.pool
        if pool.settings.disabled:
            return DeclineReason.POOL_DISABLED
        for label in request.node_types:
            if pool.label(label) is None:
                return DeclineReason.LABEL_UNKNOWN
            if self.labels.get(label, LabelRule()).disabled:
                return DeclineReason.LABEL_DISABLED
        for label in dict.fromkeys(request.node_types):
            problem = self.label_problem(pool, label)
            if problem is not None:
                return problem
        return self._too_large(request, capacity)

    def _too_large(self, request: NodeRequest, capacity: PoolCapacity) -> DeclineReason | None:
        stock = capacity.pool.provider.stock
        if stock is not None:
            fits = fits_in_stock(request.node_types, partial(stock.capacity, capacity.pool.settings.name))
            return None if fits else DeclineReason.OVER_QUOTA
        try:
            need = capacity.need(request.node_types)
        except BadLabel:
            return DeclineReason.LABEL_BROKEN
        return None if need.fits_in(self.limits_of(capacity.pool)) else DeclineReason.OVER_QUOTA

    def _behind(self, request: NodeRequest, pool: PoolSetup, candidates: Sequence[Component]) -> Wait | None:
        """Whether an equal pool of another launcher goes first."""
        equal = [one.id for one in candidates if one.id and one.priority == pool.settings.priority and not one.paused]
        winner = rendezvous.first(request.id, equal)
        if winner is None or winner in self.capacities:
            return None
        until = self.first_seen.get(request.id, self.now) + GRACE
        return Wait(request, WaitReason.OTHER_LAUNCHER, until) if self.now < until else None

    def _fit(self, request: NodeRequest, capacity: PoolCapacity) -> Take | Probe | DeclineReason | list[Decision]:
        if request.tenant_name and not self._tenant_allows(request, capacity):
            return [Wait(request, WaitReason.TENANT_LIMIT)]
        allocation = capacity.reusable(request)
        missing = [label for label, node in zip(request.node_types, allocation.nodes, strict=True) if node is None]
        if capacity.pool.provider.stock is not None:
            return self._fit_stock(request, capacity, allocation)
        need = capacity.need(missing)
        refused_until = self.refused_until(request.id, capacity.pool.provider.name)
        if missing and self.now < refused_until:
            return [Wait(request, WaitReason.CLOUD_REFUSES, refused_until)]
        obstacle = capacity.obstacle(need) if missing else None
        if obstacle is None:
            if missing:
                closed_until, zone = self.choose_zone(capacity.pool, missing, allocation.zone)
                if closed_until:
                    return [Wait(request, WaitReason.NO_CAPACITY, closed_until)]
                allocation = replace(allocation, zone=zone)
            capacity.give(allocation, need)
            return self._take(request, capacity, allocation, need)
        if request.is_min_ready:
            if obstacle in (WaitReason.LIMITS_UNKNOWN, WaitReason.CLOUD_AWAY, WaitReason.DRAINED):
                return [Wait(request, obstacle)]
            return DeclineReason.AT_CAPACITY
        wanted = frozenset(node.id for node in allocation.nodes if node is not None)
        return self._no_room(request, capacity, need, obstacle, wanted)

    def _fit_stock(
        self, request: NodeRequest, capacity: PoolCapacity, allocation: Allocation
    ) -> Take | Probe | DeclineReason | list[Decision]:
        stock = capacity.pool.provider.stock
        if capacity.blocked is not None:
            return [Wait(request, capacity.blocked)]
        if not allocation.complete or (request.is_min_ready and not request.reuse):
            if request.is_min_ready:
                return DeclineReason.AT_CAPACITY
            capacity.crowded = True
            return [Wait(request, WaitReason.NO_FREE_HOST)]
        capacity.give(allocation, Resources())
        nodes = tuple(node for node in allocation.nodes if node is not None)
        unsure = tuple(n for n in nodes if n.id not in self.answered and stock and stock.check_before_use(n))
        if unsure:
            return Probe(request, unsure, capacity.pool)
        return self._take(request, capacity, allocation, Resources())

    def _no_room(
        self,
        request: NodeRequest,
        capacity: PoolCapacity,
        need: Resources,
        obstacle: WaitReason,
        wanted: frozenset[str] = frozenset(),
    ) -> list[Decision]:
        decisions: list[Decision] = [Wait(request, obstacle)]
        full = obstacle in (WaitReason.AT_POOL_LIMIT, WaitReason.AT_PROVIDER_QUOTA)
        anywhere = obstacle is WaitReason.AT_PROVIDER_QUOTA
        hopeful = full and capacity.in_reach(need)
        if hopeful and not capacity.crowded:
            decisions.append(MakeRoom(request, capacity.pool, capacity.missing(need), anywhere, wanted))
        if hopeful and not capacity.room.reserved:
            patient_until = (request.created_time or request.state_time or self.now) + PATIENCE
            if self.now >= patient_until:
                capacity.reserve(need)
            else:
                decisions[0] = Wait(request, obstacle, patient_until)
        capacity.crowded = True
        capacity.provider.crowded |= anywhere
        return decisions

    def _tenant_allows(self, request: NodeRequest, capacity: PoolCapacity) -> bool:
        """Whether the tenant's limits leave room for the whole request (spec launcher 2.7)."""
        tenant = request.tenant_name or ""
        room = self.tenant_room(tenant).remaining(self._given_to_tenants.get(tenant, Resources()))
        return self._tenant_need(request, capacity).fits_in(room)

    def _take(self, request: NodeRequest, capacity: PoolCapacity, allocation: Allocation, need: Resources) -> Take:
        tenant_need = self._tenant_need(request, capacity)
        if request.tenant_name:
            given = self._given_to_tenants.get(request.tenant_name, Resources())
            self._given_to_tenants[request.tenant_name] = given + tenant_need
        return Take(request, capacity.pool, allocation, need, tenant_need)

    @staticmethod
    def _tenant_need(request: NodeRequest, capacity: PoolCapacity) -> Resources:
        if capacity.pool.provider.stock is not None:
            return Resources(instances=len(request.node_types))
        return capacity.need(request.node_types)


def _summary(request: NodeRequest, waits: Sequence[Wait]) -> Wait:
    """What an operator should read when several pools let a request wait: best what stands in the way itself."""
    if not waits:
        return Wait(request, WaitReason.DECLINED_HERE)
    told = min(waits, key=lambda wait: wait.reason in _YIELDS)
    until = min((wait.until for wait in waits if wait.until is not None), default=None)
    return Wait(request, told.reason, until)
