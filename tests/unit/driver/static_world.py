"""A launcher's side of a static provider, in memory: it does what the stock plans, one step at a time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from nodepool.driver.nodescan import ScanFailure, ScanResult
from nodepool.driver.static.config import StaticHost
from nodepool.driver.static.plan import StaticStock
from nodepool.driver.stock import Deregister, Register, Scan, Scanned, StockAction, StockNode, StockPlan, Update
from nodepool.model.node import Node
from nodepool.model.states import NodeState

PROVIDER = "rack"
KEY = "ssh-ed25519 AAAA"
OTHER_KEY = "ssh-ed25519 BBBB"


class StaticWorld:
    """Records, looks and hosts. Time moves only when told to."""

    def __init__(self, hosts: Sequence[StaticHost]) -> None:
        self.now = 1000.0
        self.hosts = list(hosts)
        self.stock = StaticStock(PROVIDER, self.hosts)
        self.nodes: dict[str, Node] = {}
        self.locked: set[str] = set()
        self.scans: dict[Hashable, Scanned] = {}
        self.keys: dict[str, tuple[str, ...] | None] = {}
        """Host name to its present keys; None while it is down."""
        self.looks: list[tuple[str, float]] = []
        self._next_id = 0

    def reload(self, hosts: Sequence[StaticHost]) -> None:
        self.hosts = list(hosts)
        self.stock = StaticStock(PROVIDER, self.hosts)
        self.scans = {}

    def plan(self) -> StockPlan:
        nodes = [StockNode(node, node.id in self.locked) for node in self.nodes.values()]
        return self.stock.plan(nodes, self.scans, self.now)

    def settle(self) -> StockPlan:
        """Plan and do until there is nothing to do."""
        for _ in range(50):
            plan = self.plan()
            if not plan.actions:
                return plan
            for action in plan.actions:
                self.do(action)
        raise AssertionError(f"the stock does not come to rest: {plan.actions}")

    def do(self, action: StockAction) -> None:
        match action:
            case Register(_, node):
                self.add(node)
            case Deregister(node_id):
                assert self._is_free(node_id)
                del self.nodes[node_id]
            case Update(node):
                assert self._is_free(node.id)
                self.nodes[node.id] = node
            case Scan(request):
                self.looks.append((request.host, self.now))
                keys = self.keys.get(request.host, (KEY,))
                failed = ScanFailure.REFUSED if keys is None else None
                found = keys if keys and request.wants_keys else ()
                address = None if failed else "192.0.2.1"
                result = ScanResult(request.key, found, failed, "connect: no" if failed else "", address)
                self.scans[request.key] = Scanned(result, self.now)

    def add(self, node: Node) -> Node:
        """Store a new record."""
        self._next_id += 1
        node = node.replace(id=f"{self._next_id:010d}")
        self.nodes[node.id] = node
        return node

    def put(self, node_id: str, state: NodeState, allocated_to: str | None = None) -> None:
        node = self.nodes[node_id]
        self.nodes[node_id] = node.in_state(state, self.now, allocated_to=allocated_to or node.allocated_to)

    def only(self) -> Node:
        """The one record there is."""
        (node,) = self.nodes.values()
        return node

    def slots(self) -> list[tuple[str | None, int | None]]:
        return sorted((node.hostname, node.slot) for node in self.nodes.values())

    def _is_free(self, node_id: str) -> bool:
        node = self.nodes[node_id]
        return node.state is NodeState.READY and not node.allocated_to and node_id not in self.locked
