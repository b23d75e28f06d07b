"""Plays Zuul: asks for a node, uses it and gives it back, all at the wire.

Nothing of Nodepool's code is used here: kazoo, JSON and the ssh program, so that the quickstart shows what any client
sees. The operations and their order are those of Zuul's scheduler and executor.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

from tools.quickstart.background import QuickstartError

POOLS = "/nodepool/components/pool"
REQUESTS = "/nodepool/requests"
NODES = "/nodepool/nodes"
IMAGES = "/nodepool/images/{image}/builds"
NORMAL_PRIORITY = 200
CONNECT_SECONDS = 30.0
SSH_SECONDS = 120.0
"""An emulated machine on a busy host takes its time for the keys of a connection."""
CHECK_SECONDS = 0.5
CLOSE_SECONDS = 20.0

Record = dict[str, Any]
Found = TypeVar("Found")
Watcher = Callable[[object], None]


class Requestor:
    """One client of Nodepool with a ZooKeeper session of its own. Raises :class:`QuickstartError` throughout.

    ``system_id`` is what Zuul writes as ``requestor``. ``check`` is called while waiting and raises when it makes no
    sense to wait any longer. Times are seconds.
    """

    def __init__(self, hosts: str, system_id: str, check: Callable[[], None]) -> None:
        self._zookeeper = KazooClient(hosts)
        self._system_id = system_id
        self._check = check
        self._open_request: str | None = None
        self._lock: Any = None
        try:
            self._zookeeper.start(timeout=CONNECT_SECONDS)
        except KazooTimeoutError:
            raise QuickstartError(f"ZooKeeper at {hosts} does not answer") from None

    def close(self) -> None:
        """Delete a request that is still open and end the session, which frees the lock.

        An interrupt may have come while kazoo held a lock of its own, which nobody frees any more: so not for ever.
        What is left then is deleted by the next run, or goes with the process.
        """
        closing = threading.Thread(target=self._close, name="close", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)

    def _close(self) -> None:
        # A run that was interrupted in the middle of a call ends for that reason and no other.
        with contextlib.suppress(KazooException):
            if self._open_request is not None:
                self.delete_request(self._open_request)
        with contextlib.suppress(KazooException):
            self._zookeeper.stop()
            self._zookeeper.close()

    def delete_leftovers(self) -> int:
        """Delete requests of earlier runs, as Zuul does with requests it no longer knows. Returns their number."""
        records = self._children(REQUESTS)
        own = [name for name, record in records.items() if record.get("requestor") == self._system_id]
        for name in own:
            self.delete_request(name)
        return len(own)

    def wait_for_pool(self, label: str, seconds: float) -> Record:
        """Wait until a pool offers ``label`` (Zuul reads the offered labels there) and return its component."""

        def look(watch: Watcher) -> Record | None:
            pools = self._children(POOLS, watch).values()
            return next((pool for pool in pools if label in pool.get("supported_labels", ())), None)

        return self._wait(look, seconds, f"no pool offers the label {label}")

    def wait_for_ready_node(self, label: str, seconds: float, each: Callable[[], None] = lambda: None) -> str:
        """Wait until a node of ``label`` is ready and belongs to no request; return its id."""

        def look(watch: Watcher) -> str | None:
            nodes = self._children(NODES, watch).items()
            return next((name for name, node in nodes if _is_free(node) and label in node.get("type", ())), None)

        return self._wait(look, seconds, f"there is no ready node of the label {label}", each)

    def wait_until_gone(self, node_id: str, seconds: float) -> None:
        """Wait until a node has no record any more."""

        def look(watch: Watcher) -> bool | None:
            return None if self._zookeeper.exists(f"{NODES}/{node_id}", watch) else True

        self._wait(look, seconds, f"node {node_id} was not deleted")

    def wait_for_upload(self, image: str, provider: str, seconds: float, each: Callable[[], None]) -> Record:
        """Wait until an image is in a provider, and return the record of the upload.

        A build or upload that fails meanwhile is not waited for. ``each`` is called now and then.
        """
        builds, began = IMAGES.format(image=image), time.time()

        def look(watch: Watcher) -> Record | None:
            for build, record in self._children(builds, watch).items():
                uploads = self._children(f"{builds}/{build}/providers/{provider}/images", watch)
                for what in (record, *uploads.values()):
                    if what.get("state") == "failed" and what.get("state_time", 0) > began:
                        raise QuickstartError(f"the image {image} failed: {what.get('error') or 'nobody says why'}")
                if ready := [one for one in uploads.values() if one.get("state") == "ready"]:
                    return ready[0]
            return None

        return self._wait(look, seconds, f"the image {image} was not ready", each)

    def has_failed_builds(self, image: str) -> bool:
        """Whether the builder has tried in vain, and waits for a while now before it tries again."""
        states = {record.get("state") for record in self._children(IMAGES.format(image=image)).values()}
        return "failed" in states and "building" not in states

    def condemn_nodes(self) -> int:
        """Have all nodes deleted that are in no use; the launcher may be away. Returns their number."""
        nodes = {name: node for name, node in self._children(NODES).items() if node.get("state") == "ready"}
        for name, node in nodes.items():
            self._store(name, node | {"state": "deleting"})
        return len(nodes)

    def wait_for_successor(self, node_id: str, node: Record, seconds: float) -> str:
        """Wait until a node is gone and its host and slot are ready as a new one; return the id of that."""

        def look(watch: Watcher) -> str | None:
            nodes = self._children(NODES, watch)
            if node_id in nodes:
                return None
            place = (node["external_id"], node["slot"])
            found = (name for name, new in nodes.items() if (new.get("external_id"), new.get("slot")) == place)
            return next((name for name in found if _is_free(nodes[name])), None)

        return self._wait(look, seconds, f"the host of node {node_id} was not made a new node")

    def submit(self, label: str) -> str:
        """Write a request for one node and return its id."""
        now = time.time()
        trace = uuid.uuid4()
        job_data = {
            "build_set_uuid": uuid.uuid4().hex,
            "tenant_name": "quickstart",
            "pipeline_name": "check",
            "job_uuid": uuid.uuid4().hex,
            "job_name": "quickstart-job",
            "span_info": {"trace_id": trace.int, "span_id": trace.int >> 64},
        }
        record = {
            "requestor_data": job_data,
            "node_types": [label],
            "requestor": self._system_id,
            "created_time": now,
            "provider": None,
            "state": "requested",
            "state_time": now,
            "relative_priority": 0,
            "event_id": uuid.uuid4().hex,
            "tenant_name": "quickstart",
        }
        path = self._zookeeper.create(f"{REQUESTS}/{NORMAL_PRIORITY}-", _encode(record), sequence=True, makepath=True)
        self._open_request = path.rpartition("/")[2]
        return self._open_request

    def wait_for_answer(self, request_id: str, seconds: float) -> Record:
        """Wait until the request is fulfilled and return it."""

        def look(watch: Watcher) -> Record | None:
            try:
                record = _decode(self._zookeeper.get(f"{REQUESTS}/{request_id}", watch)[0])
            except NoNodeError:
                raise QuickstartError(f"request {request_id} is gone, and we did not delete it") from None
            return record if record.get("state") in ("fulfilled", "failed") else None

        request = self._wait(look, seconds, f"request {request_id} was not answered")
        if request["state"] == "failed":
            raise QuickstartError(f"request {request_id} failed, declined by {request.get('declined_by')}")
        return request

    def accept(self, request_id: str, node_id: str) -> Record:
        """Check that the node is ours, lock it, delete the request; return the node's record."""
        node = _decode(self._zookeeper.get(f"{NODES}/{node_id}")[0])
        if node["allocated_to"] != request_id:
            raise QuickstartError(f"node {node_id} is allocated to {node['allocated_to']}, not to {request_id}")
        self._lock = self._zookeeper.Lock(f"{NODES}/{node_id}/lock")
        self._lock.acquire(timeout=30.0)
        self.delete_request(request_id)
        return node

    def set_in_use(self, node_id: str, node: Record) -> Record:
        """Write state ``in-use``, with the whole record as read, as Zuul does; return what was written."""
        user_data = {"zuul_system": self._system_id, "project_name": "example.org/quickstart"}
        return self._store(node_id, node | {"id": node_id, "state": "in-use", "user_data": user_data})

    def give_back(self, node_id: str, node: Record) -> None:
        """Write state ``used``, then unlock."""
        self._store(node_id, node | {"state": "used"})
        self._lock.release()

    def delete_request(self, request_id: str) -> None:
        """Delete a request without lock or children, as Zuul does."""
        with contextlib.suppress(NoNodeError):
            self._zookeeper.delete(f"{REQUESTS}/{request_id}")
        self._open_request = None

    def _store(self, node_id: str, node: Record) -> Record:
        record = node | {"state_time": time.time()}
        self._zookeeper.set(f"{NODES}/{node_id}", _encode(record))
        return record

    def _children(self, path: str, watch: Watcher | None = None) -> dict[str, Record]:
        if not self._zookeeper.exists(path, watch):
            return {}
        records = {}
        for name in sorted(set(self._zookeeper.get_children(path, watch)) - {"lock"}):
            try:
                records[name] = _decode(self._zookeeper.get(f"{path}/{name}", watch)[0])
            except NoNodeError:
                continue
        return records

    def _wait(
        self,
        look: Callable[[Watcher], Found | None],
        seconds: float,
        problem: str,
        each: Callable[[], None] = lambda: None,
    ) -> Found:
        """Look, and again at each change that ZooKeeper tells, until something is found."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            changed = threading.Event()
            found = look(_setter(changed))
            if found is not None:
                return found
            while not changed.wait(CHECK_SECONDS) and time.monotonic() < deadline:
                self._check()
                each()
        raise QuickstartError(f"{problem} within {seconds:.0f} s")


def _setter(event: threading.Event) -> Watcher:
    return lambda _change: event.set()


def log_in(node: Record, identity: Path, known_hosts: Path, command: str) -> str:
    """Run ``command`` on the node, trusting no host key but those in its record; return what it prints."""
    address, port = node["interface_ip"], node["connection_port"]
    host = address if port == 22 else f"[{address}]:{port}"
    known_hosts.write_text("".join(f"{host} {key}\n" for key in node["host_keys"]), encoding="ascii")
    arguments = ssh_command(node, identity, known_hosts)
    try:
        result = subprocess.run(
            [*arguments, command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SSH_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise QuickstartError(f"the login took longer than {SSH_SECONDS:.0f} s: {shlex.join(arguments)}") from None
    if result.returncode:
        raise QuickstartError(f"the login failed (exit code {result.returncode}): {result.stderr.strip()}")
    return result.stdout.strip()


def ssh_command(node: Record, identity: Path, known_hosts: Path) -> list[str]:
    """The ssh command line for a node, without what to run there."""
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": f'"{known_hosts}"',
        "GlobalKnownHostsFile": "none",
    }
    words = [f"-o{name}={value}" for name, value in options.items()]
    target = f"{node['username']}@{node['interface_ip']}"
    return ["ssh", "-F", "none", "-i", str(identity), *words, "-p", str(node["connection_port"]), target]


def _is_free(node: Record) -> bool:
    return node.get("state") == "ready" and not node.get("allocated_to")


def _encode(record: Record) -> bytes:
    return json.dumps(record).encode()


def _decode(data: bytes) -> Record:
    record = json.loads(data) if data else {}
    return record if isinstance(record, dict) else {}
