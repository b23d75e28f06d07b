"""Znodes that cannot be read: they harm nothing but themselves, and each is reported once.

Whoever wrote them: a newer release, a defect, somebody with a ZooKeeper shell (spec zookeeper 3, 6.4, 10 row 5).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from tests.launcher_process import LauncherProcess, fake_provider, static_provider, zookeeper_client
from tests.requestor import NODES, REQUESTS, Record, Zuul, encode
from tests.sshd import Sshd
from tests.zookeeper import Place, eventually, new_place

BUILDS = "/nodepool/images/debian/builds"
NOT_RECORDS = {
    "truncated": b'{"state": "re',
    "list": b"[]",
    "null": b"null",
    "binary": b"\xff\x00\xfe",
    "stateless": b"{}",
    "unknown-state": b'{"state": "melted"}',
    "wrong-type": b'{"state": 5}',
}
REQUEST = {
    "state": "requested",
    "state_time": 1.0,
    "node_types": ["bare"],
    "requestor": "somebody",
    "requestor_data": None,
    "provider": None,
    "event_id": None,
}


def numbered(base: str, first: int, contents: dict[str, bytes]) -> dict[str, bytes]:
    """Paths and data of znodes with names as they should be, and contents as they should not."""
    return {f"{base}{first + index:010}": data for index, data in enumerate(contents.values())}


BROKEN_NODES = {
    **numbered(f"{NODES}/", 9_000, NOT_RECORDS),
    f"{NODES}/0000009100": b'{"state": "ready", "type": [1], "provider": "rack"}',
    f"{NODES}/0000009101": b'{"state": "in-use", "state_time": "yesterday"}',
}
BROKEN_REQUESTS = {
    **numbered(f"{REQUESTS}/100-", 9_000, NOT_RECORDS),
    f"{REQUESTS}/100-0000009100": b"",
    f"{REQUESTS}/100-0000009101": encode({**REQUEST, "node_types": "bare", "declined_by": 7}),
    f"{REQUESTS}/100-0000009102": encode({**REQUEST, "node_types": {"bare": 1}}),
    f"{REQUESTS}/odd": encode(REQUEST),
    f"{REQUESTS}/100": encode(REQUEST),
    f"{REQUESTS}/100-": encode(REQUEST),
    f"{REQUESTS}/1-0-0000009103": encode(REQUEST),
    f"{REQUESTS}/100-0000009104-x": encode(REQUEST),
    f"{REQUESTS}/lock": b"",
}
NOT_OBJECTS = {name: NOT_RECORDS[name] for name in ("truncated", "list", "null", "binary")}
BROKEN_COMPONENTS = {
    **{f"/nodepool/components/pool/{name}": data for name, data in NOT_OBJECTS.items()},
    **{f"/nodepool/components/launcher/{name}": data for name, data in NOT_OBJECTS.items()},
    "/nodepool/components/pool/empty": b"",
    "/nodepool/components/pool/wrong-labels": b'{"id": "x", "supported_labels": 5}',
    "/nodepool/components/strange/thing0000000000": b"?",
}
BUILD = uuid.UUID(int=5).hex
UPLOADS = f"{BUILDS}/{BUILD}/providers/fake-cloud/images"
BROKEN_IMAGES = {
    **numbered(f"{UPLOADS}/", 9_000, NOT_RECORDS),
    f"{UPLOADS}/0000009100": b"",
    f"{BUILDS}/odd": b"",
    **{f"{BUILDS}/{uuid.UUID(int=index + 9).hex}": data for index, data in enumerate(NOT_RECORDS.values())},
}
OTHERS = {
    "/nodepool/requests-lock/odd": b"",
    "/nodepool/requests-lock/odd/child": b"?",
    "/nodepool/elections/odd/child": b"?",
    "/nodepool/launchers/old": b"?",
    "/nodepool/future": b"?",
}
ALL = {**BROKEN_NODES, **BROKEN_REQUESTS, **BROKEN_COMPONENTS, **BROKEN_IMAGES, **OTHERS}
READ = {**BROKEN_NODES, **BROKEN_REQUESTS, **BROKEN_COMPONENTS, **BROKEN_IMAGES}
"""What the launcher reads, and so reports."""


@pytest.fixture(scope="module")
def place(zookeeper_hosts: str) -> Place:
    """A tree full of what cannot be read, with one good image in it."""
    place = new_place(zookeeper_hosts)
    with zookeeper_client(place) as client:
        for path, data in ALL.items():
            client.ensure_path(path.rpartition("/")[0])
            client.create(path, data)
        client.set(f"{BUILDS}/{BUILD}", encode({"state": "ready", "state_time": 1.0, "formats": "qcow2"}))
        upload = {"state": "ready", "state_time": 2.0, "external_id": "image-1", "external_name": "debian-1"}
        client.create(f"{UPLOADS}/0000000001", encode(upload))
    return place


@pytest.fixture(scope="module")
def launcher(place: Place, tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> Iterator[LauncherProcess]:
    """A launcher that finds all of it at its start."""
    image = {
        "diskimages": [{"name": "debian"}],
        "pools": [{"name": "main", "labels": [{"name": "cloud", "diskimage": "debian", "min-ram": 1}]}],
    }
    providers = [
        static_provider("rack", sshd, ["bare"], slots=2),
        {**fake_provider("fake-cloud", []), **image},
    ]
    with LauncherProcess(
        tmp_path_factory.mktemp("launcher"),
        place,
        providers=providers,
        labels=["bare", "cloud"],
        diskimages=[{"name": "debian", "elements": ["debian"]}],
    ) as process:
        yield process


@pytest.fixture(scope="module", autouse=True)
def without_broken_ones_at_the_end(launcher: LauncherProcess) -> Iterator[None]:
    """Everything that was put there is removed at the end, and then nothing is left."""
    yield
    with zookeeper_client(launcher.place) as client:
        for root in ("requests", "nodes", "requests-lock"):
            for name in client.get_children(f"/nodepool/{root}"):
                if f"/nodepool/{root}/{name}" in ALL:
                    client.delete(f"/nodepool/{root}/{name}", recursive=True)
        component = Zuul(client)
        eventually(lambda: component.disorder() == [])


@pytest.fixture
def client(launcher: LauncherProcess) -> Iterator[Zuul]:
    """A component of a Zuul; this module's tree is never in order."""
    with zookeeper_client(launcher.place) as connection:
        yield Zuul(connection)


def service(client: Zuul) -> None:
    """A whole life of a node of each provider, and a request that has to fail."""
    for label in ("bare", "cloud"):
        node_ids = client.obtain(label, label)
        for node_id in node_ids:
            client.use(node_id)
            client.give_back(node_id)
            client.wait_node_gone(node_id)
    request_id = client.submit("nobody-has-this")
    assert client.wait_done(request_id)["state"] == "failed"
    client.delete_request(request_id)


def lines_about(launcher: LauncherProcess, path: str) -> list[str]:
    """The lines of the log that name a znode."""
    return [line for line in launcher.log.splitlines() if f"{path} " in f"{line} "]


def test_service_goes_on_beside_all_that_cannot_be_read(client: Zuul) -> None:
    service(client)


def test_what_cannot_be_read_is_left_alone(client: Zuul) -> None:
    service(client)
    for path, data in ALL.items():
        if path != f"{BUILDS}/{BUILD}":
            assert client.client.get(path)[0] == data, path
            assert client.client.get(path)[1].version == 0, path


def test_each_is_reported_once_with_its_path(client: Zuul, launcher: LauncherProcess) -> None:
    service(client)
    counts = {path: len(lines_about(launcher, path)) for path in READ}
    assert {path: count for path, count in counts.items() if count != 1} == {}


def test_one_that_comes_while_the_launcher_runs_is_reported_too(client: Zuul, launcher: LauncherProcess) -> None:
    for path in (f"{NODES}/0000009900", f"{REQUESTS}/100-0000009900"):
        client.client.create(path, b"not json")
        launcher.wait_log(f"{path} cannot be read")
        service(client)
        client.client.delete(path)
        assert len(lines_about(launcher, path)) == 1


def test_one_that_is_repaired_is_served(client: Zuul) -> None:
    path = f"{REQUESTS}/100-0000009901"
    client.client.create(path, b"not json")
    client.client.set(path, encode(REQUEST))
    (node_id,) = client.accept("100-0000009901")
    client.unlock(node_id)
    client.wait_node(node_id, lambda node: node["allocated_to"] is None)


def test_one_that_breaks_while_it_is_worked_on_harms_nobody(client: Zuul) -> None:
    request_id = client.submit("cloud", "cloud")
    client.client.set(f"{REQUESTS}/{request_id}", b"not json")
    service(client)
    client.delete_request(request_id)
    (node_id,) = client.obtain("cloud")
    client.client.set(f"{NODES}/{node_id}", b"not json")
    client.unlock(node_id)
    service(client)
    client.client.set(f"{NODES}/{node_id}", encode({**client.nodes[node_id], "state": "used"}))
    client.wait_node_gone(node_id)


def test_empty_node_records_are_removed(client: Zuul) -> None:
    client.client.create(f"{NODES}/0000009950", b"")
    client.client.create(f"{NODES}/0000009951/lock", b"", makepath=True)
    for number in (9950, 9951):
        client.wait_node_gone(f"{number:010}")


def test_records_of_strangers_are_left_alone(client: Zuul) -> None:
    """Nodes of a provider that this launcher does not have, and of a pool that it does not have any more."""
    foreign: Record = {"state": "ready", "state_time": 1.0, "type": ["bare"], "provider": "elsewhere", "pool": "main"}
    path = client.client.create(f"{NODES}/", json.dumps(foreign).encode(), sequence=True)
    used = client.client.create(f"{NODES}/", json.dumps({**foreign, "state": "used"}).encode(), sequence=True)
    # Whatever the launcher would do with its own, it would do at once.
    client.stays(0.5, path, used)
    service(client)
    for each in (path, used):
        assert client.client.get(each)[1].version == 0
        client.client.delete(each, recursive=True)


def test_odd_names_among_contenders_cost_their_node_only(client: Zuul, launcher: LauncherProcess) -> None:
    eventually(lambda: len(_free(client)) == 2)
    spoiled = _free(client)[0]
    path = f"{NODES}/{spoiled}/lock/odd"
    client.client.create(path, b"", makepath=True)
    launcher.wait_log(f"{path} cannot be read")
    for _ in range(3):
        (node_id,) = client.obtain("bare")
        assert node_id != spoiled
        client.use(node_id)
        client.give_back(node_id)
    client.client.delete(path)
    node_ids = client.obtain("bare", "bare")
    assert spoiled in node_ids
    for node_id in node_ids:
        client.unlock(node_id)


def _free(client: Zuul) -> list[str]:
    """Static nodes that nobody has, without those that cannot be read."""
    found = []
    for name in client.names(NODES):
        if f"{NODES}/{name}" not in ALL:
            node = client.node(name)
            if node and node["provider"] == "rack" and node["state"] == "ready" and not node["allocated_to"]:
                found.append(name)
    return found
