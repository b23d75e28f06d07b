"""What every cloud adapter must do, whatever driver it belongs to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nodepool.driver.adapter import (
    ATTEMPT_TAG,
    NODE_TAG,
    POOL_TAG,
    PROVIDER_TAG,
    CloudAdapter,
    Leftover,
    Server,
    ServerOrder,
    ServerState,
)
from nodepool.driver.bridge import ContractAdapter, launcher_adapter
from nodepool.driver.contract import Driver
from nodepool.driver.errors import BadLabel, NotFound
from nodepool.driver.fake.adapter import FakeAdapter
from nodepool.driver.fake.driver import FakeDriver
from nodepool.driver.local.adapter import LocalAdapter
from nodepool.driver.openstack.adapter import OpenStackAdapter
from nodepool.model.resources import Resources
from tests import local_host, openstack_bench, small_system
from tests.contract.demo_driver import DemoDriver
from tools.cloud.process import CloudProcess

DEADLINE = 10.0
POOLS = [{"name": "main", "labels": [{"name": "small"}]}]
FAKE_POOLS = [{"name": "main", "labels": [{"name": "small", "cloud-image": "i", "min-ram": 1}]}]
TOP = SimpleNamespace(labels={"small": None}, diskimages={}, providers={})


@dataclass(frozen=True)
class Bench:
    """An adapter, and what is needed to try it."""

    adapter: CloudAdapter
    provider: str
    pool: str = "main"
    label: str = "small"

    def order(self, node_id: str = "0000000001", attempt: int = 1) -> ServerOrder:
        tags = {NODE_TAG: node_id, POOL_TAG: self.pool, PROVIDER_TAG: self.provider, ATTEMPT_TAG: str(attempt)}
        request = {"id": "200-0000000001", "requestor": "test", "requestor_data": None}
        return ServerOrder(node_id, f"np{node_id}", self.pool, self.label, tags, request=request)

    def create(self, node_id: str = "0000000001", attempt: int = 1) -> Any:
        return self.adapter.create_server(self.order(node_id, attempt), DEADLINE)

    def server(self, external_id: Any) -> Server | None:
        found = [server for server in self.adapter.list_servers(DEADLINE) if server.external_id == external_id]
        assert len(found) <= 1
        return found[0] if found else None

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        pause = threading.Event()
        end = time.monotonic() + DEADLINE
        while not (value := condition()):
            assert time.monotonic() < end, f"not within {DEADLINE} s: {what}"
            pause.wait(0.01)
        return value

    def wait_active(self, external_id: Any) -> Server:
        def active() -> Server | None:
            server = self.server(external_id)
            return server if server and server.state is ServerState.ACTIVE else None

        server: Server = self.wait(active, f"{external_id} becomes active")
        return server


def make(driver: Driver, entry: dict[str, Any]) -> Iterator[Bench]:
    config = driver.getProviderConfig(entry)
    config.load(TOP)
    provider = driver.getProvider(config)
    provider.start(None)
    adapter = launcher_adapter(provider, config)
    adapter.prepare(DEADLINE)
    yield Bench(adapter, entry["name"])
    adapter.stop()
    provider.stop()


def openstack(cloud: CloudProcess) -> Iterator[Bench]:
    """The OpenStack adapter on a simulated cloud."""
    for made in openstack_bench.run_bench(cloud):
        yield Bench(made.adapter, openstack_bench.ENTRY["name"])


def local(directory: Path) -> Iterator[Bench]:
    """The local driver with containers of this host's programs."""
    image = small_system.write(directory / "small.tar")
    entry = {"name": "small", "path": str(image), "username": "zuul"}
    keys: dict[str, Any] = {
        "kind": "container",
        "network_access": "none",
        "network": "127.82.0.0/24",
        "cloud_images": [entry],
    }
    host = local_host.make(directory, {"cloud-image": "small", "ram": 64}, **keys)
    yield Bench(host.adapter, host.provider)
    host.clear()


BENCHES: dict[str, Callable[[pytest.FixtureRequest], Iterator[Bench]]] = {
    "fake": lambda _: make(
        FakeDriver(),
        {
            "name": "fake",
            "cloud-images": [{"name": "i"}],
            "pools": FAKE_POOLS,
            "fake": {"latency": 0.005, "boot-time": 0.05, "list-lag": 0.02, "delete-time": 0.02},
        },
    ),
    "fake at once": lambda _: make(
        FakeDriver(), {"name": "fake", "cloud-images": [{"name": "i"}], "pools": FAKE_POOLS, "fake": {"boot-time": 0}}
    ),
    "out of tree": lambda _: make(DemoDriver(), {"name": "demo", "driver": "demo", "pools": POOLS}),
    "openstack": lambda request: openstack(request.getfixturevalue("cloud")),
    "local": lambda request: local(request.getfixturevalue("tmp_path")),
}
KINDS = {
    "fake": FakeAdapter,
    "fake at once": FakeAdapter,
    "out of tree": ContractAdapter,
    "openstack": OpenStackAdapter,
    "local": LocalAdapter,
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    """A simulated OpenStack, for the bench that needs it."""
    yield from openstack_bench.run_cloud(tmp_path_factory.mktemp("cloud"))


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    yield from BENCHES[request.param](request)


def test_the_bench_is_what_it_says(bench: Bench, request: pytest.FixtureRequest) -> None:
    assert type(bench.adapter) is KINDS[request.node.callspec.params["bench"]]


def test_a_created_server_is_listed_with_its_id_and_its_tags(bench: Bench) -> None:
    external_id = bench.create()
    server: Server = bench.wait(lambda: bench.server(external_id), "the server is listed")
    assert bench.order().tags.items() <= server.tags.items()
    assert server.state in (ServerState.BUILDING, ServerState.ACTIVE)


def test_an_active_server_has_an_address_and_says_what_it_uses(bench: Bench) -> None:
    server = bench.wait_active(bench.create())
    assert server.interface_ip
    assert server.fault is None
    assert server.resources == bench.adapter.cost(bench.pool, bench.label)


def test_each_creation_makes_a_server_of_its_own(bench: Bench) -> None:
    ids = [bench.create(node_id) for node_id in ("0000000001", "0000000002", "0000000003")]
    servers = [bench.wait_active(external_id) for external_id in ids]
    assert [server.tags[NODE_TAG] for server in servers] == ["0000000001", "0000000002", "0000000003"]


def test_a_deleted_server_leaves_the_list_and_the_others_stay(bench: Bench) -> None:
    going, staying = bench.create("0000000001"), bench.create("0000000002")
    bench.wait_active(going)
    bench.adapter.delete_server(going, DEADLINE)
    bench.wait(lambda: bench.server(going) is None, "the server is gone")
    assert bench.wait_active(staying).tags[NODE_TAG] == "0000000002"


def test_a_server_is_never_active_again_once_its_deletion_began(bench: Bench) -> None:
    external_id = bench.create()
    bench.wait_active(external_id)
    bench.adapter.delete_server(external_id, DEADLINE)
    server = bench.server(external_id)
    assert server is None or server.state is ServerState.DELETING


def test_a_second_attempt_for_a_node_is_another_server(bench: Bench) -> None:
    first = bench.create(attempt=1)
    bench.wait_active(first)
    bench.adapter.delete_server(first, DEADLINE)
    bench.wait(lambda: bench.server(first) is None, "the first is gone")
    assert bench.wait_active(bench.create(attempt=2)).tags[ATTEMPT_TAG] == "2"


def test_deleting_what_does_not_exist_says_so(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.adapter.delete_server("no-such-server", DEADLINE)


def test_deleting_what_is_gone_says_so(bench: Bench) -> None:
    external_id = bench.create()
    bench.wait_active(external_id)
    bench.adapter.delete_server(external_id, DEADLINE)
    bench.wait(lambda: bench.server(external_id) is None, "the server is gone")
    with pytest.raises(NotFound):
        bench.adapter.delete_server(external_id, DEADLINE)


def test_a_node_costs_one_instance_and_always_the_same(bench: Bench) -> None:
    cost = bench.adapter.cost(bench.pool, bench.label)
    assert cost["instances"] == 1
    assert bench.adapter.cost(bench.pool, bench.label) == cost


@pytest.mark.parametrize(("pool", "label"), [("main", "none"), ("none", "small")])
def test_a_label_that_is_not_there_is_bad(bench: Bench, pool: str, label: str) -> None:
    with pytest.raises(BadLabel):
        bench.adapter.cost(pool, label)


def test_limits_allow_at_least_one_node(bench: Bench) -> None:
    assert bench.adapter.cost(bench.pool, bench.label).fits_in(bench.adapter.limits(DEADLINE))
    assert Resources().fits_in(bench.adapter.limits(DEADLINE))


def test_zones_and_console_are_optional(bench: Bench) -> None:
    assert all(isinstance(zone, str) for zone in bench.adapter.zones())
    external_id = bench.create()
    bench.wait_active(external_id)
    console = bench.adapter.console_log(external_id, DEADLINE)
    assert console is None or console.splitlines()


def test_a_server_that_is_complete_stays_as_it_is(bench: Bench) -> None:
    server = bench.wait_active(bench.create())
    assert bench.adapter.is_finished(bench.pool, server)
    assert bench.adapter.finish_server(bench.pool, server, DEADLINE) == server


def test_nothing_of_a_server_that_lives_or_has_gone_is_left_over(bench: Bench) -> None:
    external_id = bench.create()
    bench.wait_active(external_id)
    assert list(bench.adapter.leftovers(DEADLINE)) == []
    bench.adapter.delete_server(external_id, DEADLINE)
    bench.wait(lambda: bench.server(external_id) is None, "the server is gone")
    bench.wait(lambda: not bench.adapter.leftovers(DEADLINE), "nothing is left over")


@pytest.mark.parametrize("kind", ["ports", "floatingips", "images"])
def test_a_leftover_may_be_gone_already(bench: Bench, kind: str) -> None:
    bench.adapter.remove_leftover(Leftover(kind, "00000000-0000-0000-0000-000000000000", 60.0), DEADLINE)


def test_calls_may_come_from_several_threads(bench: Bench) -> None:
    ids: list[Any] = []
    threads = [
        threading.Thread(target=lambda number=number: ids.append(bench.create(f"{number:010d}"))) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert len(set(ids)) == 8
    assert {bench.wait_active(external_id).tags[NODE_TAG] for external_id in ids} == {f"{n:010d}" for n in range(8)}
