"""What the decision core asks the world to do. Values only; :mod:`nodepool.builder.executor` carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from nodepool.builder.dib.order import BuildOrder
from nodepool.daemon.instructions import Commit, Measured, Say
from nodepool.model.component import Component
from nodepool.zk.mirror import UploadKey


class Purpose(Enum):
    """What a transaction is for."""

    START_BUILD = "begin a build"
    STORE_BUILD = "store the end of a build"
    START_UPLOAD = "begin an upload"
    STORE_UPLOAD = "store the end of an upload"
    LOCK = "take a lock again"
    DROP_LOCK = "give up a lock"
    MARK_UPLOAD = "mark an upload for removal"
    LOCK_UPLOAD = "lock an upload that is to be removed"
    ERASE_UPLOAD = "remove the record of an upload"
    MARK_BUILD = "mark a build for removal"
    ERASE_BUILD = "remove the record of a build"
    CLEAR_REQUEST = "remove a request for a build that has been served"
    ERASE_IMAGE = "remove what is left of an image"


@dataclass(frozen=True, slots=True)
class StartBuild:
    """Run the build tool; ends as :class:`~nodepool.builder.events.BuildEnded`."""

    order: BuildOrder


@dataclass(frozen=True, slots=True)
class StopBuild:
    """End a build that runs; it ends as ever."""

    image: str
    build_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class StartUpload:
    """Upload a file to a provider, and have the hook look at it; ends as ``UploadEnded``."""

    key: UploadKey
    image_format: str
    external_name: str
    properties: Mapping[str, Any]
    timeout: float
    """Seconds, of the upload alone."""
    hook: str | None
    hook_timeout: float


@dataclass(frozen=True, slots=True)
class RemoveImage:
    """Remove a cloud's image; ends as ``RemovalEnded``. Without an id, all that bear the tags of the upload."""

    key: UploadKey
    external_id: str | None


@dataclass(frozen=True, slots=True)
class ListFiles:
    """Look at the images directory; ends as ``FilesListed`` with this number."""

    number: int


@dataclass(frozen=True, slots=True)
class RemoveFiles:
    """Delete files of a build; formats None: all. Ends as ``FilesRemoved``."""

    image: str
    build_id: str
    formats: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Publish:
    """Keep this registered as the component of this builder."""

    component: Component


Order = StartBuild | StopBuild | StartUpload | RemoveImage | ListFiles | RemoveFiles | Publish
"""What only a builder asks for."""
Instruction = Commit[Purpose, str] | Say | Measured | Order
"""A transaction is about an image, and its key is the image's name."""
