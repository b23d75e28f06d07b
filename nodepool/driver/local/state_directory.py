"""What a local provider keeps on disk: everything there is to know of its machines and images.

.. code-block:: text

   STATE/lock                   held while an address is chosen
   STATE/nodes/ID/node.json     what was ordered; the directory appears with it, at once
   STATE/nodes/ID/outcome.json  how the start ended
   STATE/nodes/ID/deleting      the machine is to go
   STATE/nodes/ID/...           the kind's own
   STATE/images/ID/image.json   what was uploaded, beside the file itself; see :mod:`nodepool.driver.local.images`
   STATE/workshop/ID/...        what a kind makes of an image

Whoever starts a machine holds an exclusive lock (``flock``) on its directory until the outcome is written; the system
ends it with the process. So a directory without an outcome that nobody holds is one whose start was cut off.
Several processes may work on one state directory. Raises only the errors of :mod:`nodepool.driver.errors`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nodepool.driver import errors
from nodepool.driver.errors import CloudError, Misconfigured
from nodepool.driver.local import disk
from nodepool.driver.local.disk import Hold
from nodepool.model.record import NOTHING
from nodepool.model.resources import Resources

_NODE = "node.json"
_OUTCOME = "outcome.json"
_DELETING = "deleting"
UNFINISHED, GONE = ".new-", ".gone-"
"""What directories are called that are being made, and held meanwhile, or are being removed."""


@dataclass(frozen=True, slots=True)
class NodeNote:
    """What ``node.json`` says: written before anything is started, and never changed."""

    id: str
    tags: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    kind: str = ""
    image: str = ""
    hostname: str = ""
    address: str = ""
    port: int = 22
    host_public_key: str = ""
    cores: int = 0
    ram: int = 0
    """MiB."""

    @property
    def resources(self) -> Resources:
        """What the machine uses."""
        return Resources(instances=1, cores=self.cores, ram=self.ram)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a start ended; without a fault, well."""

    fault: type[CloudError] | None = None
    text: str = ""


class StateDirectory:
    """See the module's description. May be used from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes = path / "nodes"
        self.images = path / "images"
        self.workshop = path / "workshop"

    def make(self) -> None:
        """Make the directories. Raises Misconfigured with the remedy if that is not allowed."""
        for directory in (self.nodes, self.images, self.workshop):
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise Misconfigured(
                    f"the state-dir {self.path} cannot be used: {error.strerror} ({error.filename}); "
                    f"make it and give it to the user that runs this program, or name another one"
                ) from error
            if not os.access(directory, os.W_OK | os.X_OK):
                raise Misconfigured(f"{directory} is not writable by the user that runs this program: chown it")

    def exclusive(self) -> AbstractContextManager[None]:
        """Be alone among all processes, for a moment."""
        return disk.alone(self.path / "lock")

    # Machines

    def directory(self, node_id: str) -> Path:
        """Where a machine's files are."""
        return self.nodes / node_id

    def add(self, note: NodeNote) -> Hold:
        """Make the directory of a machine; the caller holds it from the first moment on."""
        temporary = self.nodes / f"{UNFINISHED}{uuid.uuid4().hex}"
        with disk.cloud_errors(f"note the machine {note.id}"):
            temporary.mkdir(mode=0o700)
            hold = disk.hold(temporary)
            assert hold is not None, "nobody else knows of the directory yet"
            try:
                disk.write_json(temporary / _NODE, {**asdict(note), "tags": dict(note.tags)})
                temporary.rename(self.directory(note.id))
            except OSError:
                hold.release()
                shutil.rmtree(temporary, ignore_errors=True)
                raise
        return hold

    def notes(self) -> tuple[NodeNote, ...]:
        """All machines, in the order of their ids; none before :meth:`make`."""
        with disk.cloud_errors("read the state directory"):
            names = os.listdir(self.nodes) if self.nodes.exists() else []
        found = sorted(name for name in names if not name.startswith("."))
        notes = (self.note(node_id) for node_id in found)
        return tuple(note for note in notes if note is not None)

    def note(self, node_id: str) -> NodeNote | None:
        """One machine; None if there is none, or nothing that can be read."""
        values = disk.read_json(self.directory(node_id) / _NODE) if _is_name(node_id) else None
        if values is None:
            return None
        known = {name: values[name] for name in NodeNote.__dataclass_fields__ if name in values}
        return NodeNote(**{**known, "id": node_id})

    def hold(self, node_id: str) -> Hold | None:
        """Hold a machine's directory; None if somebody else does, or it is gone."""
        return disk.hold(self.directory(node_id))

    def is_held(self, node_id: str) -> bool:
        """Whether somebody is starting the machine."""
        directory = self.directory(node_id)
        hold = disk.hold(directory)
        if hold is not None:
            hold.release()
        return hold is None and directory.exists()

    def end(self, node_id: str, outcome: Outcome) -> None:
        """Write down how a start ended; the directory may be gone."""
        values = {"fault": outcome.fault.__name__ if outcome.fault else None, "text": outcome.text}
        with disk.cloud_errors(f"write the outcome of {node_id}"), contextlib.suppress(FileNotFoundError):
            disk.write_json(self.directory(node_id) / _OUTCOME, values)

    def outcome(self, node_id: str) -> Outcome | None:
        """How the start ended, None if it has not."""
        values = disk.read_json(self.directory(node_id) / _OUTCOME)
        if values is None:
            return None
        fault = getattr(errors, values["fault"], CloudError) if values.get("fault") else None
        return Outcome(fault, values.get("text", ""))

    def mark_deleting(self, node_id: str) -> None:
        """Say that a machine is to go."""
        with disk.cloud_errors(f"delete {node_id}"):
            (self.directory(node_id) / _DELETING).touch()

    def is_deleting(self, node_id: str) -> bool:
        """Whether it is to go, or gone."""
        directory = self.directory(node_id)
        return (directory / _DELETING).exists() or not directory.exists()

    def forget(self, node_id: str) -> None:
        """Remove a machine's directory, after its processes have ended. The caller holds it."""
        gone = self.nodes / f"{GONE}{uuid.uuid4().hex}"
        with disk.cloud_errors(f"remove the files of {node_id}"), contextlib.suppress(FileNotFoundError):
            self.directory(node_id).rename(gone)
            shutil.rmtree(gone)

    def sweep(self) -> None:
        """Remove what processes left that were killed at work."""
        for path in (*self.nodes.glob(".*"), *self.images.glob(".*")):
            hold = disk.hold(path)
            if hold is not None:
                shutil.rmtree(path, ignore_errors=True)
                hold.release()


def _is_name(node_id: object) -> bool:
    return isinstance(node_id, str) and not node_id.startswith(".") and node_id != "" and "/" not in node_id
