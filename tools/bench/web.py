"""What the launcher's web server takes: how long lists take while many poll them, and what that costs a hand-over."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from kazoo.client import KazooClient

from tools.bench import requestor
from tools.bench.site import Site, client, cpu_seconds, launcher, wait_for
from tools.bench.web_clients import CLIENTS

NODES, REQUESTS, UPLOADS = 5000, 1000, 200
STOCK = 40
SECONDS = 20.0
_ADDRESS = re.compile(r"The web server is at (\S+)")


def web(place: Site) -> list[str]:
    """50 clients poll all lists of a large site, while nodes are handed over."""
    configuration = place.write_configuration(servers=200, min_ready=STOCK)
    document = json.loads(configuration.read_text())
    configuration.write_text(json.dumps({**document, "webapp": {"port": 0, "listen_address": "127.0.0.1"}}))
    with client(place) as zookeeper:
        _fill(zookeeper)
        with launcher(place, configuration, web=True) as process:
            wait_for(lambda: _stock(zookeeper) >= STOCK, "nodes in stock", 120)
            alone = _hand_overs(zookeeper, SECONDS)
            cpu = cpu_seconds(process.pid)
            address = _ADDRESS.findall((place.directory / "launcher.log").read_text())[-1]
            command = [sys.executable, "-m", "tools.bench.web_clients", address, str(SECONDS)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as clients:
                polled = _hand_overs(zookeeper, SECONDS)
                seen: dict[str, list[float]] = json.loads(clients.communicate()[0])
            cpu = (cpu_seconds(process.pid) - cpu) / SECONDS * 100
    sizes = f"{NODES} nodes, {REQUESTS} requests, {UPLOADS} uploads; {CLIENTS} clients, one question a second each"
    return [
        sizes,
        *(
            f"/{name}: median {_part(times, 0.5):.1f} ms, p95 {_part(times, 0.95):.1f} ms"
            for name, times in seen.items()
        ),
        f"hand-over: median {statistics.median(alone):.1f} ms alone ({len(alone)} times), "
        f"{statistics.median(polled):.1f} ms while polled ({len(polled)} times); launcher {cpu:.0f} % of a core",
    ]


def _hand_overs(zookeeper: KazooClient, seconds: float) -> list[float]:
    """Milliseconds that each of as many hand-overs took as are made in ``seconds``, ten a second."""
    times = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        path, request, took = requestor.ask_and_wait(zookeeper)
        times.append(took * 1000)
        requestor.use(zookeeper, path, request)
        time.sleep(max(0.1 - took, 0.0))
    return times


def _part(times: list[float], share: float) -> float:
    return sorted(times)[int(len(times) * share)]


def _stock(zookeeper: KazooClient) -> int:
    return len(zookeeper.get_children("/nodepool/nodes")) - NODES


def _fill(zookeeper: KazooClient) -> None:
    """Records of others, which the launcher leaves alone."""
    now = time.time()
    node = {
        "state": "in-use", "state_time": now, "provider": "other", "pool": "main", "type": ["jammy"], "az": "nova",
        "public_ipv4": "203.0.113.9", "private_ipv4": "10.0.0.9", "interface_ip": "203.0.113.9", "connection_port": 22,
        "launcher": "nl1.example.org-PoolWorker.other-main-5b0c", "external_id": "6a1f6a1f6a1f6a1f6a1f6a1f6a1f6a1f",
        "hostname": "jammy-1", "user_data": {"zuul_system": "s"}, "host_keys": ["ssh-ed25519 " + "A" * 68] * 3,
        "username": "zuul", "connection_type": "ssh",
    }  # fmt: skip
    request = {**json.loads(requestor.record(3, "jammy")), "state": "fulfilled", "declined_by": ["one", "two"]}
    upload = {"external_name": "jammy-1", "external_id": "77" * 16, "state": "ready", "state_time": now}
    build = {"builder": "nb1", "formats": ["qcow2"], "state": "ready", "state_time": now}
    for path in ("nodes", "requests", "images"):
        zookeeper.ensure_path(f"/nodepool/{path}")
    _create(zookeeper, [(f"/nodepool/nodes/{number:010}", node) for number in range(NODES)])
    _create(zookeeper, [(f"/nodepool/nodes/{number:010}/lock", None) for number in range(NODES)])
    _create(zookeeper, [(f"/nodepool/requests/200-{number:010}", request) for number in range(REQUESTS)])
    for image in range(UPLOADS // 10):
        uploads = f"/nodepool/images/image-{image}/builds/{image:032x}/providers/other/images"
        zookeeper.ensure_path(uploads)
        zookeeper.set(str(Path(uploads).parents[2]), json.dumps(build).encode())
        _create(zookeeper, [(f"{uploads}/{number:010}", upload) for number in range(10)])


def _create(zookeeper: KazooClient, records: list[tuple[str, object]]) -> None:
    for pending in [
        zookeeper.create_async(path, b"" if record is None else json.dumps(record).encode()) for path, record in records
    ]:
        pending.get(60)


MEASURES: dict[str, Callable[[Site], list[str]]] = {"web": web}
