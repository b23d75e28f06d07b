"""What every stock of existing hosts must do, on real hosts: sshd on the loopback address, looked at by the scanner."""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Hashable, Iterator
from types import SimpleNamespace

import pytest

from nodepool.driver.nodescan import ScanRequest, ScanResult
from nodepool.driver.nodescan.scanner import Scanner
from nodepool.driver.registry import get_driver
from nodepool.driver.stock import Deregister, Register, Scan, Scanned, Stock, StockNode, StockPlan, Update
from nodepool.model.node import Node
from nodepool.model.states import NodeState
from tests.sshd import Sshd

DEADLINE = 30.0
TOP = SimpleNamespace(labels={"small": None}, diskimages={}, providers={})


class Keeper:
    """Does what a stock plans: looks for real, records in memory."""

    def __init__(self, stock: Stock, scanner: Scanner) -> None:
        self.stock = stock
        self.nodes: dict[str, Node] = {}
        self._scanner = scanner
        self._scans: dict[Hashable, Scanned] = {}
        self._count = 0

    def plan(self) -> StockPlan:
        return self.stock.plan([StockNode(node, False) for node in self.nodes.values()], self._scans, time.time())

    def settle(self) -> StockPlan:
        """Plan and do until there is nothing to do now."""
        for _ in range(20):
            plan = self.plan()
            if not plan.actions:
                return plan
            for action in plan.actions:
                match action:
                    case Register(_, node):
                        self._count += 1
                        node_id = f"{self._count:010d}"
                        self.nodes[node_id] = node.replace(id=node_id)
                    case Deregister(node_id):
                        del self.nodes[node_id]
                    case Update(node):
                        self.nodes[node.id] = node
                    case Scan(request):
                        self._scans[request.key] = Scanned(self.scan(request), time.time())
        raise AssertionError(f"the stock does not come to rest: {plan.actions}")

    def scan(self, request: ScanRequest) -> ScanResult:
        results: queue.Queue[ScanResult] = queue.Queue()
        self._scanner.submit(request, results.put)
        return results.get(timeout=DEADLINE)


def take_down(host: Sshd) -> None:
    """Kill the server; a session that dies a moment later may hold its port until then."""
    host.kill()
    end = time.monotonic() + DEADLINE
    while _accepts(host):
        assert time.monotonic() < end, "the port is still served"


def _accepts(host: Sshd) -> bool:
    try:
        socket.create_connection((host.address, host.port), timeout=DEADLINE).close()
    except ConnectionError:
        return False
    return True


@pytest.fixture(scope="module")
def scanner() -> Iterator[Scanner]:
    running = Scanner()
    running.start()
    yield running
    running.stop()


@pytest.fixture
def host() -> Iterator[Sshd]:
    with Sshd(key_types=("ed25519", "ecdsa")) as running:
        yield running


@pytest.fixture
def keeper(host: Sshd, scanner: Scanner) -> Keeper:
    """A provider with one host of two slots."""
    entry = {"name": host.address, "labels": "small", "connection-port": host.port, "max-parallel-jobs": 2}
    driver = get_driver("static")
    config = driver.getProviderConfig(
        {"name": "rack", "driver": "static", "pools": [{"name": "main", "nodes": [entry]}]}
    )
    config.load(TOP)
    stock = driver.getProvider(config).stock
    assert stock is not None
    return Keeper(stock, scanner)


def test_each_slot_is_registered_as_a_node_that_a_client_can_use(keeper: Keeper, host: Sshd) -> None:
    keeper.settle()
    assert len(keeper.nodes) == keeper.stock.capacity("main", "small") == 2
    for node in keeper.nodes.values():
        assert (node.state, node.provider, node.pool, node.type) == (NodeState.READY, "rack", "main", ("small",))
        assert (node.interface_ip, node.connection_port) == (host.address, host.port)
        assert node.public_ipv4 == host.address
        assert frozenset(node.host_keys) == host.host_keys
        assert node.allocated_to is None
        assert Node.from_json(node.to_json(), id=node.id) == node
    assert {node.slot for node in keeper.nodes.values()} == {0, 1}


def test_nothing_is_done_twice(keeper: Keeper) -> None:
    keeper.settle()
    before = dict(keeper.nodes)
    plan = keeper.settle()
    assert keeper.nodes == before
    assert plan.wake > time.time()


def test_a_free_node_answers_before_use(keeper: Keeper, host: Sshd) -> None:
    keeper.settle()
    request = keeper.stock.check_before_use(next(iter(keeper.nodes.values())))
    assert request is not None
    assert keeper.scan(request).failure is None
    take_down(host)
    assert keeper.scan(request).failure is not None


def test_a_used_node_comes_back_as_another_record(keeper: Keeper) -> None:
    keeper.settle()
    first = keeper.nodes["0000000001"]
    keeper.nodes[first.id] = first.in_state(NodeState.IN_USE, time.time(), allocated_to="200-0000000001")
    keeper.settle()
    del keeper.nodes[first.id]
    keeper.settle()
    assert sorted(keeper.nodes) == ["0000000002", "0000000003"]
    assert keeper.nodes["0000000003"].slot == first.slot


def test_a_host_that_is_down_is_not_registered_and_the_reason_is_given(keeper: Keeper, host: Sshd) -> None:
    take_down(host)
    plan = keeper.settle()
    assert keeper.nodes == {}
    assert plan.wake > time.time()
    (reason,) = plan.unregistered.values()
    assert reason is not None
    assert reason.startswith("The host refuses connections to the port.")


def test_records_that_belong_to_no_host_go_when_they_are_free(keeper: Keeper) -> None:
    keeper.settle()
    stranger = next(iter(keeper.nodes.values())).replace(hostname="gone", external_id="gone")
    keeper.nodes["0000000008"] = stranger.replace(id="0000000008")
    keeper.nodes["0000000009"] = stranger.replace(id="0000000009", state=NodeState.IN_USE, allocated_to="200-1")
    keeper.settle()
    assert sorted(keeper.nodes) == ["0000000001", "0000000002", "0000000009"]


def test_other_labels_and_pools_have_no_capacity(keeper: Keeper) -> None:
    assert keeper.stock.capacity("main", "large") == 0
    assert keeper.stock.capacity("other", "small") == 0
