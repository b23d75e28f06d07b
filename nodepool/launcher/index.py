"""Sums and look-ups over all nodes, kept up to date node by node: who uses what, and what is free.

Pure. Belongs to the decision thread. Everything here can be computed from the mirror anew; keeping it spares
a look at every node for each decision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from nodepool.model.node import Node
from nodepool.model.resources import Amount, Resources
from nodepool.model.states import NodeState

CostOfNode = Callable[[Node], Resources]
PoolKey = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class _Share:
    """What one node adds to the sums."""

    node: Node
    locked: bool
    use: Resources


class NodeIndex:
    """All nodes of the cluster, by use, by freedom and by request."""

    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {}
        self._used: dict[Hashable, dict[str, Amount]] = {}
        self._free: dict[PoolKey, dict[str, dict[str, Node]]] = {}
        self._idle: dict[str, int] = {}
        self._of_request: dict[str, set[str]] = {}
        self._of_provider: dict[str | None, set[str]] = {}
        self._counts: Counter[tuple[str | None, tuple[str, ...], NodeState]] = Counter()

    def update(self, node_id: str, node: Node | None, locked: bool, cost: CostOfNode) -> None:
        """Take over the present state of a node (None: it is gone or cannot be read)."""
        old = self._shares.pop(node_id, None)
        if old is not None:
            self._remove(node_id, old)
        if node is not None:
            share = _Share(node, locked, node.quota or cost(node))
            self._shares[node_id] = share
            self._add(node_id, share)

    def used(self, provider: str, pool: str | None = None) -> Resources:
        """Use of a provider, or of one of its pools: all records, whatever their state (spec launcher 2.6)."""
        return Resources(self._used.get((provider, pool) if pool is not None else ("provider", provider, None), {}))

    def held(self, provider: str, pool: str | None = None) -> Resources:
        """What of that somebody holds for study, for as long as it pleases."""
        return Resources(self._used.get(("held", provider, pool), {}))

    def used_by_tenant(self, tenant: str) -> Resources:
        """Use of a tenant over all providers."""
        return Resources(self._used.get(("tenant", tenant, None), {}))

    def free(self, pool: PoolKey, label: str) -> Iterable[Node]:
        """Nodes of a pool that are ready, unallocated and unlocked, in no order."""
        return self._free.get(pool, {}).get(label, {}).values()

    def free_nodes(self, provider: str, pool: str | None = None) -> Iterable[Node]:
        """All free nodes of a provider, or of one of its pools; one with several labels comes once for each."""
        for key, labels in self._free.items():
            if key[0] == provider and pool in (None, key[1]):
                for nodes in labels.values():
                    yield from nodes.values()

    def idle(self, label: str) -> int:
        """Ready and unallocated nodes of a label anywhere, locked or not (spec launcher 2.8)."""
        return self._idle.get(label, 0)

    def of_request(self, request_id: str) -> Iterable[str]:
        """Ids of the nodes that are allocated to a request."""
        return self._of_request.get(request_id, ())

    def provider_of(self, node_id: str) -> str | None:
        """The provider of a node, None if the node is not known."""
        share = self._shares.get(node_id)
        return share.node.provider if share else None

    def request_of(self, node_id: str) -> str | None:
        """Id of the request that a node is allocated to, None if it is not, or not known."""
        share = self._shares.get(node_id)
        return share.node.allocated_to if share else None

    def of_provider(self, provider: str) -> Iterable[str]:
        """Ids of the nodes of a provider."""
        return self._of_provider.get(provider, ())

    def counts(self) -> dict[tuple[str | None, tuple[str, ...], str], int]:
        """How many nodes of a provider have these labels and this state."""
        return {(provider, labels, state.value): count for (provider, labels, state), count in self._counts.items()}

    def _add(self, node_id: str, share: _Share) -> None:
        node = share.node
        for key in _sums(node):
            sums = self._used.setdefault(key, {})
            for name, amount in share.use.to_json().items():
                sums[name] = sums.get(name, 0) + amount
        self._of_provider.setdefault(node.provider, set()).add(node_id)
        self._counts[node.provider, node.type, node.state] += 1
        if node.allocated_to:
            self._of_request.setdefault(node.allocated_to, set()).add(node_id)
        elif node.state is NodeState.READY:
            for label in node.type:
                self._idle[label] = self._idle.get(label, 0) + 1
                if not share.locked:
                    pool = self._free.setdefault((node.provider, node.pool), {})
                    pool.setdefault(label, {})[node_id] = node

    def _remove(self, node_id: str, share: _Share) -> None:
        node = share.node
        for key in _sums(node):
            sums = self._used[key]
            for name, amount in share.use.to_json().items():
                sums[name] -= amount
        self._of_provider[node.provider].discard(node_id)
        kind = (node.provider, node.type, node.state)
        self._counts[kind] -= 1
        if not self._counts[kind]:
            del self._counts[kind]
        if node.allocated_to:
            members = self._of_request[node.allocated_to]
            members.discard(node_id)
            if not members:
                del self._of_request[node.allocated_to]
        elif node.state is NodeState.READY:
            for label in node.type:
                self._idle[label] -= 1
                if not share.locked:
                    self._free[(node.provider, node.pool)][label].pop(node_id, None)


def _sums(node: Node) -> tuple[Hashable, ...]:
    keys: tuple[Hashable, ...] = (("provider", node.provider, None), (node.provider, node.pool))
    if node.state is NodeState.HOLD:
        pools = (None,) if node.pool is None else (None, node.pool)
        keys += tuple(("held", node.provider, pool) for pool in pools)
    return (*keys, ("tenant", node.tenant_name, None)) if node.tenant_name else keys
