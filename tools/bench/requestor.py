"""A requestor that does what Zuul does, with plain kazoo: ask, take, use, return."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from kazoo.client import KazooClient

from tools.bench.site import LABEL


def record(count: int = 1, label: str = LABEL) -> bytes:
    """A node request as Zuul writes it."""
    now = time.time()
    values = {
        "requestor_data": {"build_set_uuid": "5d1c", "tenant_name": "acme", "job_name": "unit", "span_info": None},
        "node_types": [label] * count,
        "requestor": "bench",
        "created_time": now,
        "provider": None,
        "state": "requested",
        "state_time": now,
        "relative_priority": 0,
        "event_id": "c0ff",
        "tenant_name": "acme",
    }
    return json.dumps(values).encode()


def ask_and_wait(zookeeper: KazooClient, seconds: float = 30.0) -> tuple[str, dict[str, Any], float]:
    """One request; returns its path, its record when it is decided, and the seconds that this took."""
    decided = threading.Event()
    found: dict[str, Any] = {}
    ended = [0.0]
    began = time.perf_counter()
    path = zookeeper.create("/nodepool/requests/200-", record(), sequence=True)

    def look(_: object = None) -> None:
        # In a thread of kazoo's: only asynchronous calls.
        zookeeper.get_async(path, watch=look).rawlink(seen)

    def seen(result: Any) -> None:
        if result.exception is not None:
            return
        request = json.loads(result.value[0])
        if request["state"] in ("fulfilled", "failed") and not decided.is_set():
            ended[0] = time.perf_counter()
            found.update(request)
            decided.set()

    look()
    if not decided.wait(seconds):
        raise TimeoutError(f"the request {path} was not decided within {seconds:g} s")
    return path, found, ended[0] - began


def use(zookeeper: KazooClient, path: str, request: dict[str, Any]) -> int:
    """Lock the nodes, delete the request, set them in-use and used, unlock; returns the writes that this took."""
    writes = 1
    locks = []
    for node_id in request["nodes"]:
        lock = zookeeper.Lock(f"/nodepool/nodes/{node_id}/lock")
        lock.acquire()
        locks.append((node_id, lock))
    zookeeper.delete(path)
    for node_id, lock in locks:
        for state in ("in-use", "used"):
            data, _ = zookeeper.get(f"/nodepool/nodes/{node_id}")
            values = {**json.loads(data), "state": state, "state_time": time.time()}
            zookeeper.set(f"/nodepool/nodes/{node_id}", json.dumps(values).encode())
        lock.release()
        writes += 4
    return writes
