"""The quickstart's installation: its directory, its ports, its configuration and the three programs in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shlex
import shutil
import signal
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.quickstart.background import Background, QuickstartError
from tools.quickstart.node_server import ADDRESS, NodeServer
from tools.zookeeper import (
    ZooKeeperFailed,
    ZooKeeperMissing,
    configured_port,
    free_port,
    running_pid,
    start_in_background,
    stop_in_background,
)

LABEL = "quickstart"
PREFERRED_PORTS = {"zookeeper": 21810, "ssh": 22022}
LAUNCHER_STOP_SECONDS = 20.0
_MARKER = "quickstart.json"

CONFIGURATION = """\
# Written by tools/quickstart.sh, and again at each start: changes here do not last.
zookeeper-servers:
  - host: {address}
    port: {zookeeper_port}

labels:
  - name: {label}

providers:
  - name: this-host
    driver: static
    pools:
      - name: main
        nodes:
          - name: {address}
            connection-port: {ssh_port}
            username: {username}
            host-key: {host_key}
            labels: [{label}]
            max-parallel-jobs: 2
"""


class Site:
    """Everything the quickstart has, in one directory. Raises :class:`QuickstartError` throughout."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.configuration = directory / "nodepool.yaml"
        self.zookeeper = directory / "zookeeper"
        self.node_server = NodeServer(directory / "sshd")
        self.launcher = Background("nodepool-launcher", directory)
        self.known_hosts = directory / "known_hosts"

    @property
    def exists(self) -> bool:
        """Whether a quickstart was run in this directory."""
        return (self.directory / _MARKER).exists()

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Make the directory if needed and keep other quickstarts out of it."""
        if self.directory.exists() and not self.exists and any(self.directory.iterdir()):
            raise QuickstartError(f"{self.directory} is not empty and not a quickstart's: choose another with --dir")
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.directory / "lock").open("w")
        except OSError as error:
            raise QuickstartError(
                f"{self.directory} cannot be used: {error.strerror}; choose another with --dir"
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise QuickstartError(f"another quickstart is at work in {self.directory}") from None
            if not self.exists:
                self._write_marker({"system_id": uuid.uuid4().hex, "ports": {}})
            yield

    @property
    def system_id(self) -> str:
        """By what the requestor of this directory is known; the same in each run."""
        return str(self._read_marker()["system_id"])

    def port(self, name: str) -> int:
        """The chosen port of ``zookeeper`` or ``ssh``; 0 before one was chosen."""
        return int(self._read_marker()["ports"].get(name, 0))

    def choose_port(self, name: str, wanted: int | None, *, running: bool) -> None:
        """Choose a port: the one of last time, else a preferred one, else any that is free; or just the wanted one."""
        marker = self._read_marker()
        last = marker["ports"].get(name)
        if running:
            if wanted not in (None, last):
                raise QuickstartError(f"{name} runs on port {last}, not {wanted}: end it first with --stop")
            return
        if wanted is not None and not _is_free(wanted):
            raise QuickstartError(f"port {wanted} of {ADDRESS} is taken: choose another with --{name}-port")
        candidates = [wanted] if wanted is not None else [last or PREFERRED_PORTS[name], PREFERRED_PORTS[name]]
        marker["ports"][name] = next(filter(_is_free, candidates), None) or free_port()
        self._write_marker(marker)

    def start_zookeeper(self, wanted_port: int | None) -> str:
        """Start ZooKeeper unless it runs, and say where."""
        self.choose_port("zookeeper", wanted_port, running=bool(running_pid(self.zookeeper)))
        try:
            pid = start_in_background(self.zookeeper, self.port("zookeeper"))
        except (ZooKeeperMissing, ZooKeeperFailed) as error:
            raise QuickstartError(str(error)) from None
        return f"serves on {self.zookeeper_hosts} (process {pid})"

    @property
    def zookeeper_hosts(self) -> str:
        """Where ZooKeeper serves."""
        return f"{ADDRESS}:{configured_port(self.zookeeper)}"

    def start_node_server(self, wanted_port: int | None) -> str:
        """Start sshd unless it runs, and say where."""
        self.choose_port("ssh", wanted_port, running=bool(self.node_server.process.pid()))
        self.node_server.start(self.port("ssh"))
        return f"listens on {ADDRESS}:{self.port('ssh')} (process {self.node_server.process.pid()})"

    def write_configuration(self) -> None:
        """Write ``nodepool.yaml``, unless it is as it should be: the launcher looks again at a file that changed."""
        text = CONFIGURATION.format(
            address=ADDRESS,
            label=LABEL,
            username=self.node_server.username,
            host_key=self.node_server.host_key(),
            ssh_port=self.port("ssh"),
            zookeeper_port=configured_port(self.zookeeper),
        )
        if not self.configuration.exists() or self.configuration.read_text(encoding="utf-8") != text:
            self.configuration.write_text(text, encoding="utf-8")

    def start_launcher(self) -> str:
        """Start the launcher unless it runs, and say where its log is."""
        if not self.launcher.pid():
            self.launcher.start([program("nodepool-launcher"), "-f", "--no-webapp", "-c", self.configuration])
        return f"process {self.launcher.pid()}, log {self.launcher.log}"

    def status(self) -> list[tuple[str, int, str]]:
        """Name, process id (0: does not run) and address or log of each program."""
        return [
            ("ZooKeeper", running_pid(self.zookeeper), f"{ADDRESS}:{self.port('zookeeper')}"),
            ("sshd", self.node_server.process.pid(), f"{ADDRESS}:{self.port('ssh')}"),
            ("nodepool-launcher", self.launcher.pid(), str(self.launcher.log)),
        ]

    def stop(self) -> list[str]:
        """End what runs, the launcher first, and return the names of what ended."""
        ended = {
            "nodepool-launcher": self.launcher.stop(signal.SIGINT, LAUNCHER_STOP_SECONDS),
            "sshd": self.node_server.stop(),
            "ZooKeeper": stop_in_background(self.zookeeper),
        }
        return [name for name, ran in ended.items() if ran]

    def remove(self) -> None:
        """Remove the directory with everything in it. Only after :meth:`stop`."""
        shutil.rmtree(self.directory)

    def _read_marker(self) -> dict[str, Any]:
        marker: dict[str, Any] = json.loads((self.directory / _MARKER).read_text(encoding="utf-8"))
        return marker

    def _write_marker(self, marker: object) -> None:
        # Renamed into place, so that an interrupted run leaves a whole file.
        temporary = self.directory / f"{_MARKER}.new"
        temporary.write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.directory / _MARKER)


def program(name: str) -> Path:
    """Where one of Nodepool's programs is installed."""
    return Path(sys.executable).parent / name


def shown(path: Path) -> str:
    """A path as short as can be for somebody in this directory, quoted for a shell."""
    with contextlib.suppress(ValueError):
        return shlex.quote(str(path.relative_to(Path.cwd())) or ".")
    return shlex.quote(str(path))


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, port))
        except OSError:
            return False
    return True
