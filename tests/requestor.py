"""Plays Zuul at the wire, with nothing but kazoo and JSON: what it reads, writes, checks and caches.

The operations and their order are those of Zuul's scheduler and executor (spec zookeeper 9.1, facts zuul). Each
:class:`Zuul` is one of its components with a session of its own.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.recipe.lock import Lock

from tests.launcher_process import zookeeper_client
from tests.zookeeper import PATIENCE, Place, kill_session

NODES = "/nodepool/nodes"
REQUESTS = "/nodepool/requests"
REQUEST_LOCKS = "/nodepool/requests-lock"
POOLS = "/nodepool/components/pool"

SYSTEM = "3f9d0e5c7a8b4d21b6a90c1e2f3a4b5c"
TENANT = "acme"
TRACE = 312312644215438567100414707468360678011
"""A trace id of 128 bits, as Zuul writes it."""

REQUEST_KEYS = ("requestor_data", "requestor", "node_types", "provider", "state", "state_time", "event_id")
"""Without one of them Zuul's reader raises (facts zuul, Requests 3)."""
RESERVED_NODE_KEYS = frozenset({"name", "aliases", "lock", "label", "stat", "uuid", "reuse", "kubernetes_connection"})
CONTENDER = re.compile(r"^.*__lock__\d{10}$")

Record = dict[str, Any]
Found = TypeVar("Found")


class Zuul:
    """One component of a Zuul. Make it with :func:`zuul`."""

    def __init__(self, client: KazooClient, system: str = SYSTEM) -> None:
        self.client = client
        self.system = system
        self.nodes: dict[str, Record] = {}
        """Nodes that were accepted, with their records as this component knows them."""
        self._locks: dict[str, Lock] = {}

    # Scheduler

    def submit(self, *labels: str, precedence: str = "200", **changes: Any) -> str:
        """Write a request with exactly Zuul's keys, and return its id. A change to Ellipsis leaves the key out."""
        now = time.time()
        record = {
            "requestor_data": {
                "build_set_uuid": uuid.uuid4().hex,
                "tenant_name": TENANT,
                "pipeline_name": "check",
                "job_uuid": uuid.uuid4().hex,
                "job_name": "unit",
                "span_info": {"trace_id": TRACE, "span_id": TRACE >> 64},
            },
            "node_types": list(labels),
            "requestor": self.system,
            "created_time": now,
            "provider": None,
            "state": "requested",
            "state_time": now,
            "relative_priority": 0,
            "event_id": uuid.uuid4().hex,
            "tenant_name": TENANT,
        }
        record = {key: value for key, value in {**record, **changes}.items() if value is not ...}
        path = self.client.create(f"{REQUESTS}/{precedence}-", encode(record), sequence=True, makepath=True)
        return str(path.rpartition("/")[2])

    def request(self, request_id: str) -> Record | None:
        """A request as it is now, None if it is gone."""
        return self.read(f"{REQUESTS}/{request_id}")

    def wait_done(self, request_id: str, seconds: float = PATIENCE) -> Record:
        """Wait until a request is fulfilled or failed."""
        found = self.wait(f"{REQUESTS}/{request_id}", _completed, seconds)
        assert found is not None
        return found

    def fulfilled(self, request_id: str, seconds: float = PATIENCE) -> list[str]:
        """Wait until a request is fulfilled and return its nodes."""
        request = self.wait_done(request_id, seconds)
        assert request["state"] == "fulfilled", request
        return list(request["nodes"])

    def delete_request(self, request_id: str) -> None:
        """Delete a request without lock or children; a missing one counts as deleted."""
        with contextlib.suppress(NoNodeError):
            self.client.delete(f"{REQUESTS}/{request_id}")

    def revise(self, request_id: str, relative_priority: int, *, seen: tuple[Record, int] | None = None) -> bool:
        """Change the relative priority of a waiting request under try-lock; False if somebody has the lock.

        ``seen`` are the record and version of Zuul's cache, by default the present ones. Raises BadVersionError.
        """
        lock = Lock(self.client, f"{REQUEST_LOCKS}/{request_id}")
        if not lock.acquire(blocking=False):
            return False
        try:
            record, version = seen or self.read_version(f"{REQUESTS}/{request_id}")
            assert record["state"] == "requested"
            changed = encode({**record, "relative_priority": relative_priority})
            self.client.set(f"{REQUESTS}/{request_id}", changed, version=version)
        finally:
            lock.release()
        return True

    # Executor

    def accept(self, request_id: str, seconds: float = PATIENCE) -> list[str]:
        """Check and lock the nodes of a fulfilled request in order, then delete the request; returns their ids."""
        node_ids = self.fulfilled(request_id, seconds)
        for node_id in node_ids:
            record = self.node(node_id)
            assert record is not None, f"node {node_id} is gone"
            assert record["allocated_to"] == request_id
            self.lock(node_id)
            self.nodes[node_id] = record
        self.delete_request(request_id)
        return node_ids

    def obtain(self, *labels: str, **changes: Any) -> list[str]:
        """Ask for nodes and accept them."""
        return self.accept(self.submit(*labels, **changes))

    def node(self, node_id: str) -> Record | None:
        """A node as it is now, None if it is gone or empty."""
        return self.read(f"{NODES}/{node_id}")

    def lock(self, node_id: str) -> None:
        """Wait for a node's lock as an executor does."""
        lock = Lock(self.client, f"{NODES}/{node_id}/lock")
        assert lock.acquire(timeout=30.0)
        self._locks[node_id] = lock

    def try_lock(self, node_id: str) -> bool:
        """Take a node's lock if it is free, as the scheduler does for a hold that is over."""
        lock = Lock(self.client, f"{NODES}/{node_id}/lock")
        if not lock.acquire(blocking=False):
            return False
        self._locks[node_id] = lock
        return True

    def unlock(self, node_id: str) -> None:
        """Give a node's lock up."""
        self._locks.pop(node_id).release()

    def store(self, node_id: str, **changes: Any) -> Record:
        """Write the whole node without a version, as Zuul does; the time changes with the state."""
        known = self.nodes.get(node_id) or self.node(node_id)
        assert known is not None
        own = {"id": node_id, "tenant_name": known.get("tenant_name", TENANT), "requestor": self.system}
        record = {**known, **own, **changes}
        if record["state"] != known["state"]:
            record["state_time"] = time.time()
        self.client.set(f"{NODES}/{node_id}", encode(record))
        self.nodes[node_id] = record
        return record

    def use(self, node_id: str) -> Record:
        """Begin to use a node."""
        user_data = {"zuul_system": self.system, "project_name": "example.org/project"}
        return self.store(node_id, state="in-use", user_data=user_data)

    def give_back(self, node_id: str) -> None:
        """Return a node after the job."""
        self.store(node_id, state="used")
        self.unlock(node_id)

    def hold(self, node_id: str, expiration: int | None = None) -> None:
        """Put a node that is in use on hold; ``expiration`` is seconds."""
        changes: Record = {"hold_job": f"{TENANT} example.org/project unit .*", "comment": "broken again"}
        if expiration is not None:
            changes["hold_expiration"] = expiration
        self.store(node_id, state="hold", **changes)
        self.unlock(node_id)

    # Anybody

    def read(self, path: str) -> Record | None:
        """Data of a znode; None if it is gone or empty."""
        with contextlib.suppress(NoNodeError):
            return decode(self.client.get(path)[0])
        return None

    def read_version(self, path: str) -> tuple[Record, int]:
        """Data and version of a znode that exists."""
        data, stat = self.client.get(path)
        record = decode(data)
        assert record is not None
        return record, stat.version

    def names(self, path: str) -> list[str]:
        """Children of a znode, none if it is missing."""
        with contextlib.suppress(NoNodeError):
            return sorted(self.client.get_children(path))
        return []

    def all_nodes(self) -> dict[str, Record]:
        """All nodes that have a record."""
        found = ((name, self.node(name)) for name in self.names(NODES))
        return {name: record for name, record in found if record is not None}

    def pools(self) -> list[Record]:
        """The components of all pools."""
        found = (self.read(f"{POOLS}/{name}") for name in self.names(POOLS))
        return [pool for pool in found if pool is not None]

    def wait(self, path: str, condition: Callable[[Record | None], bool], seconds: float = PATIENCE) -> Record | None:
        """Wait until a znode's data (None: gone or empty) is as it should be, woken by watches; return the data."""
        deadline = time.monotonic() + seconds
        while True:
            changed = threading.Event()
            self.client.exists(path, lambda _, changed=changed: changed.set())
            record = self.read(path)
            if condition(record):
                return record
            if not changed.wait(max(deadline - time.monotonic(), 0.0)):
                raise AssertionError(f"not within {seconds} s; {path} is {record}")

    def wait_node(self, node_id: str, condition: Callable[[Record], bool], seconds: float = PATIENCE) -> Record:
        """Wait until a node's record is as it should be; return it."""
        found = self.wait(f"{NODES}/{node_id}", lambda node: node is not None and condition(node), seconds)
        assert found is not None
        return found

    def wait_gone(self, path: str, seconds: float = PATIENCE) -> None:
        """Wait until a znode does not exist."""
        deadline = time.monotonic() + seconds
        while True:
            changed = threading.Event()
            if self.client.exists(path, lambda _, changed=changed: changed.set()) is None:
                return
            if not changed.wait(max(deadline - time.monotonic(), 0.0)):
                raise AssertionError(f"{path} is still there after {seconds} s: {self.client.get(path)[0]!r}")

    def wait_node_gone(self, node_id: str, seconds: float = PATIENCE) -> None:
        """Wait until a node does not exist."""
        self.wait_gone(f"{NODES}/{node_id}", seconds)

    def tree(self) -> dict[str, bytes]:
        """Data of everything below requests and nodes, by path."""
        paths = [f"{root}/{name}" for root in (REQUESTS, NODES) for name in self.names(root)]
        found: dict[str, bytes] = {}
        for path in paths:
            with contextlib.suppress(NoNodeError):
                found[path] = self.client.get(path)[0]
                paths.extend(f"{path}/{name}" for name in self.names(path))
        return found

    def stays(self, seconds: float, *paths: str) -> None:
        """Fail if one of these znodes or its list of children changes within ``seconds``."""
        changed: list[object] = []
        happened = threading.Event()

        def take(event: object) -> None:
            changed.append(event)
            happened.set()

        for path in paths:
            self.client.get(path, take)
            self.client.get_children(path, take)
        assert not happened.wait(seconds), changed

    def disorder(self) -> list[str]:
        """What is not as it should be when nobody wants anything: all nodes ready and free, and no requests."""
        found = [f"{REQUESTS}/{name}" for name in self.names(REQUESTS)]
        found += [f"{REQUEST_LOCKS}/{name}" for name in self.names(REQUEST_LOCKS)]
        for node_id in self.names(NODES):
            node = self.node(node_id)
            if node is None or node["state"] != "ready" or node["allocated_to"] is not None:
                found.append(f"{NODES}/{node_id}: {node}")
            found += [f"{NODES}/{node_id}/lock/{name}" for name in self.names(f"{NODES}/{node_id}/lock")]
        return found

    def die(self) -> None:
        """Lose the session as a killed process does when its time is over: the server ends it."""
        session, password = self.client.client_id
        host, port = self.client._connection._socket.getpeername()[:2]
        kill_session(host, port, session, password)


class Caches:
    """Zuul's TreeCaches on requests and nodes, and what its parsers would complain about."""

    def __init__(self, client: KazooClient) -> None:
        self.complaints: list[str] = []
        self.events: list[tuple[str, Record | None]] = []
        """Path and data of every change, in order; None for a removal and for what is not a record."""
        self._caches = [TreeCache(client, root) for root in (REQUESTS, NODES)]
        for cache in self._caches:
            cache.listen(self._take)
            cache.listen_fault(lambda error: self.complaints.append(f"fault of a cache: {error!r}"))
            cache.start()

    def close(self) -> None:
        """End the caches."""
        for cache in self._caches:
            cache.close()

    def seen(self, path: str) -> list[Record]:
        """All data that a znode had, as far as the cache saw them, in order."""
        return [record for place, record in self.events if place == path and record is not None]

    def tree(self) -> dict[str, bytes]:
        """All that the caches hold, by path, without the roots."""
        found: dict[str, bytes] = {}
        for cache, root in zip(self._caches, (REQUESTS, NODES), strict=True):
            paths = [f"{root}/{name}" for name in cache.get_children(root) or ()]
            for path in paths:
                data = cache.get_data(path)
                if data is not None:
                    found[path] = data.data
                paths.extend(f"{path}/{name}" for name in cache.get_children(path) or ())
        return found

    def _take(self, event: TreeEvent) -> None:
        if event.event_data is None or event.event_type not in (TreeEvent.NODE_ADDED, TreeEvent.NODE_UPDATED):
            if event.event_type == TreeEvent.NODE_REMOVED:
                self.events.append((event.event_data.path, None))
            return
        path, data = event.event_data.path, event.event_data.data
        kind, *rest = path.removeprefix("/nodepool/").split("/")
        try:
            record = decode(data) if len(rest) == 1 else None
        except ValueError:
            self.complaints.append(f"{path}: {data!r}")
            return
        self.events.append((path, record))
        if kind == "requests":
            found = _request_complaints(rest, record, event.event_data.stat.version)
        else:
            found = _node_complaints(rest, record)
        self.complaints.extend(f"{path}: {complaint}: {data!r}" for complaint in found)


@contextlib.contextmanager
def zuul(place: Place, system: str = SYSTEM, session_timeout: float = 10.0) -> Iterator[Zuul]:
    """A component of a Zuul, connected; its session is closed at the end, and its locks are free then."""
    with zookeeper_client(place, session_timeout) as client:
        yield Zuul(client, system)


def encode(record: Record) -> bytes:
    """As Zuul writes it."""
    return json.dumps(record, sort_keys=True).encode()


def decode(data: bytes) -> Record | None:
    """As Zuul reads it; None for empty data."""
    record: Record | None = json.loads(data) if data else None
    return record


def _completed(request: Record | None) -> bool:
    assert request is not None, "the request is gone, and we did not delete it"
    return request["state"] in ("fulfilled", "failed")


def _request_complaints(rest: list[str], record: Record | None, version: int) -> Iterator[str]:
    if len(rest) > 1:
        yield "a child of a request"
    elif record is not None and (version or str(record.get("requestor")).startswith("NodePool:")):
        yield from (f"no {key}" for key in REQUEST_KEYS if key not in record)
        if "tenant_name" in record and record["tenant_name"] is None:
            yield "tenant_name is null"


def _node_complaints(rest: list[str], record: Record | None) -> Iterator[str]:
    if len(rest) == 1 and record is not None:
        if "state" not in record:
            yield "no state"
        yield from (f"the reserved key {key}" for key in RESERVED_NODE_KEYS & record.keys())
        yield from (f"the key {key}" for key in record if key.startswith("_"))
    elif len(rest) > 1 and rest[1] != "lock":
        yield "a child of a node that is not its lock"
    elif len(rest) > 2 and not CONTENDER.match(rest[2]):
        yield "a name that is not a contender's"
