"""Containers made with nothing but the system's own tools: ``unshare`` and a few mounts.

Works for root, and for whoever may make user namespaces.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from nodepool.driver.errors import CloudError
from nodepool.driver.local import container_limits as limits
from nodepool.driver.local import container_problems
from nodepool.driver.local import container_scripts as scripts
from nodepool.driver.local.container_engine import CONSOLE, NOTE, Beginning, Engine
from nodepool.driver.local.container_files import archive_for
from nodepool.driver.local.container_process import NotedProcess, command_lines, noted, running
from nodepool.driver.local.container_run import Conversation, Surroundings, last_words
from nodepool.driver.local.container_tree import make_layers
from nodepool.driver.local.machine import NetworkAccess, Remains

_ENDING = 10.0
"""Seconds in which all processes of a machine must be gone when its first one was killed."""
_GROUP = "group:"
"""How the id of a left-over control group begins; others are of processes."""


class Namespaces(Engine):
    """See the module's description."""

    name = "unshare"

    def __init__(self, nodes: Path) -> None:
        super().__init__(nodes)
        self._groups = limits.find_places()
        self.limits = bool(self._groups)

    def problems(self) -> list[str]:
        """Missing programs, ids, or rights."""
        return container_problems.look(self.nodes)

    def start(self, beginning: Beginning) -> int:
        """Start the processes; takes a tenth of a second. Returns the outer one, which is in the machine's network."""
        plan, place, ids = beginning.plan, beginning.place, beginning.ids
        make_layers(place, ids)
        limits.make(place / limits.NOTE, [group / beginning.name for group in self._groups], plan.cores, plan.ram)
        archive = archive_for(plan, beginning.tree)
        try:
            return _start(beginning, archive)
        finally:
            os.close(archive)

    def end(self, place: Path) -> None:
        """End its processes; what they had mounted ends with them."""
        machine = noted(place / NOTE)
        if machine is not None:
            end_with_first_process(machine)
        limits.remove(place / limits.NOTE)

    def remains(self, known: Collection[str]) -> Sequence[Remains]:
        """Outer processes of containers, and control groups."""
        found = []
        for pid, words in command_lines():
            if scripts.MARK in words[:-1] and words[0].endswith("unshare"):
                directory = Path(words[words.index(scripts.MARK) + 1])
                if directory.parent == self.nodes and f"{self.prefix}{directory.name}" not in known:
                    process = running(pid)
                    found.append(Remains(f"{process.pid} {process.started}"))
        groups = limits.strangers(self._groups, self.prefix, known)
        return found + [Remains(f"{_GROUP}{group}") for group in groups]

    def remove(self, remains: Remains) -> bool:
        """End such a process and all that is in its container, or remove an empty group."""
        if remains.id.startswith(_GROUP):
            limits.remove_group(Path(remains.id.removeprefix(_GROUP)))
            return True
        pid, _, started = remains.id.partition(" ")
        if pid.isdecimal():
            end_with_first_process(NotedProcess(int(pid), started))
        return pid.isdecimal()


def end_with_first_process(machine: NotedProcess) -> None:
    """End a container, given its outer process. Raises CloudError if it does not end.

    Its first process goes first: when the system has let that go, all others have gone.
    """
    if machine.runs():
        for child in machine.children():
            child.end()
        machine.wait(_ENDING)
    if not machine.end():
        raise CloudError(f"process {machine.pid} (a container) does not end")


def _start(beginning: Beginning, archive: int) -> int:
    """Start the machine and wait until its SSH server is due; returns its outer process."""
    plan, ids = beginning.plan, beginning.ids
    variables = {
        "DIRECTORY": str(plan.directory.absolute()),
        "NAME": plan.hostname,
        "NAMESPACES": scripts.NAMESPACES,
        "NOTE": NOTE,
        "INSIDE": scripts.INSIDE,
        "OWNER": str(ids.owner),
        "OWNER_GROUP": str(ids.owner_group),
        "SECOND": scripts.BIND_AND_DROP,
        "TREE": str(beginning.tree.absolute()),
        "WITHOUT": "-net_admin,-net_raw" if plan.network_access is NetworkAccess.NONE else "",
    }
    first = scripts.AS_ROOT if ids.are_roots else scripts.AS_USER
    with open(beginning.place / CONSOLE, "w+b") as console:
        surroundings = Surroundings(beginning.place, variables, archive, console, (beginning.lifeline,))
        with Conversation(["setsid", "--fork", "sh", "-c", first], surroundings, beginning.patience) as conversation:
            pid = conversation.assign(ids, lambda pid: limits.enter(beginning.place / limits.NOTE, pid))
            if not pid or conversation.line() != "ready":
                raise CloudError(f"the container {plan.id} did not start: {last_words(console)}")
    return pid
