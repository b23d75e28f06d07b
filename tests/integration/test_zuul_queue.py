"""Which request gets a node, and from where, as Zuul sees it (spec launcher 2, zookeeper 4.2.1)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.launcher_process import LauncherProcess, fake_provider, static_provider
from tests.requestor import REQUEST_KEYS, REQUEST_LOCKS, REQUESTS, Caches, Zuul
from tests.sshd import Sshd
from tests.zookeeper import eventually, new_place

pytestmark = pytest.mark.usefixtures("caches")

LABELS = ("one", "two", "shared", "ranked", "risky", "limited", "plain", "roomy", "off")


@pytest.fixture(scope="module")
def launcher(zookeeper_hosts: str, tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> Iterator[LauncherProcess]:
    """One launcher for the module, with pools that are small, equal, better or worse, and broken."""
    refusing = {"faults": {"create-refused": 1.0}}
    providers = [
        static_provider("desk", sshd, ["one"]),
        fake_provider("fake-two", ["two"], fake={"instances": 2}),
        fake_provider("fake-left", ["shared"]),
        fake_provider("fake-right", ["shared"]),
        {**fake_provider("fake-best", ["ranked"], max_servers=1), "priority": 10},
        {**fake_provider("fake-worst", ["ranked", "roomy"]), "priority": 200},
        {**fake_provider("fake-broken", ["risky"], fake=refusing), "launch-retries": 1, "priority": 10},
        fake_provider("fake-sound", ["risky"]),
        fake_provider("fake-many", ["limited", "plain", "stock", "off"]),
    ]
    with LauncherProcess(
        tmp_path_factory.mktemp("launcher"),
        new_place(zookeeper_hosts),
        providers=providers,
        labels=[*LABELS[:-1], {"name": "off", "min-ready": -1}, {"name": "stock", "min-ready": 2}],
        tenant_resource_limits=[{"tenant-name": "small", "max-servers": 1}],
    ) as process:
        yield process


def fulfilled_of(zuul: Zuul, request_ids: list[str]) -> list[str]:
    """Those of some requests that are fulfilled."""
    found = [(request_id, zuul.request(request_id)) for request_id in request_ids]
    return [request_id for request_id, request in found if request and request["state"] == "fulfilled"]


def order_of_service(scheduler: Zuul, executor: Zuul, node_id: str, request_ids: list[str]) -> list[str]:
    """In which order requests for one node get it, when it is passed on by unlocking."""
    order: list[str] = []
    while len(order) < len(request_ids):
        executor.unlock(node_id)
        left = [request_id for request_id in request_ids if request_id not in order]
        eventually(lambda left=left: fulfilled_of(scheduler, left))  # type: ignore[misc]
        (request_id,) = fulfilled_of(scheduler, left)
        order.append(request_id)
        (node_id,) = executor.accept(request_id)
    return order


# Order


def test_requests_are_served_by_precedence_as_text_then_relative_priority_then_age(
    scheduler: Zuul, executor: Zuul
) -> None:
    (node_id,) = executor.obtain("one")
    wanted = [("100", 0), ("1000", 0), ("200", 1), ("200", 5), ("200", 5), ("200", 10), ("300", 0)]
    submitted = dict.fromkeys(range(len(wanted)), "")
    for index in (6, 3, 1, 5, 4, 0, 2):
        precedence, relative_priority = wanted[index]
        submitted[index] = scheduler.submit("one", precedence=precedence, relative_priority=relative_priority)
    order = order_of_service(scheduler, executor, node_id, list(submitted.values()))
    assert order == [submitted[index] for index in range(len(wanted))]


def test_jobs_of_a_paused_parent_go_first(scheduler: Zuul, executor: Zuul) -> None:
    (node_id,) = executor.obtain("one")
    later = scheduler.submit("one", precedence="200")
    child = scheduler.submit("one", precedence="199")
    assert order_of_service(scheduler, executor, node_id, [later, child]) == [child, later]


# Room


def test_what_does_not_fit_waits_unlocked_and_is_served_when_there_is_room(scheduler: Zuul, executor: Zuul) -> None:
    first, second = executor.obtain("two", "two")
    executor.use(first)
    request_id = scheduler.submit("two")
    path = f"{REQUESTS}/{request_id}"
    # A request that is taken would be so within milliseconds.
    scheduler.stays(0.5, path)
    waiting = scheduler.request(request_id)
    assert waiting is not None
    assert waiting["state"] == "requested"
    assert scheduler.names(f"{REQUEST_LOCKS}/{request_id}") == []
    executor.give_back(first)
    assert scheduler.fulfilled(request_id) != [first]
    executor.unlock(second)


def test_a_small_request_overtakes_a_large_one_that_does_not_fit(scheduler: Zuul, executor: Zuul) -> None:
    (node_id,) = executor.obtain("two")
    large = scheduler.submit("two", "two")
    small = scheduler.submit("two")
    other = executor.accept(small)
    waiting = scheduler.request(large)
    assert waiting is not None
    assert waiting["state"] == "requested"
    for each in (node_id, *other):
        executor.use(each)
        executor.give_back(each)
    assert len(scheduler.fulfilled(large)) == 2


def test_a_request_beyond_the_quota_fails(scheduler: Zuul) -> None:
    request = scheduler.wait_done(scheduler.submit("two", "two", "two"))
    assert request["state"] == "failed"


def test_a_ready_node_nobody_asked_for_makes_room(executor: Zuul) -> None:
    idle = executor.obtain("two", "two")
    for node_id in idle:
        executor.unlock(node_id)
    assert not set(executor.obtain("two", "two", reuse=False)) & set(idle)


def test_a_tenant_at_its_limit_waits_and_holds_up_nobody(scheduler: Zuul, executor: Zuul) -> None:
    (node_id,) = executor.obtain("limited", tenant_name="small")
    waiting = scheduler.submit("limited", tenant_name="small")
    assert executor.obtain("limited", tenant_name="large")
    request = scheduler.request(waiting)
    assert request is not None
    assert request["state"] == "requested"
    executor.use(node_id)
    executor.give_back(node_id)
    (successor,) = scheduler.fulfilled(waiting)
    assert (scheduler.node(successor) or {})["tenant_name"] == "small"


# Where from


@pytest.mark.parametrize("provider", ["fake-left", "fake-right"])
def test_the_provider_that_a_request_prefers_serves_it(executor: Zuul, provider: str) -> None:
    node_ids = executor.obtain("shared", "shared", provider=provider)
    assert {executor.nodes[node_id]["provider"] for node_id in node_ids} == {provider}


def test_a_preference_that_nobody_can_meet_is_ignored(executor: Zuul) -> None:
    assert executor.obtain("shared", provider="no-such-provider")
    assert executor.obtain("plain", provider="fake-left")


def test_all_nodes_of_a_request_come_from_one_pool(executor: Zuul) -> None:
    for _ in range(3):
        node_ids = executor.obtain("shared", "shared", "shared")
        assert len({executor.nodes[node_id]["provider"] for node_id in node_ids}) == 1


def test_the_better_pool_is_used_first_and_the_worse_one_when_that_is_full(executor: Zuul) -> None:
    (first,) = executor.obtain("ranked")
    (second,) = executor.obtain("ranked")
    assert executor.nodes[first]["provider"] == "fake-best"
    assert executor.nodes[second]["provider"] == "fake-worst"


def test_labels_that_only_one_pool_has_all_of_are_served_there(executor: Zuul) -> None:
    node_ids = executor.obtain("ranked", "roomy")
    assert {executor.nodes[node_id]["provider"] for node_id in node_ids} == {"fake-worst"}


# Reuse


@pytest.mark.parametrize("reuse", [True, False])
def test_ready_nodes_are_reused_only_if_the_request_allows_it(executor: Zuul, reuse: bool) -> None:
    (node_id,) = executor.obtain("plain", reuse=False)
    executor.unlock(node_id)
    before = executor.all_nodes()
    (again,) = executor.obtain("plain", reuse=reuse)
    assert (again in before) is reuse


# Decline


def test_a_pool_that_fails_declines_under_its_id_and_the_next_one_serves(scheduler: Zuul) -> None:
    request_id = scheduler.submit("risky")
    request = scheduler.wait_done(request_id)
    assert request["state"] == "fulfilled"
    (broken,) = [pool for pool in scheduler.pools() if pool["provider_name"] == "fake-broken"]
    assert request["declined_by"] == [broken["id"]]
    (node_id,) = request["nodes"]
    assert (scheduler.node(node_id) or {})["provider"] == "fake-sound"


def test_a_label_that_is_switched_off_is_declined(scheduler: Zuul) -> None:
    request = scheduler.wait_done(scheduler.submit("off"))
    assert request["state"] == "failed"
    assert set(request["declined_by"]) == {pool["id"] for pool in scheduler.pools()}


def test_a_pool_whose_request_waits_for_room_says_so(scheduler: Zuul, executor: Zuul) -> None:
    def paused() -> bool:
        (pool,) = [pool for pool in scheduler.pools() if pool["provider_name"] == "fake-two"]
        return bool(pool["paused"])

    eventually(lambda: not paused())
    node_ids = executor.obtain("two", "two")
    request_id = scheduler.submit("two")
    eventually(paused)
    scheduler.delete_request(request_id)
    eventually(lambda: not paused())
    for node_id in node_ids:
        executor.unlock(node_id)


# Stock


def test_stock_is_kept_and_zuul_can_read_the_requests_for_it(scheduler: Zuul, executor: Zuul, caches: Caches) -> None:
    def idle() -> set[str]:
        nodes = scheduler.all_nodes().items()
        return {
            name
            for name, node in nodes
            if node["type"] == ["stock"] and node["state"] == "ready" and not node["allocated_to"]
        }

    eventually(lambda: len(idle()) == 2)
    before = idle()
    (node_id,) = executor.obtain("stock")
    assert node_id in before
    eventually(lambda: len(idle()) == 2)
    executor.use(node_id)
    executor.give_back(node_id)
    seen = [
        record
        for path, record in caches.events
        if record and path.startswith(REQUESTS) and record.get("requestor") == "NodePool:min-ready"
    ]
    assert seen
    assert all(set(REQUEST_KEYS) <= record.keys() for record in seen)
    assert {path[len(REQUESTS) + 1 :][:4] for path, record in caches.events if record in seen} == {"900-"}
