"""Zuul's requests, at the wire: rows 1 to 4, 10, 11 and 13 of spec zookeeper 9.1. Test names carry the row."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from kazoo.exceptions import BadVersionError

from tests.launcher_process import LauncherProcess, fake_provider, static_provider
from tests.requestor import CONTENDER, NODES, REQUEST_KEYS, REQUEST_LOCKS, REQUESTS, TRACE, Caches, Zuul
from tests.sshd import Sshd
from tests.zookeeper import eventually, new_place

pytestmark = pytest.mark.usefixtures("caches")

LABELS = ("bare", "metal", "single", "cloud", "other", "slow", "broken")


@pytest.fixture(scope="module")
def launcher(zookeeper_hosts: str, tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> Iterator[LauncherProcess]:
    """One launcher for the module: four static nodes, one more, and clouds: quick, slow and broken."""
    providers = [
        static_provider("rack", sshd, ["bare", "metal"], slots=4),
        static_provider("desk", sshd, ["single"]),
        fake_provider("fake-cloud", ["cloud", "other"]),
        fake_provider("fake-slow", ["slow"], fake={"boot-time": 30}),
        fake_provider("fake-broken", ["broken"], fake={"faults": {"create-refused": 1.0}}),
    ]
    directory = tmp_path_factory.mktemp("launcher")
    with LauncherProcess(
        directory, new_place(zookeeper_hosts), providers=providers, labels=LABELS, debug=True
    ) as process:
        yield process


# Row 1: completion


@pytest.mark.parametrize("label", ["bare", "cloud"])
def test_9_1_01_a_request_is_completed_by_its_state(
    scheduler: Zuul, executor: Zuul, caches: Caches, label: str
) -> None:
    request_id = scheduler.submit(label)
    request = scheduler.wait_done(request_id)
    assert request["state"] == "fulfilled"
    assert request["declined_by"] == []
    assert request["reuse"] is True
    assert len(request["nodes"]) == 1
    assert request["state_time"] > request["created_time"]
    (node_id,) = executor.accept(request_id)
    scheduler.wait_gone(f"{REQUEST_LOCKS}/{request_id}")
    eventually(lambda: (f"{REQUESTS}/{request_id}", None) in caches.events)
    states = [record["state"] for record in caches.seen(f"{REQUESTS}/{request_id}")]
    assert states[-1] == "fulfilled"
    assert set(states[:-1]) <= {"requested", "pending"}
    executor.unlock(node_id)


def test_9_1_01_what_zuul_wrote_is_kept_as_it_was(scheduler: Zuul) -> None:
    data = {"text": "ä\u2028\U0001f600", "numbers": [TRACE, -TRACE, 1.5, 1e300, 22.0], "deep": [[{}], None, True]}
    request_id = scheduler.submit("cloud", requestor_data=data, build_uuid=TRACE, reuse=...)
    before = scheduler.request(request_id)
    after = scheduler.wait_done(request_id)
    assert before is not None
    changed = {"state", "state_time"}
    assert {key: after[key] for key in before.keys() - changed} == {key: before[key] for key in before.keys() - changed}
    raw = scheduler.client.get(f"{REQUESTS}/{request_id}")[0].decode()
    assert raw.count(str(TRACE)) == 3
    assert "22.0" in raw


def test_9_1_01_the_trace_id_keeps_its_128_bits(scheduler: Zuul) -> None:
    request_id = scheduler.submit("bare")
    scheduler.wait_done(request_id)
    raw = scheduler.client.get(f"{REQUESTS}/{request_id}")[0]
    assert b"312312644215438567100414707468360678011" in raw
    assert str(TRACE >> 64).encode() in raw


def test_9_1_01_all_keys_that_zuul_needs_are_there_after_a_write_whoever_made_the_request(scheduler: Zuul) -> None:
    path = scheduler.client.create(f"{REQUESTS}/200-", b'{"state":"requested","node_types":["bare"]}', sequence=True)
    request_id = path.rpartition("/")[2]
    request = scheduler.wait_done(request_id)
    assert request["state"] == "fulfilled"
    assert set(REQUEST_KEYS) <= request.keys()
    assert "tenant_name" not in request
    scheduler.delete_request(request_id)


def test_9_1_01_an_unknown_label_fails_when_every_pool_has_declined(scheduler: Zuul, launcher: LauncherProcess) -> None:
    request_id = scheduler.submit("no-such-label")
    request = scheduler.wait_done(request_id)
    assert request["state"] == "failed"
    assert not request["nodes"]
    pools = {pool["id"]: pool for pool in scheduler.pools()}
    assert sorted(request["declined_by"]) == sorted(pools)
    assert set(REQUEST_KEYS) <= request.keys()
    launcher.wait_log(f"[e: {request['event_id']}] [node_request: {request_id}] Declining node request")
    scheduler.delete_request(request_id)
    scheduler.wait_gone(f"{REQUEST_LOCKS}/{request_id}")


@pytest.mark.parametrize("labels", [["bare"] * 5, ["bare", "cloud"]])
def test_9_1_01_what_no_pool_can_ever_serve_fails(scheduler: Zuul, labels: list[str]) -> None:
    request = scheduler.wait_done(scheduler.submit(*labels))
    assert request["state"] == "failed"
    assert sorted(request["declined_by"]) == sorted(pool["id"] for pool in scheduler.pools())


def test_9_1_01_a_request_for_nothing_gets_nothing(scheduler: Zuul) -> None:
    assert scheduler.fulfilled(scheduler.submit()) == []


def test_9_1_01_a_request_fails_when_its_nodes_cannot_be_made(scheduler: Zuul) -> None:
    request_id = scheduler.submit("broken")
    request = scheduler.wait_done(request_id)
    assert request["state"] == "failed"
    assert sorted(request["declined_by"]) == sorted(pool["id"] for pool in scheduler.pools())
    eventually(lambda: all(node["provider"] != "fake-broken" for node in scheduler.all_nodes().values()))


# Rows 2 and 3: the nodes


@pytest.mark.parametrize("labels", [["cloud", "other", "cloud"], ["other", "cloud", "cloud", "other"]])
@pytest.mark.parametrize("reuse", [True, False])
def test_9_1_02_nodes_come_in_the_order_of_the_labels(executor: Zuul, labels: list[str], reuse: bool) -> None:
    node_ids = executor.obtain(*labels, reuse=reuse)
    assert [executor.nodes[node_id]["type"] for node_id in node_ids] == [[label] for label in labels]
    assert len(set(node_ids)) == len(labels)
    assert {executor.nodes[node_id]["pool"] for node_id in node_ids} == {"main"}
    for node_id in node_ids:
        executor.unlock(node_id)


def test_9_1_02_static_nodes_carry_all_their_labels(executor: Zuul) -> None:
    node_ids = executor.obtain("bare", "metal", "bare")
    assert [executor.nodes[node_id]["type"] for node_id in node_ids] == [["bare", "metal"]] * 3
    assert len({executor.nodes[node_id]["slot"] for node_id in node_ids}) == 3


@pytest.mark.parametrize("label", ["bare", "cloud"])
def test_9_1_03_nodes_are_allocated_and_unlocked_when_the_request_is_fulfilled(scheduler: Zuul, label: str) -> None:
    request_id = scheduler.submit(label, label)
    for node_id in scheduler.fulfilled(request_id):
        node = scheduler.node(node_id)
        assert node is not None
        assert (node["state"], node["allocated_to"]) == ("ready", request_id)
        assert (node["tenant_name"], node["requestor"]) == ("acme", scheduler.system)
        assert scheduler.names(f"{NODES}/{node_id}/lock") == []
        assert set(scheduler.names(f"{NODES}/{node_id}")) <= {"lock"}


# Rows 4 and 13: the end of a request


@pytest.mark.parametrize("label", ["bare", "cloud"])
def test_9_1_04_a_request_can_be_deleted_without_looking_right_after_locking(
    scheduler: Zuul, executor: Zuul, label: str
) -> None:
    request_id = scheduler.submit(label)
    executor.accept(request_id)
    assert scheduler.request(request_id) is None
    scheduler.wait_gone(f"{REQUEST_LOCKS}/{request_id}")


def test_9_1_04_cancelled_while_it_waits(scheduler: Zuul, executor: Zuul) -> None:
    (node_id,) = executor.obtain("single")
    waiting = scheduler.submit("single")
    scheduler.delete_request(waiting)
    executor.unlock(node_id)
    assert executor.obtain("single") == [node_id]
    eventually(lambda: scheduler.names(REQUEST_LOCKS) == [])


def test_9_1_04_cancelled_while_its_node_is_built(scheduler: Zuul) -> None:
    request_id = scheduler.submit("slow")
    scheduler.wait(f"{REQUESTS}/{request_id}", lambda request: request is not None and request["state"] == "pending")
    eventually(lambda: [node["state"] for node in _of_provider(scheduler, "fake-slow")] == ["building"])
    scheduler.delete_request(request_id)
    eventually(lambda: _of_provider(scheduler, "fake-slow") == [])
    scheduler.wait_gone(f"{REQUEST_LOCKS}/{request_id}")


@pytest.mark.parametrize("label", ["bare", "cloud"])
def test_9_1_13_a_fulfilled_request_that_is_deleted_frees_its_nodes(scheduler: Zuul, label: str) -> None:
    request_id = scheduler.submit(label, label)
    node_ids = scheduler.fulfilled(request_id)
    scheduler.delete_request(request_id)
    for node_id in node_ids:
        node = scheduler.wait_node(node_id, lambda node: node["allocated_to"] is None)
        assert node["state"] == "ready"
    scheduler.wait_gone(f"{REQUEST_LOCKS}/{request_id}")
    again = scheduler.submit(label, label)
    assert set(scheduler.fulfilled(again)) <= set(scheduler.all_nodes())


def test_9_1_04_cancelled_at_any_moment(scheduler: Zuul) -> None:
    """Deleted without a pause, after each of its changes, and in a hurry: whatever is left over is cleaned up."""
    for label in ("bare", "cloud") * 5:
        scheduler.delete_request(scheduler.submit(label))
        request_id = scheduler.submit(label)
        path = f"{REQUESTS}/{request_id}"
        scheduler.wait(path, lambda request: request is not None and request["state"] != "requested")
        scheduler.delete_request(request_id)


# Row 10: the relative priority


def test_9_1_10_a_revised_priority_is_honoured(scheduler: Zuul, executor: Zuul) -> None:
    (node_id,) = executor.obtain("single")
    first = scheduler.submit("single", relative_priority=5)
    second = scheduler.submit("single", relative_priority=5)
    assert scheduler.revise(second, 1)
    assert scheduler.names(f"{REQUEST_LOCKS}/{second}") == []
    executor.unlock(node_id)
    assert executor.accept(second) == [node_id]
    waiting = scheduler.request(first)
    assert waiting is not None
    assert waiting["state"] == "requested"
    scheduler.wait_gone(f"{REQUEST_LOCKS}/{second}")
    executor.unlock(node_id)
    assert scheduler.fulfilled(first) == [node_id]


def test_9_1_10_a_version_conflict_changes_nothing(scheduler: Zuul, executor: Zuul) -> None:
    (node_id,) = executor.obtain("single")
    request_id = scheduler.submit("single", relative_priority=5)
    seen = scheduler.read_version(f"{REQUESTS}/{request_id}")
    assert scheduler.revise(request_id, 4)
    with pytest.raises(BadVersionError):
        scheduler.revise(request_id, 3, seen=seen)
    request = scheduler.request(request_id)
    assert request is not None
    assert request["relative_priority"] == 4
    executor.unlock(node_id)
    assert scheduler.fulfilled(request_id) == [node_id]


def test_9_1_10_a_request_that_is_worked_on_is_locked(scheduler: Zuul) -> None:
    request_id = scheduler.submit("slow")
    scheduler.wait(f"{REQUESTS}/{request_id}", lambda request: request is not None and request["state"] == "pending")
    (contender,) = scheduler.names(f"{REQUEST_LOCKS}/{request_id}")
    assert re.fullmatch(r"[0-9a-f]{32}__lock__\d{10}", contender)
    assert not scheduler.revise(request_id, 1)
    assert scheduler.names(f"{REQUEST_LOCKS}/{request_id}") == [contender]


def test_9_1_10_a_revision_may_come_at_any_moment(scheduler: Zuul, executor: Zuul) -> None:
    for priority in range(10):
        (node_id,) = executor.obtain("single")
        request_id = scheduler.submit("single")
        seen = scheduler.read_version(f"{REQUESTS}/{request_id}")
        executor.unlock(node_id)
        try:
            revised = scheduler.revise(request_id, priority, seen=seen)
        except BadVersionError:
            revised = False
        assert scheduler.fulfilled(request_id) == [node_id]
        request = scheduler.request(request_id)
        assert request is not None
        assert request["relative_priority"] == (priority if revised else 0)
        scheduler.delete_request(request_id)


# Row 11: what is offered


def test_9_1_11_labels_on_offer_are_those_of_all_pools(scheduler: Zuul) -> None:
    # One that was full is said to be so for a while.
    eventually(lambda: not any(pool["paused"] for pool in scheduler.pools()))
    pools = scheduler.pools()
    assert {label for pool in pools for label in pool["supported_labels"]} == set(LABELS)
    assert len({pool["id"] for pool in pools}) == 5
    for pool in pools:
        assert re.fullmatch(rf"\S+-PoolWorker\.{pool['provider_name']}-main-[0-9a-f]{{32}}", pool["id"])
        kept = {key: pool[key] for key in ("kind", "name", "state", "model_api", "priority", "paused")}
        assert kept == {
            "kind": "pool",
            "name": "main",
            "state": "running",
            "model_api": 0,
            "priority": 100,
            "paused": False,
        }


def test_names_of_locks_are_those_that_all_clients_parse(caches: Caches) -> None:
    """What the caches saw of nodes' locks while the tests above ran."""
    contenders = [path.rpartition("/")[2] for path, _ in caches.events if "/lock/" in path]
    assert contenders
    assert all(CONTENDER.match(name) for name in contenders)


def _of_provider(zuul: Zuul, provider: str) -> list[dict[str, object]]:
    return [node for node in zuul.all_nodes().values() if node["provider"] == provider]
