"""A real ``nodepool-launcher`` as a child process, with a configuration of its own."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from tests.daemon_process import DaemonProcess
from tests.sshd import Sshd
from tests.zookeeper import Place

PROGRAM = Path(sys.executable).parent / "nodepool-launcher"
POOLS = "/nodepool/components/pool"
START_SECONDS = 30.0


class LauncherProcess(DaemonProcess):
    """One launcher. A context manager: starts on entry and is killed on exit.

    ``directory`` gets ``nodepool.yaml`` and ``launcher.log``. The launcher's tree is ``place``; it connects to
    ``hosts`` if they are given, such as those of a :class:`~tests.zookeeper.Proxy`. ``labels`` are names or whole
    entries; ``settings`` are further keys of the top level of the configuration, with ``_`` for ``-``. ``environment``
    is added to ours. ``program`` is the beginning of the command line. Without the setting ``webapp`` there is no web
    server.
    """

    def __init__(
        self,
        directory: Path,
        place: Place,
        *,
        providers: Sequence[Mapping[str, Any]],
        labels: Sequence[str | Mapping[str, Any]],
        hosts: str | None = None,
        debug: bool = False,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = (str(PROGRAM),),
        **settings: Any,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory / "launcher.log", environment)
        self.configuration_file = directory / "nodepool.yaml"
        self.place = place
        self._hosts = hosts or place.hosts
        self._debug = debug
        self._program = program
        self._has_web = "webapp" in settings
        self._wanted_pools: set[tuple[str, str]] = set()
        self.configure(providers=providers, labels=labels, **settings)

    def __enter__(self) -> LauncherProcess:
        self.start()
        return self

    def configure(
        self, *, providers: Sequence[Mapping[str, Any]], labels: Sequence[str | Mapping[str, Any]], **settings: Any
    ) -> None:
        """Write the configuration; a launcher that runs takes it over by itself."""
        servers = [server.rsplit(":", 1) for server in self._hosts.split(",")]
        document = {
            "zookeeper-servers": [
                {"host": host, "port": int(port), "chroot": self.place.chroot} for host, port in servers
            ],
            "labels": [{"name": label} if isinstance(label, str) else dict(label) for label in labels],
            "providers": list(providers),
            **_dashed(settings),
        }
        self._wanted_pools = {(provider["name"], pool["name"]) for provider in providers for pool in provider["pools"]}
        # Renamed into place: the launcher must never read half a file.
        written = self.configuration_file.with_suffix(".new")
        written.write_text(yaml.safe_dump(document), encoding="utf-8")
        written.replace(self.configuration_file)

    def start(self, *, wait: bool = True) -> None:
        """Start the launcher; with ``wait``, return once all its pools are registered."""
        with zookeeper_client(self.place) as client:
            before = {name for name, _ in _pools(client)}
            options = ["-d" if self._debug else "-f", "-c", str(self.configuration_file)]
            self._run([*self._program, *options, *([] if self._has_web else ["--no-webapp"])])
            if wait:
                self._wait_registered(client, before)

    def _wait_registered(self, client: KazooClient, before: set[str]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            new = [pool for name, pool in _pools(client) if name not in before]
            if self._wanted_pools <= {(pool.get("provider_name"), pool.get("name")) for pool in new}:
                return
            if self._running().poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the launcher did not register its pools. Its log ends:\n{self.log[-4000:]}")
            time.sleep(0.01)


@contextlib.contextmanager
def zookeeper_client(place: Place, session_timeout: float = 10.0) -> Iterator[KazooClient]:
    """A started kazoo client whose root is a place, which it makes; closed at the end."""
    client = KazooClient(place.hosts, timeout=session_timeout)
    client.start(timeout=START_SECONDS)
    try:
        client.ensure_path(place.chroot)
        client.chroot = place.chroot
        yield client
    finally:
        client.stop()
        client.close()


def static_provider(name: str, sshd: Sshd, labels: Sequence[str], slots: int = 1, **pool: Any) -> dict[str, Any]:
    """A provider with one pool ``main`` and one host, which is ``sshd``.

    ``pool`` are further keys of the pool, with ``_`` for ``-``.
    """
    host = {
        "name": sshd.address,
        "connection-port": sshd.port,
        "labels": list(labels),
        "username": name,
        "max-parallel-jobs": slots,
    }
    return {"name": name, "driver": "static", "pools": [{"name": "main", "nodes": [host], **_dashed(pool)}]}


def fake_provider(name: str, labels: Sequence[str], *, fake: Mapping[str, Any] | None = None, **pool: Any) -> Any:
    """A provider of the fake driver with one pool ``main``; ``name`` begins with "fake".

    ``fake`` says how the cloud behaves; ``pool`` are further keys of the pool, with ``_`` for ``-``. Each node has 4
    cores and 8192 MiB.
    """
    entries = [{"name": label, "cloud-image": "image", "min-ram": 1} for label in labels]
    return {
        "name": name,
        "driver": "fake",
        "cloud-images": [{"name": "image", "username": "debian"}],
        "fake": dict(fake or {}),
        "pools": [{"name": "main", "labels": entries, **_dashed(pool)}],
    }


def _dashed(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in keys.items()}


def _pools(client: KazooClient) -> list[tuple[str, dict[str, Any]]]:
    """Names and records of the registered pools; what cannot be read is none."""
    found = []
    with contextlib.suppress(NoNodeError):
        for name in client.get_children(POOLS):
            with contextlib.suppress(NoNodeError, ValueError):
                record = json.loads(client.get(f"{POOLS}/{name}")[0])
                if isinstance(record, dict):
                    found.append((name, record))
    return found
