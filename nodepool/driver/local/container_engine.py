"""What a way to make containers has to be able to do; there is more than one, and the host decides which works."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from nodepool.driver.local.container_ids import Ids
from nodepool.driver.local.machine import NodePlan, Patience, Remains

NOTE = "machine.process"
"""Note of a machine's outer process, which lives as long as the machine; see ``container_process``."""
CONSOLE = "console.log"


@dataclass(frozen=True, slots=True)
class Beginning:
    """A container that is to be started."""

    plan: NodePlan
    name: str
    """Unlike that of any other container of this host."""
    place: Path
    """Directory for all that it needs; belongs to :attr:`ids`' owner."""
    tree: Path
    """The unpacked image."""
    ids: Ids
    lifeline: int
    """Descriptor that the container's outer process is to keep open as long as it lives."""
    patience: Patience


class Engine(ABC):
    """A way to make containers below one directory. Methods may be called from several threads at once."""

    name: str
    limits: bool
    """Whether machines are held to their ``cores`` and ``ram``; known after :meth:`problems`."""

    def __init__(self, nodes: Path) -> None:
        self.nodes = nodes
        self.prefix = f"nodepool-{hashlib.sha256(os.fsencode(nodes.absolute())).hexdigest()[:12]}-"
        """How the names of its containers, and of what is made for them on this host, begin."""

    @abstractmethod
    def problems(self) -> list[str]:
        """What keeps it from working on this host, each with its remedy; finds out by making a small container."""

    @abstractmethod
    def start(self, beginning: Beginning) -> int:
        """Start a container, and write its note; a process in it, or in its network. Raises CloudError."""

    @abstractmethod
    def end(self, place: Path) -> None:
        """End a container that was started, or was to be, by this engine or another process's. Raises CloudError."""

    @abstractmethod
    def remains(self, known: Collection[str]) -> Sequence[Remains]:
        """What is there of containers whose names are not among the known ones."""

    @abstractmethod
    def remove(self, remains: Remains) -> bool:
        """Remove one of :meth:`remains`, if it is of this engine; whether it is. Raises CloudError."""
