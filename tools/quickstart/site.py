"""The quickstart's installation: its directory, its ports, its configuration and the programs in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.quickstart.background import Background, QuickstartError, program
from tools.quickstart.node_server import ADDRESS
from tools.zookeeper import (
    ZooKeeperFailed,
    ZooKeeperMissing,
    configured_port,
    free_port,
    running_pid,
    start_in_background,
    stop_in_background,
)

PREFERRED_PORTS = {"zookeeper": 21810, "ssh": 22022}
LAUNCHER_STOP_SECONDS = 20.0
_MARKER = "quickstart.json"

_CONFIGURATION = """\
# Written by tools/quickstart.sh, and again at each start: changes here do not last.
zookeeper-servers:
  - host: {address}
    port: {zookeeper_port}

{rest}"""


class Site:
    """Everything that a quickstart of any kind has, in one directory. Raises :class:`QuickstartError` throughout."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.configuration = directory / "nodepool.yaml"
        self.zookeeper = directory / "zookeeper"
        self.launcher = Background("nodepool-launcher", directory)
        self.known_hosts = directory / "known_hosts"

    @property
    def exists(self) -> bool:
        """Whether a quickstart was run in this directory."""
        return (self.directory / _MARKER).exists()

    def check_directory(self) -> None:
        """Raise if the directory cannot be a quickstart's; it need not be there."""
        place = next(path for path in (self.directory, *self.directory.parents) if path.exists())
        if not place.is_dir():
            raise QuickstartError(f"{place} is not a directory: choose another with --dir")
        if not os.access(place, os.W_OK | os.X_OK):
            raise QuickstartError(f"{place} may not be written to by this user: choose another directory with --dir")
        if place == self.directory and not self.exists and any(self.directory.iterdir()):
            raise QuickstartError(f"{self.directory} is not empty and not a quickstart's: choose another with --dir")

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Make the directory if needed and keep other quickstarts out of it."""
        self.check_directory()
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
                raise QuickstartError(
                    f"another quickstart is at work in {self.directory}: await its end, or interrupt it"
                ) from None
            if not self.exists:
                self._write_marker({"system_id": uuid.uuid4().hex, "kind": None, "ports": {}})
            yield

    @property
    def system_id(self) -> str:
        """By what the requestor of this directory is known; the same in each run."""
        return str(self._read_marker()["system_id"])

    @property
    def kind(self) -> str | None:
        """The kind of the last run, None before the first. Before there were kinds, there was ``static``."""
        kind = self._read_marker().get("kind", "static") if self.exists else None
        return str(kind) if kind else None

    @property
    def image(self) -> Path | None:
        """The image that was named in the last run; None: one is built."""
        image = self._read_marker().get("image") if self.exists else None
        return Path(image) if image else None

    def choose(self, kind: str, image: Path | None, machines_port: int | None) -> None:
        """Note what this run is of. Raises if what still runs is of another kind, or another image."""
        if (kind, image) != (self.kind, self.image) and (self.launcher.pid() or running_pid(self.zookeeper)):
            using = f" with the image {self.image}" if self.image else ""
            raise QuickstartError(f"the kind {self.kind}{using} runs in {self.directory}: end it first with --stop")
        marker = self._read_marker() | {"kind": kind, "image": str(image) if image else None}
        if machines_port:
            marker["ports"]["machines"] = machines_port
        self._write_marker(marker)

    def port(self, name: str) -> int:
        """The chosen port of ``zookeeper``, ``ssh`` or ``machines``; 0 if none was chosen."""
        return int(self._read_marker()["ports"].get(name, 0))

    def choose_port(self, name: str, wanted: int | None, *, running: bool) -> int:
        """Choose a port: the one of last time, else a preferred one, else any that is free; or just the wanted one."""
        marker = self._read_marker()
        last = marker["ports"].get(name)
        if running:
            if wanted not in (None, last):
                raise QuickstartError(f"{name} runs on port {last}, not {wanted}: end it first with --stop")
            return int(last)
        if wanted is not None and not _is_free(wanted):
            raise QuickstartError(f"port {wanted} of {ADDRESS} is taken: choose another with --{name}-port")
        candidates = [wanted] if wanted is not None else [last or PREFERRED_PORTS[name], PREFERRED_PORTS[name]]
        marker["ports"][name] = next(filter(_is_free, candidates), None) or free_port()
        self._write_marker(marker)
        return int(marker["ports"][name])

    def start_zookeeper(self, wanted_port: int | None) -> str:
        """Start ZooKeeper unless it runs, and say where."""
        for wanted in (wanted_port, wanted_port or free_port()):
            self.choose_port("zookeeper", wanted, running=self.zookeeper_runs)
            try:
                pid = start_in_background(self.zookeeper, self.port("zookeeper"))
            except ZooKeeperMissing as error:
                raise QuickstartError(str(error)) from None
            except ZooKeeperFailed as error:
                # Somebody else, such as another quickstart, may have taken the port in this moment.
                if "Address already in use" in str(error) and wanted is None:
                    continue
                raise QuickstartError(str(error)) from None
            return f"serves on {self.zookeeper_hosts} (process {pid})"
        raise AssertionError("the second port was wanted")

    @property
    def zookeeper_runs(self) -> bool:
        """Whether ZooKeeper runs."""
        return bool(running_pid(self.zookeeper))

    @property
    def zookeeper_hosts(self) -> str:
        """Where ZooKeeper serves."""
        return f"{ADDRESS}:{configured_port(self.zookeeper)}"

    def write_configuration(self, rest: str) -> None:
        """Write ``nodepool.yaml``, unless it is as it should be: the daemons look again at a file that changed."""
        text = _CONFIGURATION.format(address=ADDRESS, zookeeper_port=configured_port(self.zookeeper), rest=rest)
        if not self.configuration.exists() or self.configuration.read_text(encoding="utf-8") != text:
            self.configuration.write_text(text, encoding="utf-8")

    def start_launcher(self) -> str:
        """Start the launcher unless it runs, and say where its log is."""
        if not self.launcher.pid():
            self.launcher.start([program("nodepool-launcher"), "-f", "--no-webapp", "-c", self.configuration])
        return f"process {self.launcher.pid()}, log {self.launcher.log}"

    def stop_launcher(self) -> list[str]:
        """End the launcher; its name if it ran."""
        ran = self.launcher.stop(signal.SIGINT, LAUNCHER_STOP_SECONDS)
        return [self.launcher.name] if ran else []

    def stop_zookeeper(self) -> list[str]:
        """End ZooKeeper; its name if it ran."""
        return ["ZooKeeper"] if stop_in_background(self.zookeeper) else []

    def status(self, others: tuple[Background, ...]) -> list[tuple[str, int, str]]:
        """Name, process id (0: does not run) and address or log of each program."""
        daemons = [(one.name, one.pid(), str(one.log)) for one in (*others, self.launcher)]
        return [("ZooKeeper", running_pid(self.zookeeper), f"{ADDRESS}:{self.port('zookeeper')}"), *daemons]

    def remove(self) -> None:
        """Remove the directory with everything in it. Only after everything was stopped."""
        shutil.rmtree(self.directory)

    def _read_marker(self) -> dict[str, Any]:
        marker: dict[str, Any] = json.loads((self.directory / _MARKER).read_text(encoding="utf-8"))
        return marker

    def _write_marker(self, marker: object) -> None:
        # Renamed into place, so that an interrupted run leaves a whole file.
        temporary = self.directory / f"{_MARKER}.new"
        temporary.write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.directory / _MARKER)


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, port))
        except OSError:
            return False
    return True
