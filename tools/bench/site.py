"""What a benchmark runs against: a ZooKeeper of its own, and a launcher with a fake cloud."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient

from tools.zookeeper import LocalZooKeeper, ask

LABEL = "bench"
PROVIDER = "fake-bench"


@dataclass(frozen=True, slots=True)
class Site:
    """A running ZooKeeper and a place for files."""

    directory: Path
    zookeeper: LocalZooKeeper
    durable: bool

    @property
    def port(self) -> int:
        """ZooKeeper's client port."""
        return int(self.zookeeper.hosts.rpartition(":")[2])

    def zxid(self) -> int:
        """Number of the last write transaction; each transaction counts once."""
        lines = ask(self.port, b"srvr").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("Zxid")), 16)

    def requests(self) -> int:
        """How many requests ZooKeeper has got from all its clients."""
        lines = ask(self.port, b"mntr", 2.0).splitlines()
        return int(next(line.split("\t")[1] for line in lines if line.startswith("zk_packets_received\t")))

    def write_configuration(self, *, servers: int, min_ready: int = 0, boot_time: float = 0.0) -> Path:
        """A nodepool.yaml with one fake cloud."""
        path = self.directory / "nodepool.yaml"
        pool = {
            "name": "main",
            "max-servers": servers,
            "labels": [{"name": LABEL, "cloud-image": "image", "min-ram": 1}],
        }
        quota = {"instances": servers, "cores": servers * 100, "ram": servers * 100_000}
        provider = {
            "name": PROVIDER,
            "driver": "fake",
            "cloud-images": [{"name": "image"}],
            "fake": {"boot-time": boot_time, "latency": 0, **quota},
            "pools": [pool],
        }
        configuration = {
            "zookeeper-servers": [{"host": "127.0.0.1", "port": self.port}],
            "labels": [{"name": LABEL, "min-ready": min_ready}],
            "providers": [provider],
        }
        path.write_text(json.dumps(configuration))
        return path


@contextlib.contextmanager
def site(*, durable: bool) -> Iterator[Site]:
    """A ZooKeeper that lives as long as the block."""
    with tempfile.TemporaryDirectory(prefix="nodepool-bench-") as name:
        directory = Path(name)
        server = LocalZooKeeper(directory / "zookeeper", durable=durable)
        server.start()
        try:
            yield Site(directory, server, durable)
        finally:
            server.kill()


@contextlib.contextmanager
def launcher(place: Site, configuration: Path, *, web: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """A launcher process whose pool is registered, with a web server or without."""
    command = [sys.executable, "-m", "nodepool.cmd.launcher", "-f", "-c", str(configuration)]
    command += [] if web else ["--no-webapp"]
    with open(place.directory / "launcher.log", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with client(place) as zookeeper:
            wait_for(lambda: bool(_children(zookeeper, "/nodepool/components/pool")), "the pool to be registered")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@contextlib.contextmanager
def client(place: Site) -> Iterator[KazooClient]:
    """A plain kazoo client."""
    zookeeper = KazooClient(place.zookeeper.hosts, timeout=20)
    zookeeper.start()
    try:
        yield zookeeper
    finally:
        zookeeper.stop()
        zookeeper.close()


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    """Look every 10 ms until ``condition`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.01)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _children(zookeeper: KazooClient, path: str) -> list[str]:
    return list(zookeeper.get_children(path)) if zookeeper.exists(path) else []
