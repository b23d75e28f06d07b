"""The measurements themselves. Each starts what it needs and returns lines for people to read."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from nodepool.zk.mirror import Mirror
from nodepool.zk.session import KazooStore
from nodepool.zk.store import Batch
from tools.bench import requestor
from tools.bench.site import LABEL, PROVIDER, Site, client, cpu_seconds, launcher, wait_for


def hand_over(place: Site, count: int = 300) -> list[str]:
    """From the creation of a request to ``fulfilled``, when a node is ready."""
    stock = 40
    configuration = place.write_configuration(servers=200, min_ready=stock)
    times = []
    with launcher(place, configuration), client(place) as zookeeper:
        wait_for(lambda: _ready(zookeeper) >= stock, "nodes in stock")
        for _ in range(count):
            path, request, seconds = requestor.ask_and_wait(zookeeper)
            times.append(seconds * 1000)
            requestor.use(zookeeper, path, request)
            wait_for(lambda: _ready(zookeeper) >= stock // 2, "nodes in stock")
    times.sort()
    return [
        f"hand-over of a ready node, {count} times: median {statistics.median(times):.1f} ms, "
        f"p99 {times[int(count * 0.99) - 1]:.1f} ms, longest {times[-1]:.1f} ms"
    ]


def burst(place: Site, count: int = 1000) -> list[str]:
    """Many single-node requests at once, launched from a fake cloud without latency."""
    configuration = place.write_configuration(servers=count)
    with launcher(place, configuration) as process, client(place) as zookeeper:
        cpu = cpu_seconds(process.pid)
        done = _Decided(place)
        began = time.perf_counter()
        for pending in [
            zookeeper.create_async("/nodepool/requests/200-", requestor.record(), sequence=True) for _ in range(count)
        ]:
            pending.get(30)
        created = time.perf_counter() - began
        done.wait(count, 120.0)
        seconds = time.perf_counter() - began
        cpu = cpu_seconds(process.pid) - cpu
        done.close()
    return [
        f"{count} single-node requests at once: fulfilled in {seconds:.2f} s, {count / seconds:.0f}/s "
        f"(created in {created:.2f} s); launcher {cpu:.2f} s CPU, {cpu / count * 1000:.1f} ms a node"
    ]


def writes(place: Site) -> list[str]:
    """Write transactions for the life of one request and its node, the requestor's included."""
    configuration = place.write_configuration(servers=10)
    with launcher(place, configuration), client(place) as zookeeper:
        wait_for(lambda: "main" in _pool_names(zookeeper), "the pool")
        path, request, _ = requestor.ask_and_wait(zookeeper)
        requestor.use(zookeeper, path, request)
        wait_for(lambda: not zookeeper.get_children("/nodepool/nodes"), "the node to go")
        wait_for(lambda: not zookeeper.get_children("/nodepool/requests-lock"), "the lock to go")
        before = place.zxid()
        path, request, _ = requestor.ask_and_wait(zookeeper)
        theirs = 1 + requestor.use(zookeeper, path, request)
        wait_for(lambda: not zookeeper.get_children("/nodepool/nodes"), "the node to go")
        wait_for(lambda: not zookeeper.get_children("/nodepool/requests-lock"), "the lock to go")
        total = place.zxid() - before
    return [f"writes from 'requested' to the node's removal: {total} transactions, {theirs} of them the requestor's"]


def idle(place: Site, count: int = 2000, seconds: float = 30.0) -> list[str]:
    """CPU of a launcher with many ready nodes and nothing to do."""
    configuration = place.write_configuration(servers=count * 2)
    with client(place) as zookeeper:
        _fill(zookeeper, count)
    with launcher(place, configuration) as process:
        time.sleep(5)
        cpu, before, began = cpu_seconds(process.pid), place.zxid(), time.monotonic()
        time.sleep(seconds)
        used, elapsed = cpu_seconds(process.pid) - cpu, time.monotonic() - began
        writes_done = place.zxid() - before
    share = used / elapsed * 100
    return [f"idle with {count} ready nodes: {share:.2f} % of a core over {elapsed:.0f} s, {writes_done} writes"]


def mirrors(place: Site, count: int = 10_000) -> list[str]:
    """Loading all nodes into a mirror."""
    with client(place) as zookeeper:
        _fill(zookeeper, count)
    mirror = Mirror()
    loaded = threading.Event()

    def take(batch: Batch) -> None:
        mirror.apply(batch)
        loaded.set()

    store = KazooStore(place.zookeeper.hosts)
    store.start()
    store.wait_connected(20)
    began = time.perf_counter()
    store.feed(["/nodepool/nodes"], take)
    if not loaded.wait(60):
        raise TimeoutError("the mirror was not loaded within 60 s")
    seconds = time.perf_counter() - began
    store.close()
    return [f"mirror of {len(mirror.nodes)} nodes with lock directories: loaded and decoded in {seconds:.2f} s"]


def listing(place: Site, count: int = 10_000, runs: int = 5) -> list[str]:
    """``nodepool list`` of many nodes, the start of the program included."""
    configuration = place.write_configuration(servers=count)
    with client(place) as zookeeper:
        _fill(zookeeper, count)
    command = [sys.executable, "-m", "nodepool.cmd.admin", "-c", str(configuration), "list"]
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        lines = subprocess.run(command, check=True, capture_output=True).stdout.count(b"\n")
        times.append(time.perf_counter() - began)
    return [f"nodepool list of {lines - 4} nodes: median {statistics.median(times):.2f} s of {runs} runs"]


def threads(place: Site, count: int = 1000) -> list[str]:
    """Threads of a launcher while many nodes are being built."""
    configuration = place.write_configuration(servers=count, boot_time=3600)
    with launcher(place, configuration) as process, client(place) as zookeeper:
        for pending in [
            zookeeper.create_async("/nodepool/requests/200-", requestor.record(), sequence=True) for _ in range(count)
        ]:
            pending.get(30)
        wait_for(lambda: len(zookeeper.get_children("/nodepool/nodes")) >= count, "the nodes", 120)
        time.sleep(2)
        number = len(list(Path(f"/proc/{process.pid}/task").iterdir()))
    return [f"threads with {count} nodes building at 1 provider: {number}"]


MEASURES: dict[str, Callable[[Site], list[str]]] = {
    "hand-over": hand_over,
    "burst": burst,
    "writes": writes,
    "idle": idle,
    "mirrors": mirrors,
    "list": listing,
    "threads": threads,
}


class _Decided:
    """Counts requests that are fulfilled, through a feed, so that counting costs little."""

    def __init__(self, place: Site) -> None:
        self._mirror = Mirror()
        self._changed = threading.Condition()
        self._store = KazooStore(place.zookeeper.hosts)
        self._store.start()
        self._store.wait_connected(20)
        self._store.feed(["/nodepool/requests"], self._take)

    def wait(self, count: int, seconds: float) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._fulfilled() >= count, seconds):
                raise TimeoutError(f"{self._fulfilled()} of {count} requests were fulfilled within {seconds:g} s")

    def close(self) -> None:
        self._store.close()

    def _fulfilled(self) -> int:
        return sum(
            entry.record is not None and entry.record.state == "fulfilled" for entry in self._mirror.requests.values()
        )

    def _take(self, batch: Batch) -> None:
        with self._changed:
            self._mirror.apply(batch)
            self._changed.notify()


def _fill(zookeeper: KazooClient, count: int) -> None:
    """Ready nodes that nobody asked for, each with its lock directory."""
    zookeeper.ensure_path("/nodepool/nodes")
    values = {
        "state": "ready", "state_time": time.time(), "created_time": time.time(), "provider": PROVIDER, "pool": "main",
        "type": [LABEL], "allocated_to": None, "interface_ip": "203.0.113.9", "public_ipv4": "203.0.113.9",
        "private_ipv4": "10.0.0.9", "host_keys": ["ssh-ed25519 " + "A" * 68], "username": "zuul", "cloud": "fake",
        "resources": {"instances": 1, "cores": 4, "ram": 8192}, "connection_port": 22, "launcher": "bench",
        "external_id": "6a1f8a5e-0b0a-4c53-9f0e-0d7c6b1f2a11",
    }  # fmt: skip
    data = json.dumps(values).encode()
    for first in range(0, count, 100):
        transaction = zookeeper.transaction()
        for number in range(first, min(first + 100, count)):
            transaction.create(f"/nodepool/nodes/{number:010}", data)
            transaction.create(f"/nodepool/nodes/{number:010}/lock", b"")
        transaction.commit()


def _ready(zookeeper: KazooClient) -> int:
    free = 0
    for node_id in zookeeper.get_children("/nodepool/nodes"):
        with contextlib.suppress(NoNodeError):
            node = json.loads(zookeeper.get(f"/nodepool/nodes/{node_id}")[0])
            free += node["state"] == "ready" and not node["allocated_to"]
    return free


def _pool_names(zookeeper: KazooClient) -> list[str]:
    parent = "/nodepool/components/pool"
    return [json.loads(zookeeper.get(f"{parent}/{name}")[0])["name"] for name in zookeeper.get_children(parent)]
