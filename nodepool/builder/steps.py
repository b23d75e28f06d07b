"""What a plan asks for, one step after the other, each with its reason. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from nodepool.builder.reasons import BuildReason, RemovalReason, UploadReason
from nodepool.zk.mirror import UploadKey


@dataclass(frozen=True, slots=True)
class Build:
    """Build the image, when there is a worker for it."""

    reason: BuildReason
    failures: int = 0
    """How often it has failed in a row."""
    last_attempt: float = 0.0
    """When the last build ended (epoch)."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Upload a build to a provider, when there is a worker for it."""

    build_id: str
    provider: str
    image_format: str
    reason: UploadReason
    failures: int = 0


@dataclass(frozen=True, slots=True)
class MarkUpload:
    """Say in its record that an upload is to be removed, and keep its lock for that."""

    key: UploadKey
    reason: RemovalReason
    instead: UploadKey | None = None
    """A ready upload that must still be there, if this one is removed because it is surplus."""


@dataclass(frozen=True, slots=True)
class DeleteUpload:
    """Remove a marked upload: the cloud's image, then the record."""

    key: UploadKey


@dataclass(frozen=True, slots=True)
class EraseUpload:
    """Remove the empty record of an upload."""

    key: UploadKey


@dataclass(frozen=True, slots=True)
class MarkBuild:
    """Say in its record that a build is to be removed, so that its files go."""

    build_id: str
    reason: RemovalReason


@dataclass(frozen=True, slots=True)
class EraseBuild:
    """Remove the record of a build that has no uploads."""

    build_id: str


@dataclass(frozen=True, slots=True)
class DeleteFiles:
    """Delete files of a build from our images directory; formats None: all."""

    build_id: str
    formats: tuple[str, ...] | None
    reason: RemovalReason


@dataclass(frozen=True, slots=True)
class LockBuild:
    """Take the build lock again, for a build of ours that has outlived the session."""

    build_id: str


@dataclass(frozen=True, slots=True)
class LockUpload:
    """Take the upload lock again, for an upload of ours that has outlived the session."""

    key: UploadKey


@dataclass(frozen=True, slots=True)
class DropLock:
    """Give up a lock of ours that nothing needs."""

    directory: str


@dataclass(frozen=True, slots=True)
class ClearRequest:
    """Remove the request for a build that has been served."""


@dataclass(frozen=True, slots=True)
class EraseImage:
    """Remove what is left of an image that nobody wants."""


Removal = MarkUpload | DeleteUpload | EraseUpload | MarkBuild | EraseBuild | EraseImage
"""Steps that any builder could take."""
Step = (
    Build
    | Upload
    | MarkUpload
    | DeleteUpload
    | EraseUpload
    | MarkBuild
    | EraseBuild
    | DeleteFiles
    | LockBuild
    | LockUpload
    | DropLock
    | ClearRequest
    | EraseImage
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about an image."""

    steps: tuple[Step, ...] = ()
    wake: float | None = None
    """When to plan anew though nothing has happened (epoch)."""
