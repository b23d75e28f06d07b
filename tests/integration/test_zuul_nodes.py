"""Zuul's nodes, at the wire: rows 5 to 9, 12 and 14 of spec zookeeper 9.1. Test names carry the row."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher_process import LauncherProcess, fake_provider, static_provider
from tests.requestor import NODES, REQUESTS, RESERVED_NODE_KEYS, SYSTEM, TENANT, Zuul, encode, zuul
from tests.sshd import Sshd, generate_key
from tests.zookeeper import eventually, new_place

pytestmark = pytest.mark.usefixtures("caches")

LABELS = ("bare", "single", "cloud", "lazy")
VARIABLES = (
    "az",
    "cloud",
    "provider",
    "region",
    "host_id",
    "external_id",
    "slot",
    "interface_ip",
    "public_ipv4",
    "private_ipv4",
    "public_ipv6",
    "node_properties",
    "python_path",
    "shell_type",
    "username",
    "connection_type",
    "connection_port",
    "host_keys",
    "resources",
)
"""What Zuul makes variables of the job from (spec zookeeper 9.1, row 14)."""
EITHER_KIND = pytest.mark.parametrize("label", ["bare", "cloud"])
"""A registered host and a server of a cloud."""


@pytest.fixture(scope="module")
def login_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key that may log in to the static host of this module; its public half is beside it."""
    path = tmp_path_factory.mktemp("login") / "id"
    generate_key(path)
    return path


@pytest.fixture(scope="module")
def sshd(login_key: Path) -> Iterator[Sshd]:
    """A host of this module's own, which lets its key in."""
    with Sshd(authorized_key=login_key.with_suffix(".pub").read_text().strip()) as server:
        yield server


@pytest.fixture(scope="module")
def launcher(zookeeper_hosts: str, tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> Iterator[LauncherProcess]:
    """One launcher for the module."""
    providers = [
        static_provider("rack", sshd, ["bare"], slots=3, node_attributes={"executor-zone": "eu"}),
        static_provider("desk", sshd, ["single"]),
        fake_provider("fake-cloud", ["cloud"], node_attributes={"executor-zone": "us"}),
        fake_provider("fake-lazy", ["lazy"], fake={"delete-time": 0.5}),
    ]
    place = new_place(zookeeper_hosts)
    with LauncherProcess(
        tmp_path_factory.mktemp("launcher"), place, providers=providers, labels=LABELS, max_hold_age=3600
    ) as process:
        yield process


# Row 5: between locking and use


def test_9_1_05_ready_locked_nodes_of_a_vanished_request_are_left_alone(scheduler: Zuul, executor: Zuul) -> None:
    node_ids = executor.obtain("bare") + executor.obtain("cloud")
    paths = [f"{NODES}/{node_id}" for node_id in node_ids]
    before = [executor.read_version(path) for path in paths]
    busy_until = time.monotonic() + 3.0
    # Longer than the two seconds after which launchers do what others have left undone, with everything awake.
    while time.monotonic() < busy_until:
        for label in ("bare", "cloud"):
            request_id = scheduler.submit(label)
            scheduler.fulfilled(request_id)
            scheduler.delete_request(request_id)
        scheduler.stays(0.1, *paths, *(f"{path}/lock" for path in paths))
    assert [executor.read_version(path) for path in paths] == before
    assert [record["state"] for record, _ in before] == ["ready", "ready"]


@EITHER_KIND
def test_9_1_05_a_node_in_use_is_left_alone(executor: Zuul, label: str) -> None:
    (node_id,) = executor.obtain(label)
    executor.use(node_id)
    path = f"{NODES}/{node_id}"
    # Anything that the change wakes happens within milliseconds.
    executor.stays(0.5, path, f"{path}/lock")
    executor.give_back(node_id)


# Row 6: the return


@EITHER_KIND
def test_9_1_06_a_used_node_goes_and_its_place_is_filled_anew(executor: Zuul, label: str) -> None:
    (node_id,) = executor.obtain(label)
    executor.use(node_id)
    executor.give_back(node_id)
    executor.wait_node_gone(node_id, 5.0)
    (successor,) = executor.obtain(label)
    assert successor != node_id


def test_9_1_06_a_used_host_is_registered_again_in_the_same_slot(executor: Zuul) -> None:
    (node_id,) = executor.obtain("single")
    used = executor.use(node_id)
    executor.give_back(node_id)
    (successor,) = executor.obtain("single")
    again = executor.nodes[successor]
    assert [again[key] for key in ("slot", "external_id", "connection_port", "host_keys")] == [
        used[key] for key in ("slot", "external_id", "connection_port", "host_keys")
    ]
    assert (again["user_data"], again["hold_job"], again["comment"]) == (None, None, None)


def test_9_1_06_a_used_node_that_is_still_locked_is_left_until_it_is_unlocked(executor: Zuul) -> None:
    (node_id,) = executor.obtain("single")
    executor.use(node_id)
    executor.store(node_id, state="used")
    path = f"{NODES}/{node_id}"
    # Anything that the change wakes happens within milliseconds.
    executor.stays(0.5, path, f"{path}/lock")
    executor.unlock(node_id)
    executor.wait_node_gone(node_id)


@EITHER_KIND
def test_9_1_06_a_node_that_was_never_used_is_freed_and_given_to_the_next(executor: Zuul, label: str) -> None:
    node_ids = executor.obtain(label, label, label)
    for node_id in node_ids:
        executor.unlock(node_id)
        freed = executor.wait_node(node_id, lambda node: node["allocated_to"] is None)
        assert freed["state"] == "ready"
    again = executor.obtain(label, label, label)
    assert set(again) <= set(executor.all_nodes())
    assert label == "cloud" or set(again) == set(node_ids)


def test_9_1_06_two_executors_use_the_same_slot_one_after_the_other(scheduler: Zuul, launcher: LauncherProcess) -> None:
    with zuul(launcher.place) as first, zuul(launcher.place) as second:
        (node_id,) = first.obtain("single")
        first.use(node_id)
        waiting = scheduler.submit("single")
        first.give_back(node_id)
        (successor,) = second.accept(waiting)
        assert successor != node_id


# Rows 7 and 8: hold


@EITHER_KIND
def test_9_1_07_a_node_on_hold_is_left_alone_with_what_zuul_wrote(executor: Zuul, label: str) -> None:
    (node_id,) = executor.obtain(label)
    executor.use(node_id)
    executor.hold(node_id)
    path = f"{NODES}/{node_id}"
    # A launcher that were to delete it would do so at once, as it does with a used one.
    executor.stays(0.5, path, f"{path}/lock")
    held = executor.node(node_id)
    assert held is not None
    assert (held["state"], held["comment"]) == ("hold", "broken again")
    assert held["hold_job"] == f"{TENANT} example.org/project unit .*"
    assert held["hold_expiration"] is None
    assert executor.try_lock(node_id)
    executor.store(node_id, state="used")
    executor.unlock(node_id)
    executor.wait_node_gone(node_id)


@EITHER_KIND
def test_9_1_07_a_hold_ends_after_its_seconds(executor: Zuul, label: str) -> None:
    (node_id,) = executor.obtain(label)
    executor.use(node_id)
    executor.hold(node_id, 1)
    held = executor.node(node_id)
    assert held is not None
    executor.wait_node_gone(node_id, 5.0)
    assert 1.0 <= time.time() - held["state_time"] < 3.0


def test_9_1_07_expirations_that_make_no_sense_mean_none(executor: Zuul) -> None:
    node_ids = executor.obtain("bare", "bare", "bare")
    for node_id, expiration in zip(node_ids, ("soon", 0, -1), strict=True):
        executor.use(node_id)
        executor.store(node_id, state="hold", hold_expiration=expiration)
        executor.unlock(node_id)
    # A limit that is over would be acted upon at once.
    executor.stays(0.5, *(f"{NODES}/{node_id}" for node_id in node_ids))
    for node_id in node_ids:
        assert executor.try_lock(node_id)
        executor.store(node_id, state="used")
        executor.unlock(node_id)


@EITHER_KIND
def test_9_1_08_the_end_of_a_hold_is_stored_under_try_lock_by_the_scheduler(
    scheduler: Zuul, executor: Zuul, label: str
) -> None:
    (node_id,) = executor.obtain(label)
    executor.use(node_id)
    executor.hold(node_id, 3600)
    assert scheduler.try_lock(node_id)
    held = scheduler.node(node_id)
    assert held is not None
    scheduler.nodes[node_id] = held
    scheduler.store(node_id, state="used")
    scheduler.unlock(node_id)
    scheduler.wait_node_gone(node_id, 5.0)


# Row 9: whole records


@EITHER_KIND
def test_9_1_09_keys_that_nodepool_does_not_know_are_kept(executor: Zuul, label: str) -> None:
    (node_id,) = executor.obtain(label)
    unknown = {"zuul_extra": {"deep": [1, None]}, "number": 312312644215438567100414707468360678011}
    written = executor.store(node_id, **unknown)
    executor.unlock(node_id)
    freed = executor.wait_node(node_id, lambda node: node["allocated_to"] is None)
    assert {key: freed[key] for key in unknown} == unknown
    assert freed["id"] == node_id
    nobodys = {"allocated_to": None, "tenant_name": None, "requestor": None}
    assert freed == {**written, **nobodys}


@EITHER_KIND
def test_9_1_09_records_have_no_keys_that_zuul_would_trip_over(executor: Zuul, label: str) -> None:
    (node_id,) = executor.obtain(label)
    assert not RESERVED_NODE_KEYS & executor.nodes[node_id].keys()
    assert executor.names(f"{NODES}/{node_id}") == ["lock"]


def test_9_1_09_what_is_null_after_zuul_has_written_it_disturbs_nobody(executor: Zuul) -> None:
    (node_id,) = executor.obtain("bare")
    executor.store(node_id, connection_port=None, ssh_port=None, host_keys=None, slot=None, attributes=None)
    executor.unlock(node_id)
    eventually(lambda: executor.disorder() == [])
    assert len(executor.obtain("bare", "bare", "bare")) == 3


# Rows 12 and 14: what Zuul shows and tells jobs


@EITHER_KIND
def test_9_1_12_zuuls_node_list_finds_what_it_shows(executor: Zuul, label: str) -> None:
    (node_id,) = executor.obtain(label)
    executor.use(node_id)
    node = executor.node(node_id)
    assert node is not None
    assert node["user_data"] == {"zuul_system": SYSTEM, "project_name": "example.org/project"}
    assert (node["tenant_name"], node["id"], node["type"]) == (TENANT, node_id, [label])
    assert node["state_time"] == pytest.approx(time.time(), abs=5)
    assert {"connection_type", "external_id", "provider", "comment"} <= node.keys()
    executor.give_back(node_id)


@EITHER_KIND
def test_9_1_14_what_jobs_are_told_is_there(executor: Zuul, label: str) -> None:
    (node_id,) = executor.obtain(label)
    node = executor.nodes[node_id]
    assert set(VARIABLES) <= node.keys()
    assert isinstance(node["connection_port"], int)
    assert node["ssh_port"] == node["connection_port"]
    assert node["connection_type"] == "ssh"
    assert node["attributes"] == {"executor-zone": {"bare": "eu", "cloud": "us"}[label]}
    assert node["python_path"] == "auto"
    if label == "cloud":
        assert node["resources"] == {"cores": 4, "ram": 8192, "instances": 1}


def test_9_1_14_the_login_works_with_the_recorded_host_keys(executor: Zuul, sshd: Sshd, login_key: Path) -> None:
    (node_id,) = executor.obtain("bare")
    node = executor.nodes[node_id]
    assert (node["interface_ip"], node["connection_port"]) == (sshd.address, sshd.port)
    assert set(node["host_keys"]) == sshd.host_keys
    result = sshd.login(login_key, "echo here", host_keys=node["host_keys"])
    assert result.stdout == "here\n", result.stderr


# Executors that die (facts zuul, Nodes 5 and 8)


@pytest.mark.parametrize("killed", [False, True])
@EITHER_KIND
def test_a_dead_executors_nodes_are_recycled_each_in_its_way(
    scheduler: Zuul, launcher: LauncherProcess, label: str, killed: bool
) -> None:
    with zuul(launcher.place) as doomed:
        in_use, ready, held = doomed.obtain(label, label, label)
        doomed.use(in_use)
        doomed.use(held)
        doomed.hold(held)
        if killed:
            doomed.die()
        else:
            doomed.client.stop()
        scheduler.wait_node_gone(in_use, 5.0)
        freed = scheduler.wait_node(ready, lambda node: node["allocated_to"] is None)
        assert freed["state"] == "ready"
        node = scheduler.node(held)
        assert node is not None
        assert node["state"] == "hold"
        assert scheduler.try_lock(held)
        scheduler.store(held, state="used")
        scheduler.unlock(held)


def test_an_executor_that_dies_with_a_used_node_loses_it(scheduler: Zuul, launcher: LauncherProcess) -> None:
    with zuul(launcher.place) as doomed:
        (node_id,) = doomed.obtain("single")
        doomed.use(node_id)
        doomed.store(node_id, state="used")
    scheduler.wait_node_gone(node_id)
    assert scheduler.fulfilled(scheduler.submit("single")) != [node_id]


def test_an_executor_that_dies_before_it_deletes_the_request_leaves_the_nodes_to_it(
    scheduler: Zuul, executor: Zuul, launcher: LauncherProcess
) -> None:
    request_id = scheduler.submit("single")
    (node_id,) = scheduler.fulfilled(request_id)
    with zuul(launcher.place) as doomed:
        doomed.lock(node_id)
    # The request exists and is fulfilled, so the node is its own, locked or not.
    scheduler.stays(0.5, f"{NODES}/{node_id}", f"{REQUESTS}/{request_id}")
    assert executor.accept(request_id) == [node_id]


def test_a_late_lock_on_a_deleted_node_leaves_nothing_behind(scheduler: Zuul, executor: Zuul) -> None:
    (node_id,) = executor.obtain("single")
    executor.use(node_id)
    executor.give_back(node_id)
    scheduler.wait_node_gone(node_id)
    scheduler.lock(node_id)  # kazoo makes the parents, empty.
    # Whoever has the lock believes in its node: it is left alone as long as that lasts.
    scheduler.stays(0.5, f"{NODES}/{node_id}", f"{NODES}/{node_id}/lock")
    scheduler.unlock(node_id)
    scheduler.wait_node_gone(node_id, 5.0)


def test_a_write_to_a_node_that_is_being_deleted_brings_nothing_back(executor: Zuul) -> None:
    """An executor that has lost its lock without noticing writes what it believes in."""
    (node_id,) = executor.obtain("lazy")
    record = executor.use(node_id)
    executor.unlock(node_id)
    executor.wait_node(node_id, lambda node: node["state"] == "deleting")
    executor.client.set(f"{NODES}/{node_id}", encode(record))
    executor.wait_node_gone(node_id, 10.0)
