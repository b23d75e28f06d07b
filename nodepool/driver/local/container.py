"""The kind ``container``: machines that are namespaces of this host, for hosts where virtual machines are too slow.

A container is an overlay on the unpacked archive of the image, with processes, mounts, network, host name and users of
its own; its first process is the SSH server. Nothing needs root, and root's containers are not root either. They are
made with rootless podman where that is installed and works, else with the system's own tools.

.. code-block:: text

   NODE/container/             the working directory of what runs
   NODE/container/*.process    notes of the processes; see :mod:`nodepool.driver.local.container_process`
   NODE/container/console.log  what the machine's first process says

The machine's network is in :mod:`nodepool.driver.local.container_network`, however it is made.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nodepool.driver.errors import CloudError, Rejected
from nodepool.driver.local import container_network, container_podman, container_tree, disk
from nodepool.driver.local.container_engine import CONSOLE, NOTE, Beginning, Engine
from nodepool.driver.local.container_ids import ids_of, ids_of_this_process
from nodepool.driver.local.container_namespaces import Namespaces
from nodepool.driver.local.container_podman import Podman
from nodepool.driver.local.container_process import noted
from nodepool.driver.local.container_run import remove_tree
from nodepool.driver.local.machine import Image, MachineKind, MachineState, NodePlan, Patience, Remains

log = logging.getLogger("nodepool.LocalMachines")

_PLACE = "container"
_CONSOLE_BYTES = 1 << 16
_STARTS_PER_CORE = 2


class ContainerKind(MachineKind):
    """Machines as namespaces of this host."""

    name = "container"
    disk_format = "tar"
    copies = 2

    def __init__(self, state_directory: Path) -> None:
        self._nodes = state_directory / "nodes"
        self.parallel_starts = _STARTS_PER_CORE * (os.cpu_count() or 1)
        # Podman ends its own first: it must not find them ended.
        self._engines: tuple[Engine, ...] = (Podman(self._nodes), Namespaces(self._nodes))
        self.engine: Engine | None = None
        """How machines are made here; None until it is known."""

    def problems(self) -> Sequence[str]:
        """Missing programs, ids, or rights; found out by making a small container, until that works."""
        found: list[str] = []
        for engine in self._candidates() if self.engine is None else ():
            found = engine.problems()
            if not found:
                self.engine = engine
                held = "enforced" if engine.limits else "only counted, as this user may make no control groups"
                text = "Containers in %s are made with %s; their cores and ram are %s"
                log.info(text, self._nodes, engine.name, held)
                break
            log.info("%s cannot be used for containers: %s", engine.name, " ".join(found))
        return found

    def check_content(self, content: Path, disk_format: str) -> None:
        """It must be an archive with an SSH server in it."""
        if disk_format != self.disk_format:
            raise Rejected(f"containers are made of the format tar, not of {disk_format}")
        command = ["tar", "--list", "--occurrence=1", "--file", str(content), "./usr/sbin/sshd"]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if result.returncode:
            raise Rejected(f"{content} is no archive of a system with an SSH server: {result.stderr.strip()}")

    def unpack(self, image: Image, user: int, patience: Patience) -> None:
        """Make the image's tree unless there is one; takes seconds."""
        with disk.cloud_errors(f"unpack the image {image.id}"):
            container_tree.unpack(image, ids_of(user), patience)

    def prepare(self, plan: NodePlan, patience: Patience) -> None:
        """See to it that there is a tree: nobody has unpacked an image that was not uploaded."""
        self.unpack(plan.image, os.geteuid(), patience)

    def start(self, plan: NodePlan, patience: Patience) -> None:
        """Start the machine's processes; takes some tenths of a second."""
        ids = ids_of_this_process()
        engine = self._working()
        with disk.cloud_errors(f"start {plan.id}"):
            place = plan.directory / _PLACE
            place.mkdir(mode=0o700)
            os.chown(place, ids.owner, ids.owner_group)
            tree = plan.image.workshop / container_tree.TREE
            ended, end = os.pipe()
            try:
                name = engine.prefix + plan.directory.name
                pid = engine.start(Beginning(plan, name, place, tree, ids, end, patience))
                container_network.connect(plan, place, pid, ids, ended, patience)
            finally:
                os.close(ended)
                os.close(end)

    def state(self, directory: Path) -> MachineState:
        """By the notes of its processes. A machine without its network is no machine."""
        machine = noted(directory / _PLACE / NOTE)
        if machine is None:
            return MachineState.ABSENT
        network = noted(directory / _PLACE / container_network.NOTE)
        alive = machine.runs() and (network is None or network.runs())
        return MachineState.RUNNING if alive else MachineState.DEAD

    def destroy(self, directory: Path) -> None:
        """End its processes, and remove what it wrote."""
        place = directory / _PLACE
        for engine in self._engines:
            engine.end(place)
        network = noted(place / container_network.NOTE)
        if network is not None and not network.end():
            raise CloudError(f"process {network.pid} (slirp4netns) does not end")
        remove_tree(place)

    def console(self, directory: Path) -> str | None:
        """What the machine's first process has said."""
        try:
            with open(directory / _PLACE / CONSOLE, "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _CONSOLE_BYTES))
                return file.read().decode("utf-8", "replace") or None
        except OSError:
            return None

    def clear(self, workshop: Path) -> None:
        """Remove the unpacked image."""
        container_tree.clear(workshop)

    def remains(self, directories: frozenset[Path]) -> Sequence[Remains]:
        """Containers of this provider's directory, however they were made, and what is left of such."""
        names = {directory.name for directory in directories if directory.parent == self._nodes}
        return [
            remains for engine in self._engines for remains in engine.remains({engine.prefix + name for name in names})
        ]

    def remove(self, remains: Remains) -> None:
        """End such a container and all that is in it."""
        for engine in self._engines:
            if engine.remove(remains):
                return

    # Inside

    def _candidates(self) -> Sequence[Engine]:
        podman, namespaces = self._engines
        wanted = os.geteuid() != 0 and container_podman.is_installed()
        return (podman, namespaces) if wanted else (namespaces,)

    def _working(self) -> Engine:
        problems = self.problems()
        if self.engine is None:
            raise CloudError(f"no container can be made on this host: {' '.join(problems)}")
        return self.engine
