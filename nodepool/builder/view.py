"""One disk image as ZooKeeper has it: what its plan is made from. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from nodepool.model.image import ImageBuild, ImageUpload
from nodepool.model.states import BuildState, UploadState
from nodepool.zk.mirror import UploadKey


@dataclass(frozen=True, slots=True)
class UploadView:
    """An upload of a build to a provider."""

    key: UploadKey
    record: ImageUpload | None
    """None if it cannot be read."""
    empty: bool = False
    """Whether it has no data: an artefact of somebody who locked a removed record (spec zookeeper 6.4)."""
    locked: bool = False
    """Whether somebody holds or awaits the lock of the record."""
    ours: bool = False
    """Whether it is we who hold it."""
    idle_since: float | None = None
    """Since when it has been said to be in progress while nobody holds the upload lock (epoch); else None."""

    @property
    def provider(self) -> str:
        """Name of the provider."""
        return self.key[2]

    @property
    def state(self) -> UploadState | None:
        """Its state, None if it cannot be read."""
        return self.record.state if self.record else None

    @property
    def time(self) -> float:
        """When it came to its state (epoch)."""
        return (self.record.state_time if self.record else None) or 0.0


@dataclass(frozen=True, slots=True)
class BuildView:
    """A build of the image."""

    id: str
    record: ImageBuild | None
    empty: bool = False
    created: float = 0.0
    """When the znode was made (epoch, by ZooKeeper's clock)."""
    locked: bool = False
    """Whether somebody holds or awaits the lock of the record."""
    uploads: tuple[UploadView, ...] = ()
    uploading: frozenset[str] = frozenset()
    """Providers for which somebody holds or awaits the upload lock."""
    our_uploading: frozenset[str] = frozenset()
    """Those of them where we hold it."""
    idle_since: float | None = None
    """Since when it has been said to be in progress while nobody holds the image's lock (epoch); else None."""
    orphaned_since: float | None = None
    """Since when the builder that has its files has not been registered (epoch); None if it is, or may be."""

    @property
    def state(self) -> BuildState | None:
        """Its state, None if it cannot be read."""
        return self.record.state if self.record else None

    @property
    def time(self) -> float:
        """When it came to its state (epoch)."""
        return (self.record.state_time if self.record else None) or 0.0


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image. ``builds`` are in no order."""

    name: str
    known: bool = True
    """Whether there is anything of it in ZooKeeper."""
    paused: bool = False
    """Whether an operator has paused it."""
    requested: float | None = None
    """When a build was asked for by hand (epoch, by ZooKeeper's clock)."""
    locked: bool = False
    """Whether somebody holds or awaits the build lock."""
    ours: bool = False
    """Whether it is we who hold it."""
    builds: tuple[BuildView, ...] = ()

    def build(self, build_id: str) -> BuildView | None:
        """One build."""
        return next((build for build in self.builds if build.id == build_id), None)

    def in_state(self, state: BuildState) -> list[BuildView]:
        """The builds in a state, the newest first."""
        found = [build for build in self.builds if build.state is state]
        return sorted(found, key=lambda build: (build.time, build.created, build.id), reverse=True)
