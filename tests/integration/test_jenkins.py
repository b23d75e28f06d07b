"""The Jenkins plug-in for Nodepool, at the wire: the rows of spec zookeeper 9.2. Test names carry the row.

It is an older client than Zuul: its requests vanish with its session, it rewrites nodes with the keys that it knows,
and it changes their states without their times, at times without a lock.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient
from kazoo.protocol.states import EventType, WatchedEvent

from tests.launcher_process import LauncherProcess, fake_provider, static_provider, zookeeper_client
from tests.requestor import NODES, REQUEST_LOCKS, REQUESTS, Caches, Record, Zuul
from tests.sshd import Sshd
from tests.zookeeper import Place, eventually, new_place

pytestmark = pytest.mark.usefixtures("caches")

FORGOTTEN = {
    "resources",
    "attributes",
    "user_data",
    "driver_data",
    "tenant_name",
    "requestor",
    "python_path",
    "shell_type",
    "slot",
    "node_properties",
    "cloud",
}
"""Keys of a node that the plug-in does not know, and so drops."""
REQUESTOR = "jenkins"
EITHER_KIND = pytest.mark.parametrize("label", ["bare", "cloud"])


class Jenkins:
    """One plug-in with a session of its own."""

    def __init__(self, client: KazooClient) -> None:
        self.client = client
        self.build_id = f"job-{uuid.uuid4()}"
        self.events: list[str] = []
        """What its watch on the request was told before that was completed."""
        self.waiting = False
        """Whether its watch on the request is set."""
        self._contender = ""

    def submit(self, label: str, precedence: str = "500") -> str:
        """Write a request and return its id."""
        record = {
            "node_types": [label],
            "declined_by": [],
            "state_time": round(time.time(), 2),
            "reuse": True,
            "requestor": REQUESTOR,
            "state": "requested",
            "nodes": [],
            "jenkins_label": f"nodepool-{label}",
            "build_id": self.build_id,
        }
        path = self.client.create(
            f"{REQUESTS}/{precedence}-", json.dumps(record).encode(), ephemeral=True, sequence=True, makepath=True
        )
        request_id = str(path).rpartition("/")[2]
        assert request_id.rpartition("-")[2].isdigit()
        return request_id

    def wait_done(self, request_id: str) -> Record:
        """Wait, for nothing but changes of the data, until the request is completed."""
        path = f"{REQUESTS}/{request_id}"
        while True:
            changes: queue.SimpleQueue[WatchedEvent] = queue.SimpleQueue()
            record = _plain(self.client.get(path, changes.put)[0])
            if record["state"] in ("fulfilled", "failed", "aborted"):
                return record
            self.waiting = True
            self.events.append(changes.get(timeout=20.0).type)

    def accept(self, request_id: str) -> str:
        """Wait for the node, note the build on it, lock it, begin to use it and delete the request."""
        (node_id,) = self.wait_done(request_id)["nodes"]
        self.store(node_id, build_id=self.build_id)
        self.lock(node_id)
        self.store(node_id, state="in-use")
        self.client.delete(f"{REQUESTS}/{request_id}", recursive=True)
        return str(node_id)

    def obtain(self, label: str) -> str:
        """Ask for a node and accept it."""
        return self.accept(self.submit(label))

    def store(self, node_id: str, **changes: object) -> Record:
        """Write a node with the keys that the plug-in knows, and without those that are null."""
        path = f"{NODES}/{node_id}"
        record = {**_plain(self.client.get(path)[0]), **changes}
        kept = {key: value for key, value in record.items() if key not in FORGOTTEN and value is not None}
        self.client.set(path, json.dumps(kept).encode())
        return kept

    def lock(self, node_id: str) -> None:
        """Join the queue of a node's lock and wait until it is our turn."""
        directory = f"{NODES}/{node_id}/lock"
        if not self.client.exists(directory):
            self.client.create(directory, REQUESTOR.encode())
        data = f"{REQUESTOR}_{self.build_id}".encode()
        self._contender = self.client.create(f"{directory}/{uuid.uuid4()}__lock__", data, ephemeral=True, sequence=True)
        own = int(self._contender.rpartition("_")[2])
        eventually(lambda: min(int(name.rpartition("_")[2]) for name in self.client.get_children(directory)) == own)

    def unlock(self) -> None:
        """Leave the queue."""
        self.client.delete(self._contender)

    def give_back(self, node_id: str) -> None:
        """Return a node after the build."""
        self.store(node_id, state="used")
        self.unlock()


@contextlib.contextmanager
def jenkins(place: Place) -> Iterator[Jenkins]:
    """A plug-in, connected; its session is closed at the end."""
    with zookeeper_client(place) as client:
        yield Jenkins(client)


@pytest.fixture(scope="module")
def launcher(zookeeper_hosts: str, tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> Iterator[LauncherProcess]:
    """One launcher for the module."""
    providers = [
        static_provider("rack", sshd, ["bare"], slots=2, node_attributes={"site": "here"}),
        fake_provider("fake-cloud", ["cloud"], fake={"instances": 2}, node_attributes={"site": "there"}),
        fake_provider("fake-slow", ["slow"], fake={"boot-time": 30}),
    ]
    with LauncherProcess(
        tmp_path_factory.mktemp("launcher"),
        new_place(zookeeper_hosts),
        providers=providers,
        labels=["bare", "cloud", "slow"],
        max_hold_age=3600,
    ) as process:
        yield process


@pytest.fixture
def plugin(scheduler: Zuul, launcher: LauncherProcess) -> Iterator[Jenkins]:
    """A plug-in; a scheduler beside it sees to it that everything is in order at the end."""
    del scheduler
    with jenkins(launcher.place) as component:
        yield component


@EITHER_KIND
def test_9_2_02_an_ephemeral_request_with_few_keys_is_served(plugin: Jenkins, label: str) -> None:
    request_id = plugin.submit(label)
    request = plugin.wait_done(request_id)
    assert request["state"] == "fulfilled"
    assert len(request["nodes"]) == 1
    assert (request["jenkins_label"], request["build_id"]) == (f"nodepool-{label}", plugin.build_id)
    assert {"requestor_data", "event_id", "provider"} <= request.keys()
    stat = plugin.client.exists(f"{REQUESTS}/{request_id}")
    assert stat is not None
    assert stat.owner_session_id == plugin.client.client_id[0]
    plugin.client.delete(f"{REQUESTS}/{request_id}", recursive=True)


def test_9_2_02_zuul_goes_before_jenkins(scheduler: Zuul, executor: Zuul, plugin: Jenkins) -> None:
    first, second = executor.obtain("bare", "bare")
    request_id = plugin.submit("bare")
    urgent = scheduler.submit("bare", precedence="300")
    executor.unlock(first)
    assert scheduler.fulfilled(urgent) == [first]
    executor.unlock(second)
    assert plugin.wait_done(request_id)["nodes"] == [second]


@pytest.mark.parametrize("label", ["bare", "cloud", "slow"])
def test_9_2_02_a_request_that_vanishes_with_its_session_leaves_nothing(
    scheduler: Zuul, launcher: LauncherProcess, label: str
) -> None:
    with jenkins(launcher.place) as doomed:
        request_id = doomed.submit(label)
        path = f"{REQUESTS}/{request_id}"
        expected = "pending" if label == "slow" else "fulfilled"
        scheduler.wait(path, lambda request: request is not None and request["state"] == expected)
    scheduler.wait_gone(path)
    scheduler.wait_gone(f"{REQUEST_LOCKS}/{request_id}")


def test_9_2_03_only_changes_of_the_data_are_seen_until_the_request_is_completed(
    scheduler: Zuul, plugin: Jenkins
) -> None:
    first, second = scheduler.obtain("bare", "bare")
    request_id = plugin.submit("bare")
    waiter = threading.Thread(target=plugin.wait_done, args=(request_id,))
    waiter.start()
    eventually(lambda: plugin.waiting)
    scheduler.unlock(first)
    scheduler.unlock(second)
    waiter.join(20.0)
    assert set(plugin.events) == {EventType.CHANGED}


def test_9_2_03_a_label_that_nobody_has_fails(plugin: Jenkins) -> None:
    request_id = plugin.submit("no-such-label")
    assert plugin.wait_done(request_id)["state"] == "failed"
    plugin.client.delete(f"{REQUESTS}/{request_id}", recursive=True)


@EITHER_KIND
def test_9_2_04_a_node_rewritten_before_it_is_locked_stays_its_requests(plugin: Jenkins, label: str) -> None:
    request_id = plugin.submit(label)
    (node_id,) = plugin.wait_done(request_id)["nodes"]
    path = f"{NODES}/{node_id}"
    written = plugin.store(node_id, build_id=plugin.build_id)
    assert not FORGOTTEN & written.keys()
    version = plugin.client.exists(path).version
    # Whatever a launcher does with a record that it does not like, it does at once.
    changed = threading.Event()
    plugin.client.get(path, lambda _: changed.set())
    assert not changed.wait(0.5)
    plugin.lock(node_id)
    assert plugin.client.exists(path).version == version
    plugin.store(node_id, state="in-use")
    plugin.client.delete(f"{REQUESTS}/{request_id}", recursive=True)
    plugin.give_back(node_id)


def test_9_2_04_stripped_records_count_for_the_quota(
    scheduler: Zuul, plugin: Jenkins, launcher: LauncherProcess
) -> None:
    """A node without resources uses what its label needs."""
    with jenkins(launcher.place) as other:
        first, second = plugin.obtain("cloud"), other.obtain("cloud")
        request_id = scheduler.submit("cloud")
        # A request that fits is taken within milliseconds.
        scheduler.stays(0.5, f"{REQUESTS}/{request_id}")
        plugin.give_back(first)
        scheduler.fulfilled(request_id)
        other.give_back(second)


def test_9_2_04_a_stripped_node_keeps_its_slot(scheduler: Zuul, plugin: Jenkins) -> None:
    """Its host gets no third node for two slots, and the slots are filled again afterwards."""
    node_id = plugin.obtain("bare")
    (other,) = scheduler.obtain("bare")
    waiting = scheduler.submit("bare")
    scheduler.stays(0.5, f"{REQUESTS}/{waiting}", NODES)  # A slot that is thought to be free is filled at once.
    plugin.give_back(node_id)
    (successor,) = scheduler.fulfilled(waiting)
    slots = {(scheduler.node(each) or {})["slot"] for each in (other, successor)}
    assert slots == {0, 1}
    scheduler.unlock(other)


def test_9_2_04_a_record_made_for_a_node_that_is_gone_disturbs_nobody(
    scheduler: Zuul, plugin: Jenkins, launcher: LauncherProcess, caches: Caches
) -> None:
    node_id = plugin.obtain("bare")
    plugin.give_back(node_id)
    scheduler.wait_node_gone(node_id)
    path = f"{NODES}/{node_id}"
    plugin.client.create(path, json.dumps({"build_id": plugin.build_id, "type": ["bare"]}).encode())
    launcher.wait_log(f"{path} cannot be read")
    for label in ("bare", "cloud"):
        other = plugin.obtain(label)
        plugin.give_back(other)
        scheduler.wait_node_gone(other)
    plugin.client.delete(path, recursive=True)
    # Zuul would complain, and rightly.
    eventually(lambda: (path, None) in caches.events[-50:])
    caches.complaints[:] = [complaint for complaint in caches.complaints if not complaint.startswith(path)]


@EITHER_KIND
def test_9_2_05_a_node_is_used_returned_and_renewed(scheduler: Zuul, plugin: Jenkins, label: str) -> None:
    node_id = plugin.obtain(label)
    path = f"{NODES}/{node_id}"
    scheduler.stays(0.5, path, f"{path}/lock")  # What is in use is left alone.
    plugin.give_back(node_id)
    scheduler.wait_node_gone(node_id, 5.0)
    successor = plugin.obtain(label)
    assert successor != node_id
    plugin.give_back(successor)


def test_9_2_05_it_waits_its_turn_in_a_queue_of_both_kinds(scheduler: Zuul, plugin: Jenkins) -> None:
    request_id = plugin.submit("bare")
    (node_id,) = plugin.wait_done(request_id)["nodes"]
    scheduler.lock(node_id)
    waiter = threading.Thread(target=plugin.lock, args=(node_id,))
    waiter.start()
    eventually(lambda: len(scheduler.names(f"{NODES}/{node_id}/lock")) == 2)
    scheduler.unlock(node_id)
    waiter.join(20.0)
    plugin.store(node_id, state="in-use")
    plugin.client.delete(f"{REQUESTS}/{request_id}", recursive=True)
    plugin.give_back(node_id)


def test_9_2_05_a_plugin_that_dies_loses_its_node(scheduler: Zuul, launcher: LauncherProcess) -> None:
    with jenkins(launcher.place) as doomed:
        node_id = doomed.obtain("bare")
    scheduler.wait_node_gone(node_id, 5.0)


@EITHER_KIND
def test_9_2_06_a_hold_with_an_expiration_in_milliseconds_lasts(scheduler: Zuul, plugin: Jenkins, label: str) -> None:
    node_id = plugin.obtain(label)
    path = f"{NODES}/{node_id}"
    tomorrow = int((time.time() + 86400) * 1000)
    plugin.store(node_id, state="hold", comment="Jenkins hold", hold_job="job-1", hold_expiration=tomorrow)
    plugin.unlock()
    scheduler.stays(0.5, path, f"{path}/lock")  # A limit that is over would be acted upon at once.
    held = scheduler.node(node_id)
    assert held is not None
    assert (held["state"], held["comment"], held["hold_expiration"]) == ("hold", "Jenkins hold", tomorrow)
    plugin.store(node_id, state="used")
    scheduler.wait_node_gone(node_id, 5.0)


@EITHER_KIND
def test_9_2_07_the_janitor_returns_nodes_without_a_lock(
    scheduler: Zuul, plugin: Jenkins, launcher: LauncherProcess, label: str
) -> None:
    with jenkins(launcher.place) as janitor:
        node_id = plugin.obtain(label)
        path = f"{NODES}/{node_id}"
        janitor.store(node_id, state="used")
        scheduler.stays(0.5, path, f"{path}/lock")  # The lock counts, whatever the record says.
        plugin.unlock()
        scheduler.wait_node_gone(node_id, 5.0)


@EITHER_KIND
def test_9_2_07_the_janitor_returns_a_node_that_was_never_locked(scheduler: Zuul, plugin: Jenkins, label: str) -> None:
    request_id = plugin.submit(label)
    (node_id,) = plugin.wait_done(request_id)["nodes"]
    plugin.store(node_id, build_id=plugin.build_id)
    plugin.client.delete(f"{REQUESTS}/{request_id}", recursive=True)
    plugin.store(node_id, state="used")
    scheduler.wait_node_gone(node_id, 5.0)


@EITHER_KIND
def test_9_2_08_ports_are_integers_and_ids_are_text(scheduler: Zuul, plugin: Jenkins, label: str) -> None:
    request_id = plugin.submit(label)
    (node_id,) = plugin.wait_done(request_id)["nodes"]
    node = scheduler.node(node_id)
    assert node is not None
    assert isinstance(node["connection_port"], int)
    assert isinstance(node["ssh_port"], int)
    assert isinstance(node["external_id"], str)
    assert isinstance(node["host_keys"], list)
    plugin.client.delete(f"{REQUESTS}/{request_id}", recursive=True)


def test_9_2_09_no_state_appeared_that_the_plugin_does_not_know(caches: Caches) -> None:
    """What the caches saw while the tests above ran."""
    known = {"init", "building", "testing", "ready", "in-use", "used", "hold", "deleting", "failed", "aborted"}
    nodes = [record for path, record in caches.events if record and path.startswith(NODES)]
    assert {node["state"] for node in nodes if "state" in node} <= known
    requests = [record for path, record in caches.events if record and path.startswith(REQUESTS)]
    assert {request["state"] for request in requests} <= {"requested", "pending", "fulfilled", "failed"}


def test_numbers_that_became_floats_and_records_without_most_keys_are_understood(
    scheduler: Zuul, plugin: Jenkins
) -> None:
    node_id = plugin.obtain("bare")
    node = plugin.store(node_id)
    floats = {key: float(node[key]) for key in ("connection_port", "ssh_port")}
    plugin.store(node_id, **floats, created_time=1.7e9, state_time=1.7e9)
    plugin.give_back(node_id)
    scheduler.wait_node_gone(node_id, 5.0)
    bare = {"state": "used", "provider": "rack"}
    path = plugin.client.create(f"{NODES}/", json.dumps(bare).encode(), sequence=True)
    scheduler.wait_gone(path, 5.0)


def _plain(data: bytes) -> Record:
    record: Record = json.loads(data)
    return record
