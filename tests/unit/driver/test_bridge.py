"""A driver that knows only the documented contract, as the launcher sees it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nodepool.driver.adapter import Server, ServerOrder, ServerState
from nodepool.driver.bridge import ContractAdapter, launcher_adapter
from nodepool.driver.errors import BadLabel, CloudError, NoCapacity, NotFound, QuotaExceeded, UnknownOutcome
from nodepool.driver.fake.driver import FakeDriver
from nodepool.model.resources import Resources
from tests.contract.demo_driver import DemoConfig, DemoDriver, DemoHandler, DemoProvider

TAGS = {"nodepool_node_id": "0000000001", "nodepool_provider_name": "demo", "nodepool_attempt": "1"}
ORDER = ServerOrder("0000000001", "np0000000001", "main", "small", TAGS, az="az1", request={"id": "200-1"})
ENTRY = {"name": "demo", "driver": "demo", "pools": [{"name": "main", "labels": [{"name": "small"}]}]}


class Step(DemoHandler):
    """A handler that makes its node when told to, in the way it is told."""

    provider_error: Exception | None = None

    def launch(self, node: Any) -> None:
        if self.manager.launch_error is not None:
            raise self.manager.launch_error
        self.manager.steps.append(self)
        self.node = node
        self.done = False

    @property
    def launchesComplete(self) -> bool:
        if self.provider_error is not None:
            raise self.provider_error
        return self.done

    def finish(self, state: str, **values: Any) -> None:
        for name, value in values.items():
            setattr(self.node, name, value)
        self.node.state = state
        self.done = True


class StepProvider(DemoProvider):
    """The demo, step by step."""

    def __init__(self, config: DemoConfig) -> None:
        super().__init__(config)
        self.steps: list[Step] = []
        self.deleted: list[str] = []
        self.launch_error: Exception | None = None

    def getRequestHandler(self, poolworker: Any, request: Any) -> Step:
        return Step(poolworker, request)

    def nodeDeletedNotification(self, node: Any) -> None:
        self.deleted.append(node.id)


class Bench:
    """The demo provider behind its adapter."""

    def __init__(self, kind: type[StepProvider] = StepProvider) -> None:
        config = DemoDriver().getProviderConfig(ENTRY)
        config.load(None)
        self.provider = kind(config)
        self.adapter = ContractAdapter(self.provider, config, id_wait=0.0)
        self.adapter.prepare(1.0)

    def create(self) -> Any:
        return self.adapter.create_server(ORDER, 1.0)

    def restarted(self) -> ContractAdapter:
        adapter = ContractAdapter(self.provider, self.provider.config, id_wait=0.0)
        adapter.prepare(1.0)
        return adapter

    def only(self) -> Server:
        (server,) = self.adapter.list_servers(1.0)
        return server


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.provider.stop()


def test_the_handler_has_what_the_contract_promises(bench: Bench) -> None:
    bench.create()
    (handler,) = bench.provider.steps
    assert handler.provider is bench.provider.config
    assert handler.pool is bench.provider.config.pools["main"]
    assert handler.manager is bench.provider
    assert handler.nodes == [handler.node]
    handler.zk.storeNode(handler.node)
    assert (handler.request.id, handler.request.node_types) == ("200-1", ["small"])
    assert handler.pw.getPoolConfig() is handler.pool
    node = handler.node
    assert (node.id, node.type, node.pool, node.provider) == ("0000000001", ["small"], "main", "demo")
    assert (node.az, node.hostname, node.state) == ("az1", "np0000000001", "building")


def test_only_what_the_driver_has_set_goes_to_the_record(bench: Bench) -> None:
    bench.create()
    bench.provider.steps[0].finish(
        "ready", external_id="x", host_keys=["ssh-rsa A"], driver_data={"a": 1}, resources={"cores": 2, "instances": 1}
    )
    server = bench.only()
    assert server.state is ServerState.ACTIVE
    assert dict(server.record) == {"host_keys": ("ssh-rsa A",), "driver_data": {"a": 1}, "external_id": "x"}
    assert server.resources == Resources(cores=2, instances=1)
    assert (server.az, server.interface_ip) == ("az1", None)


def test_an_id_that_comes_too_late_is_stood_in_for_by_that_of_the_node(bench: Bench) -> None:
    external_id = bench.create()
    assert external_id == "0000000001"
    machine = bench.provider.make_machine(bench.provider.steps[0].node)
    assert bench.only().external_id == external_id
    bench.provider.steps[0].finish("ready", external_id=machine.id)
    assert bench.only().external_id == external_id
    assert bench.only().record["external_id"] == machine.id
    bench.adapter.delete_server(external_id, 1.0)
    assert bench.provider.machines == {}


def test_an_id_that_comes_while_it_is_waited_for_is_used() -> None:
    class Prompt(StepProvider):
        def getRequestHandler(self, poolworker: Any, request: Any) -> Any:
            return DemoHandler(poolworker, request)

    bench = Bench(Prompt)
    adapter = ContractAdapter(bench.provider, bench.provider.config, id_wait=10.0)
    adapter.prepare(1.0)
    assert adapter.create_server(ORDER, 10.0) == "demo-0000000001"
    bench.provider.stop()


@pytest.mark.parametrize(("state", "fault"), [("failed", CloudError), ("aborted", QuotaExceeded), ("odd", CloudError)])
def test_a_launch_that_ends_badly_is_a_server_in_error(bench: Bench, state: str, fault: type[CloudError]) -> None:
    external_id = bench.create()
    bench.provider.steps[0].finish(state)
    assert (bench.only().state, bench.only().fault) == (ServerState.ERROR, fault)
    bench.adapter.delete_server(external_id, 1.0)
    assert bench.adapter.list_servers(1.0) == []


@pytest.mark.parametrize(("raised", "seen"), [(NoCapacity("full"), NoCapacity), (RuntimeError("oops"), UnknownOutcome)])
def test_a_launch_that_raises_leaves_nothing_behind(bench: Bench, raised: Exception, seen: type[CloudError]) -> None:
    bench.provider.launch_error = raised
    with pytest.raises(seen):
        bench.create()
    assert bench.adapter.list_servers(1.0) == []


def test_a_handler_that_breaks_while_it_is_asked_is_a_server_in_error(bench: Bench) -> None:
    bench.create()
    bench.provider.steps[0].provider_error = RuntimeError("oops")
    server = bench.only()
    assert (server.state, server.fault) == (ServerState.ERROR, UnknownOutcome)
    assert server.fault_text == "launchesComplete of the driver failed: RuntimeError: oops"


def test_after_a_restart_what_was_made_is_listed_by_its_tags_and_can_be_deleted(bench: Bench) -> None:
    stand_in = bench.create()
    bench.provider.make_machine(bench.provider.steps[0].node)
    adapter = bench.restarted()
    (server,) = adapter.list_servers(1.0)
    assert (server.external_id, server.state) == ("demo-0000000001", ServerState.ERROR)
    assert server.tags["nodepool_node_id"] == "0000000001"
    adapter.delete_server(stand_in, 1.0)
    assert bench.provider.machines == {}
    with pytest.raises(NotFound):
        adapter.delete_server(stand_in, 1.0)


def test_the_driver_is_told_when_a_node_is_gone(bench: Bench) -> None:
    external_id = bench.create()
    node = bench.provider.steps[0].node
    bench.provider.steps[0].finish("ready", external_id=bench.provider.make_machine(node).id)
    bench.adapter.delete_server(external_id, 1.0)
    assert bench.provider.deleted == []
    assert bench.adapter.list_servers(1.0) == []
    assert bench.provider.deleted == ["0000000001"]


def test_a_driver_that_lists_slowly_never_shows_a_node_twice(bench: Bench) -> None:
    listing, go_on = threading.Event(), threading.Event()

    def slow_list() -> list[Any]:
        machines = list(bench.provider.machines.values())
        listing.set()
        assert go_on.wait(10.0)
        return machines

    external_id = bench.create()
    machine = bench.provider.make_machine(bench.provider.steps[0].node)
    bench.provider.listNodes = slow_list  # type: ignore[method-assign]
    lists: list[Any] = []
    lister = threading.Thread(target=lambda: lists.append(bench.adapter.list_servers(1.0)), daemon=True)
    lister.start()
    assert listing.wait(10.0)
    bench.provider.steps[0].finish("ready", external_id=machine.id)
    go_on.set()
    lister.join(10.0)
    assert [server.external_id for server in lists[0]] == [external_id]


def test_a_list_that_fails_in_the_driver_has_an_unknown_outcome(bench: Bench) -> None:
    def broken() -> list[Any]:
        raise OSError("no route")

    bench.provider.listNodes = broken  # type: ignore[method-assign]
    with pytest.raises(UnknownOutcome, match="listNodes of the driver failed: OSError: no route"):
        bench.adapter.list_servers(1.0)


@pytest.mark.parametrize(
    ("answer", "cost"),
    [
        ({"cores": 2, "instances": 1}, Resources(cores=2, instances=1)),
        (SimpleNamespace(get_resources=lambda: {"instances": 3}), Resources(instances=3)),
    ],
)
def test_a_driver_may_say_what_a_label_uses(answer: Any, cost: Resources) -> None:
    class Counting(StepProvider):
        def quotaNeededByLabel(self, label: str, pool: Any) -> Any:
            assert (label, pool.name) == ("small", "main")
            return answer

    assert Bench(Counting).adapter.cost("main", "small") == cost


def test_a_driver_may_say_that_a_label_is_bad() -> None:
    class Picky(StepProvider):
        def quotaNeededByLabel(self, label: str, pool: Any) -> Any:
            raise BadLabel(f"no such size: {label} in {pool.name}")

    with pytest.raises(BadLabel, match="no such size: small in main"):
        Bench(Picky).adapter.cost("main", "small")


def test_a_driver_with_an_adapter_of_its_own_is_not_bridged() -> None:
    driver = FakeDriver()
    config = driver.getProviderConfig({"name": "fake", "pools": []})
    config.load(None)
    provider = driver.getProvider(config)
    assert launcher_adapter(provider, config) is provider.adapter
