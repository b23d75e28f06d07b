"""Where the nodes of a quickstart come from: what its kinds differ in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from tools.quickstart.background import Background
from tools.quickstart.requestor import Record, Requestor
from tools.quickstart.steps import Step, Steps

LABEL = "quickstart"


class NodeSource(ABC):
    """The part of a quickstart that only some kinds of it have. Raises :class:`QuickstartError` throughout."""

    identity: Path
    """The private key that may log in to the nodes."""
    patience: float
    """Seconds in which a node must be there."""
    programs: tuple[Background, ...]
    """What runs beside ZooKeeper and the launcher."""

    @abstractmethod
    def check(self) -> list[str]:
        """What is different on this machine; raises, with what is to be done, if it cannot work. Nothing runs yet."""

    @abstractmethod
    def start(self, steps: Steps) -> None:
        """Start what must run before there is a configuration."""

    @abstractmethod
    def configuration(self) -> str:
        """Labels and providers, and what else of ``nodepool.yaml`` is this kind's own."""

    @abstractmethod
    def complete(self, steps: Steps, requestor: Requestor, configuration: Path) -> None:
        """Start what needs the configuration, and wait until nodes can be made."""

    @abstractmethod
    def show_start(self, step: Step) -> None:
        """Say how far the start of a node is; called now and then."""

    @abstractmethod
    def show_next(self, steps: Steps, requestor: Requestor, node_id: str, node: Record) -> None:
        """Show what becomes of a node that was used, until the next one is ready."""

    @abstractmethod
    def end(self) -> list[str]:
        """End what runs, after the launcher and before ZooKeeper; the names of what ended."""

    @abstractmethod
    def remove(self) -> None:
        """Remove what cannot be deleted with the directory."""
