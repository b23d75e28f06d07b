"""All that the decision thread knows, and the few things that every decision needs.

Belongs to the decision thread; no I/O. What matters is in the mirror, which is ZooKeeper's, and in the images
directory; the rest is work under way.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nodepool.builder import others
from nodepool.builder.instructions import Order, Publish, Purpose
from nodepool.builder.others import Others
from nodepool.builder.setup import Setup
from nodepool.builder.steps import Build, Removal, Upload
from nodepool.builder.work import BuildWork, RemovalWork, UploadWork
from nodepool.daemon.instructions import Level, Say
from nodepool.daemon.state import CoreState
from nodepool.model.component import BUILDER, Component
from nodepool.zk import paths
from nodepool.zk.mirror import UploadKey
from nodepool.zk.seize import seize, seize_and_hold
from nodepool.zk.store import Batch, Datum, Operation
from nodepool.zk.tree import Tree

if TYPE_CHECKING:
    import random

WORK = ("work",)
"""Timer: look for work that waits for a worker."""
FILES = ("files",)
"""Timer: look at the images directory."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this builder is (spec builder 1.1)."""

    builder_id: str
    """Stands in the images directory."""
    host: str
    """Fully qualified name, for information."""


@dataclass(frozen=True, slots=True)
class Workers:
    """How much may be done at a time."""

    builds: int = 1
    uploads: int = 4
    """In all; each provider may always have one, whatever the others do."""


class State(CoreState[Purpose, str, Order]):
    """See the module's description."""

    def __init__(self, chance: random.Random, identity: Identity, workers: Workers) -> None:
        super().__init__(chance)
        self.builder_id = identity.builder_id
        self.host = identity.host
        self.build_workers = workers.builds
        self.upload_workers = workers.uploads
        self.stopping_now = False
        """Whether what runs is ended."""
        self.setup: Setup | None = None
        self.changed: dict[tuple[str, str], float] = {}
        """When the settings of an image or a provider, as kind and name, changed last (epoch)."""
        self.others = Others()
        self.tree = Tree(paths.IMAGES)
        self.builds: dict[tuple[str, str], BuildWork] = {}
        """By image and build id."""
        self.uploads: dict[UploadKey, UploadWork] = {}
        self.removals: dict[UploadKey, RemovalWork] = {}
        """Of clouds' images, with or without a record."""
        self.starting: dict[str, Build | Upload] = {}
        """What the transactions under way begin, by image."""
        self.files: dict[str, dict[str, tuple[str, ...]]] | None = None
        """What is in the images directory: formats by image and build id. None: not known yet."""
        self.files_number = 0
        """Number of the look at the directory that counts: files that came since it began would be missing in it."""
        self.deleting_files: set[tuple[str, str]] = set()
        """Builds of which files are being deleted."""
        self.spared: dict[tuple[str, str], float] = {}
        """Builds without a record whose files are left alone, and until when (epoch)."""
        self.build_queue: dict[str, Build] = {}
        """Images that are to be built."""
        self.upload_queue: dict[UploadKey, Upload] = {}
        """Uploads that are to be begun; the last part of the key is empty."""
        self.removals_due: dict[str, dict[Removal, float]] = {}
        """Steps that others may take first, by image, and since when they are to be taken (epoch)."""
        self.published: Component | None = None
        self.files_due = False
        """Whether it is time to look at the images directory."""
        self.work_wanted = False
        """Whether to look for work that can begin."""

    # Asking for things

    def say(self, level: Level, message: str) -> None:
        """One sentence for the log."""
        self.out.append(Say(level, "nodepool.builder", message))

    def free(self, image: str) -> None:
        """The transaction about an image has ended, and what it has changed is in the mirror."""
        super().free(image)
        self.starting.pop(image, None)

    def publish(self) -> None:
        """Tell others of us, if there is news."""
        if self.setup is not None:
            component = others.own_component(self.builder_id, self.setup)
            if component != self.published:
                self.published = component
                self.out.append(Publish(component))

    # Time

    def wake(self, at: float, key: Hashable) -> None:
        """Look at an image, or for :data:`WORK`, at ``at`` (epoch seconds)."""
        self.timers.add_latest(at, key, self.now)

    def fire_timers(self) -> None:
        """Mark what is due."""
        for key in self.timers.due(self.now):
            if key == WORK:
                self.work_wanted = True
            elif key == FILES:
                self.files_due = True
            elif isinstance(key, str):
                self.is_due(key)

    def since(self, key: Hashable) -> float:
        """When something was first noticed: now, if it is new."""
        return self.noticed.setdefault(key, self.now)

    # ZooKeeper

    def take_over(self, batch: Batch) -> None:
        """Apply a batch of the feed."""
        self.mirror.apply(batch)
        self.tree.apply(batch)
        self._mark(batch.entries)

    def take_over_own(self, entries: dict[str, Datum | None]) -> None:
        """Apply what our own transaction wrote."""
        self.mirror.apply_own(entries)
        self.tree.apply_entries(entries)
        self._mark(entries)

    def _mark(self, entries: Any) -> None:
        components = False
        for path in entries:
            parts = path.split("/")
            if len(parts) > 3 and parts[2] == "images":
                self.touch(parts[3])
            components = components or path.startswith(f"{paths.COMPONENTS}/{BUILDER}/")
        if components:
            self.look_at_builders()

    def look_at_builders(self) -> None:
        """Find our own component, by which we know that the session stands, and take over what the others say."""
        fence, components = "", []
        for name, entry in self.mirror.components.items():
            if not name.startswith(f"{BUILDER}/"):
                continue
            if self.session and entry.ephemeral_owner == self.session:
                fence = f"{paths.COMPONENTS}/{name}"
            elif entry.record is not None:
                components.append(entry.record)
        found = others.read(components)
        if fence != self.fence or found != self.others:
            self.fence, self.others = fence, found
            self.look_at_all()

    def look_at_all(self) -> None:
        """Mark every image for a look."""
        self.dirty.update(self.tree.children(paths.IMAGES))
        self.dirty.update(self.setup.images if self.setup else ())
        self.dirty.update(self.files or ())
        self.dirty.update(key[0] for work in (self.builds, self.uploads, self.removals) for key in work)

    # Locks

    def seize(self, directory: str) -> tuple[Operation, ...]:
        """Operations that succeed only if nobody holds or awaits a lock, and leave an empty directory."""
        return seize(directory, directory in self.tree)

    def hold(self, directory: str) -> tuple[Operation, ...]:
        """Operations that take a lock, or fail if anybody holds or awaits it."""
        return seize_and_hold(directory, directory in self.tree, self.prefix)

    def our_lock(self, directory: str) -> str | None:
        """Path of our contender, if the lock is ours."""
        ours = self.our_contender(self.tree.contenders(directory)[:1])
        return f"{directory}/{ours}" if ours else None

    # Others

    @property
    def working(self) -> bool:
        """Whether we may decide: connected, in step with ZooKeeper, registered and configured."""
        return self.setup is not None and super().working

    def build_version(self, image: str, build_id: str) -> int:
        """Version of a build's record as the mirror has it."""
        return self.mirror.builds[image, build_id].version

    def upload_version(self, key: UploadKey) -> int:
        """Version of an upload's record as the mirror has it."""
        return self.mirror.uploads[key].version
