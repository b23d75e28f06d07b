"""Saved states: an image is booted once, and machines go on from there in a second instead of booting.

.. code-block:: text

   WORKSHOP/SHAPE/disk.qcow2      the disk as it was when the state was saved; overlays of machines lie on it
   WORKSHOP/SHAPE/state           the memory and all devices
   WORKSHOP/SHAPE/template.json   how to log in to a machine that goes on from it, until that is made its own

``SHAPE`` changes with everything that a state depends on, the program of QEMU among it, so that a state is never used
where it does not fit. It is made under another name, and held while it is made.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nodepool.driver.errors import CloudError
from nodepool.driver.local import disk
from nodepool.driver.local.answer import wait_for_host_key, wait_for_server
from nodepool.driver.local.keys import new_key
from nodepool.driver.local.machine import NodePlan, Patience
from nodepool.driver.local.qemu import network, process
from nodepool.driver.local.qemu.command import Machine, Shape, machine_command
from nodepool.driver.local.qemu.login import Access, run
from nodepool.driver.local.qemu.monitor import Monitor

log = logging.getLogger("nodepool.LocalMachines")

STATE = "state"
HOSTNAME = "template"
RETRY = 600.0
"""Seconds for which machines are booted when no state could be saved."""
_ABOUT = "template.json"
_UNFINISHED = ".new-"
_MIGRATION_SPEED = 10_000_000_000
"""Bytes a second: as fast as it goes."""
_SETTLE = 3.0
"""Seconds that a machine is given to come to rest: all that go on from it begin with that rest."""
_PAUSE = 0.1
_OTHERS_PAUSE = 0.5
_LOGIN_TIMEOUT = 120.0
_WARM_UP = """\
date -u; hostname; echo | base64 | base64 -d; id -g; cat /run/sshd.pid
python3 -c 'import json, subprocess' || true
"""
"""What is run before the state is saved, so that programs which are needed at once are in memory then."""

Boot = Callable[[NodePlan], None]
"""Starts a machine from its image."""


@dataclass(frozen=True, slots=True)
class Template:
    """A saved state."""

    directory: Path
    key: str = field(repr=False)
    host_public_key: str

    def access(self, address: str, port: int) -> Access:
        """How to log in to a machine that goes on from the state."""
        return Access(address, port, self.key, self.host_public_key)


class Templates:
    """The saved states of one kind of machines; any thread may use it.

    ``version`` names the program that runs the machines as it is at that moment; ``boot`` starts one.
    """

    def __init__(self, version: Callable[[], str], boot: Boot) -> None:
        self._version = version
        self._boot = boot
        self._failed: dict[Path, float] = {}

    def find(self, plan: NodePlan, shape: Shape) -> Template | None:
        """The state from which a machine can go on, None if there is none."""
        return _read(_place(plan, shape, self._basis(shape)))

    def make(self, plan: NodePlan, shape: Shape, patience: Patience) -> None:
        """Make the state from which a machine can go on, unless there is one. Says so in the log if that fails."""
        basis = self._basis(shape)
        place = _place(plan, shape, basis)
        if time.monotonic() < self._failed.get(place, 0.0):
            return
        with disk.cloud_errors("make the saved state"):
            plan.image.workshop.mkdir(mode=0o700, exist_ok=True)
        while _read(place) is None:
            hold = disk.hold(plan.image.workshop)
            if hold is None:
                patience.pause(_OTHERS_PAUSE)
                continue
            try:
                if _read(place) is None:
                    self._make(plan, place, basis, patience)
            except CloudError as error:
                patience.pause(0)
                log.warning("No state of image %s could be saved, machines are booted: %s", plan.image.id, error)
                self._failed[place] = time.monotonic() + RETRY
                return
            finally:
                hold.release()

    def _basis(self, shape: Shape) -> list[object]:
        """What makes all states of the image useless when it changes."""
        return [self._version(), *(_facts(Path(file)) for file in (shape.kernel, shape.initrd) if file is not None)]

    def _make(self, plan: NodePlan, place: Path, basis: list[object], patience: Patience) -> None:
        """Boot a machine and save its state, and remove those that are out of date. The workshop is held."""
        for left in place.parent.glob(f"{_UNFINISHED}*"):
            _remove(left)
        directory = place.with_name(f"{_UNFINISHED}{uuid.uuid4().hex[:12]}")
        began = time.monotonic()
        log.info("Booting image %s once, for machines to go on from there", plan.image.id)
        try:
            with disk.cloud_errors("save the state of a machine"):
                directory.mkdir(mode=0o700)
                template = self._run(plan, directory, patience)
                about = {"key": template.key, "host_public_key": template.host_public_key, "basis": basis}
                disk.write_json(directory / _ABOUT, about)
                directory.rename(place)
                _remove_outdated(place.parent, basis)
        except CloudError:
            _remove(directory)
            raise
        text = "Image %s: state saved after %.1f s, %d MiB"
        log.info(text, plan.image.id, time.monotonic() - began, (place / STATE).stat().st_size >> 20)

    def _run(self, plan: NodePlan, directory: Path, patience: Patience) -> Template:
        login, host_key = new_key(), new_key()
        address, port = "127.0.0.1", _free_port()
        machine = NodePlan(
            id=f"template-{directory.name.removeprefix(_UNFINISHED)}",
            directory=directory,
            hostname=HOSTNAME,
            image=plan.image,
            cores=plan.cores,
            ram=plan.ram,
            address=address,
            port=port,
            username="root",
            host_key=host_key.private,
            host_public_key=host_key.public,
            authorized_keys=(login.public,),
            network_access=plan.network_access,
        )

        def lives() -> bool:
            return process.holder(directory) is not None and network.runs(directory)

        template = Template(directory, login.private, host_key.public)
        self._boot(machine)
        wait_for_host_key(machine, patience, lives)
        connection = wait_for_server(address, port, patience, lives)
        run(template.access(address, port), _WARM_UP, connection, min(_LOGIN_TIMEOUT, patience.left()))
        patience.pause(_SETTLE)
        _save(directory, patience)
        return template


def _place(plan: NodePlan, shape: Shape, basis: list[object]) -> Path:
    """A directory that is another one for everything on which a state depends."""
    command = machine_command("", Machine(shape, "", "", isolated=False, hostname=""))
    facts = [*basis, command, plan.network_access.value]
    return plan.image.workshop / hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _save(directory: Path, patience: Patience) -> None:
    """Save the state of a running machine and end it."""
    with Monitor(directory) as monitor:
        monitor.ask("stop")
        monitor.ask("migrate-set-parameters", **{"max-bandwidth": _MIGRATION_SPEED})
        descriptor = os.open(directory / STATE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            monitor.ask("getfd", descriptor, fdname=STATE)
        finally:
            os.close(descriptor)
        monitor.ask("migrate", uri=f"fd:{STATE}")
        while (progress := monitor.ask("query-migrate")).get("status") not in ("completed", "failed"):
            patience.pause(_PAUSE)
        if progress["status"] == "failed":
            reason = progress.get("error-desc") or "is the disk full?"
            raise CloudError(f"QEMU could not save the state: {reason}")
        monitor.ask("quit")
    while process.holder(directory) is not None:
        patience.pause(_PAUSE)


def _read(place: Path) -> Template | None:
    about = disk.read_json(place / _ABOUT)
    return None if about is None else Template(place, about["key"], about["host_public_key"])


def _remove(directory: Path) -> None:
    process.end(directory)
    network.end(directory)
    shutil.rmtree(directory, ignore_errors=True)


def _remove_outdated(workshop: Path, basis: list[object]) -> None:
    """Remove the states that rest on something else. Machines that run keep the disk open that they lie on."""
    for place in workshop.iterdir():
        about = disk.read_json(place / _ABOUT)
        if about is not None and about.get("basis") != basis:
            shutil.rmtree(place, ignore_errors=True)


def _facts(file: Path) -> list[int]:
    with contextlib.suppress(OSError):
        facts = file.stat()
        return [facts.st_ino, facts.st_size, facts.st_mtime_ns]
    return []


def _free_port() -> int:
    """A port of the loopback address on which nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
