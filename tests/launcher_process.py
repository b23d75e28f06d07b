"""A real ``nodepool-launcher`` as a child process, with a configuration of its own.

It dies with the thread that started it, however that ends (PR_SET_PDEATHSIG), so start it from the main thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from tests.sshd import Sshd
from tests.zookeeper import Place, eventually

PROGRAM = Path(sys.executable).parent / "nodepool-launcher"
POOLS = "/nodepool/components/pool"
START_SECONDS = 30.0
STOP_SECONDS = 15.0


class LauncherProcess:
    """One launcher. A context manager: starts on entry and is killed on exit.

    ``directory`` gets ``nodepool.yaml`` and ``launcher.log``. The launcher's tree is ``place``; it connects to
    ``hosts`` if they are given, such as those of a :class:`~tests.zookeeper.Proxy`. ``labels`` are names or whole
    entries; ``settings`` are further keys of the top level of the configuration, with ``_`` for ``-``. ``environment``
    is added to ours. ``program`` is the beginning of the command line.
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
        self.configuration_file = directory / "nodepool.yaml"
        self.log_file = directory / "launcher.log"
        self.place = place
        self._hosts = hosts or place.hosts
        self._debug = debug
        self._program = program
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted_pools: set[tuple[str, str]] = set()
        self.configure(providers=providers, labels=labels, **settings)

    def __enter__(self) -> LauncherProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

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

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None, "the launcher is not started"
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has logged so far, over all starts."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def start(self, *, wait: bool = True) -> None:
        """Start the launcher; with ``wait``, return once all its pools are registered."""
        assert self._process is None, "the launcher is started already"
        with zookeeper_client(self.place) as client:
            before = {name for name, _ in _pools(client)}
            options = ["-d" if self._debug else "-f", "--no-webapp", "-c", str(self.configuration_file)]
            with self.log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", *self._program, *options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env=self._environment,
                )
            if wait:
                self._wait_registered(client, before)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it by a signal, SIGINT in order or SIGTERM at once; return its exit code."""
        process, self._process = self._process, None
        assert process is not None, "the launcher is not started"
        process.send_signal(number)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"not stopped within {STOP_SECONDS} s. Its log ends:\n{self.log[-4000:]}") from None

    def kill(self) -> None:
        """SIGKILL; nothing happens if it has ended."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """SIGSTOP: it does nothing, and its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after :meth:`pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def wait_log(self, text: str) -> None:
        """Wait until ``text`` is in the log."""
        eventually(lambda: text in self.log)

    def _wait_registered(self, client: KazooClient, before: set[str]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            new = [pool for name, pool in _pools(client) if name not in before]
            if self._wanted_pools <= {(pool.get("provider_name"), pool.get("name")) for pool in new}:
                return
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
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
