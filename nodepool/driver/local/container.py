"""The kind ``container``: machines that are namespaces of this host, for hosts where virtual machines are too slow.

A container is an overlay on the unpacked archive of the image, with processes, mounts, network, host name and users of
its own; its first process is the SSH server. Nothing needs root, and root's containers are not root either.

.. code-block:: text

   WORKSHOP/tree               the unpacked image, in the ids of containers
   NODE/container/             the working directory of what runs
   NODE/container/upper        what the machine has changed
   NODE/container/*.process    notes of the processes; see :mod:`nodepool.driver.local.container_process`
   NODE/container/console.log  what the machine's first process says

All mounts are in the machine's own namespace and end with it. Its network is in
:mod:`nodepool.driver.local.container_network`.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from nodepool.driver.errors import CloudError, Rejected
from nodepool.driver.local import container_network, container_problems, disk
from nodepool.driver.local import container_scripts as scripts
from nodepool.driver.local.container_files import archive_for
from nodepool.driver.local.container_ids import Ids, ids_of_this_process
from nodepool.driver.local.container_process import NotedProcess, command_lines, noted, running
from nodepool.driver.local.container_run import Conversation, Surroundings, last_words, remove_tree, run_inside
from nodepool.driver.local.machine import (
    Image,
    MachineKind,
    MachineState,
    NetworkAccess,
    NodePlan,
    Patience,
    Remains,
)

NOTE = "machine.process"
CONSOLE = "console.log"
_PLACE = "container"
_TREE = "tree"
_NEW = "new-"
_LOCK = "lock"
_UNPACK = "tar --extract --numeric-owner --exclude=./dev --exclude=./proc --exclude=./sys"
_CONSOLE_BYTES = 1 << 16
_ENDING = 10.0
"""Seconds in which all processes of a machine must be gone when its first one was killed."""
_STARTS_PER_CORE = 2


class ContainerKind(MachineKind):
    """Machines as namespaces of this host."""

    name = "container"
    disk_format = "tar"

    def __init__(self, state_directory: Path) -> None:
        self._nodes = state_directory / "nodes"
        self.parallel_starts = _STARTS_PER_CORE * (os.cpu_count() or 1)
        self._works = False

    def problems(self) -> Sequence[str]:
        """Missing programs, ids, or rights; found out by making a small container."""
        if self._works:
            return ()
        found = container_problems.look(self._nodes)
        self._works = not found
        return found

    def check_content(self, content: Path, disk_format: str) -> None:
        """It must be an archive with an SSH server in it."""
        if disk_format != self.disk_format:
            raise Rejected(f"containers are made of the format tar, not of {disk_format}")
        command = ["tar", "--list", "--occurrence=1", "--file", str(content), "./usr/sbin/sshd"]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if result.returncode:
            raise Rejected(f"{content} is no archive of a system with an SSH server: {result.stderr.strip()}")

    def prepare(self, plan: NodePlan, patience: Patience) -> None:
        """Unpack the image unless somebody has; takes seconds."""
        with disk.cloud_errors(f"unpack the image {plan.image.id}"):
            _unpack(plan.image, ids_of_this_process(), patience)

    def start(self, plan: NodePlan, patience: Patience) -> None:
        """Start the machine's processes; takes a tenth of a second."""
        ids = ids_of_this_process()
        with disk.cloud_errors(f"start {plan.id}"):
            tree = plan.image.workshop / _TREE
            archive = archive_for(plan, tree)
            place = plan.directory / _PLACE
            for path in (place, *(place / name for name in ("lower", "upper", "work", "root"))):
                path.mkdir(mode=0o755 if path.name == "upper" else 0o700)
                os.chown(path, ids.owner, ids.owner_group)
            ended, end = os.pipe()
            try:
                pid = _start_processes(plan, place, tree, ids, archive, end, patience)
                container_network.connect(plan, place, pid, ids, ended, patience)
            finally:
                os.close(archive)
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
        """End its processes; what they had mounted ends with them. Then remove what it wrote."""
        place = directory / _PLACE
        machine = noted(place / NOTE)
        if machine is not None:
            _end(machine)
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
        """Remove the unpacked image, which may be in ids that are not this user's."""
        if workshop.is_dir():
            with disk.alone(workshop / _LOCK):
                _remove_unfinished(workshop)
                remove_tree(workshop / _TREE)

    def remains(self, directories: frozenset[Path]) -> Sequence[Remains]:
        """Outer processes of containers below this provider's directory."""
        found = []
        for pid, words in command_lines():
            if scripts.MARK in words[:-1] and words[0].endswith("unshare"):
                directory = Path(words[words.index(scripts.MARK) + 1])
                if directory.parent == self._nodes and directory not in directories:
                    process = running(pid)
                    found.append(Remains(f"{process.pid} {process.started}"))
        return found

    def remove(self, remains: Remains) -> None:
        """End such a process and all that is in its container."""
        pid, _, started = remains.id.partition(" ")
        _end(NotedProcess(int(pid), started))


def _unpack(image: Image, ids: Ids, patience: Patience) -> None:
    """Make the image's tree; whoever comes first does."""
    tree = image.workshop / _TREE
    image.workshop.mkdir(parents=True, exist_ok=True)
    with open(image.workshop / _LOCK, "a", encoding="ascii") as lock:
        while not _locked(lock.fileno()):
            patience.pause(0.1)
        if not tree.is_dir():
            _remove_unfinished(image.workshop)
            new = image.workshop / f"{_NEW}{uuid.uuid4().hex}"
            new.mkdir()
            os.chown(new, ids.owner, ids.owner_group)
            # What unpacks keeps the lock, too: it may outlive this process, and nobody must meddle with it then.
            run_inside(ids, _UNPACK, new, image.content, patience, (lock.fileno(),))
            new.rename(tree)


def _remove_unfinished(workshop: Path) -> None:
    """Remove what others left who were killed at unpacking. The caller has the lock."""
    for path in workshop.glob(f"{_NEW}*"):
        remove_tree(path)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start_processes(
    plan: NodePlan, place: Path, tree: Path, ids: Ids, archive: int, end: int, patience: Patience
) -> int:
    """Start the machine and wait until its SSH server is due; returns its outer process."""
    variables = {
        "DIRECTORY": str(plan.directory.absolute()),
        "NAME": plan.hostname,
        "NAMESPACES": scripts.NAMESPACES,
        "NOTE": NOTE,
        "INSIDE": scripts.INSIDE,
        "OWNER": str(ids.owner),
        "OWNER_GROUP": str(ids.owner_group),
        "SECOND": scripts.BIND_AND_DROP,
        "TREE": str(tree.absolute()),
        "WITHOUT": "-net_admin,-net_raw" if plan.network_access is NetworkAccess.NONE else "",
    }
    first = scripts.AS_ROOT if ids.are_roots else scripts.AS_USER
    with open(place / CONSOLE, "w+b") as console:
        surroundings = Surroundings(place, variables, archive, console, (end,))
        with Conversation(["setsid", "--fork", "sh", "-c", first], surroundings, patience) as conversation:
            pid = conversation.assign(ids)
            if not pid or conversation.line() != "ready":
                raise CloudError(f"the container {plan.id} did not start: {last_words(console)}")
    return pid


def _end(machine: NotedProcess) -> None:
    """End a container. Its first process goes first: when the system has let that go, all others have gone."""
    if machine.runs():
        for child in machine.children():
            child.end()
        machine.wait(_ENDING)
    if not machine.end():
        raise CloudError(f"process {machine.pid} (a container) does not end")
