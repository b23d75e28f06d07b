"""Work of this builder that is under way, beside the records. Values of the decision thread."""

from __future__ import annotations

from dataclasses import dataclass

from nodepool.builder.dib.order import BuildResult
from nodepool.config.settings import DiskImage
from nodepool.driver.errors import CloudError


@dataclass(slots=True)
class BuildWork:
    """A build that runs, or whose end is not stored yet. It outlives the ZooKeeper session."""

    disk_image: DiskImage
    """As it was configured when the build began."""
    formats: tuple[str, ...]
    failures: int
    """How often the image had failed in a row before."""
    stopped: bool = False
    """Whether we have ended it: that is no failure."""
    result: BuildResult | None = None


@dataclass(frozen=True, slots=True)
class UploadResult:
    """How an upload ended."""

    external_id: str | None
    """Of the cloud's image; after an error, of one that could not be removed."""
    error: str = ""
    """One sentence; empty if the image can be used."""
    ended: float = 0.0
    """Epoch seconds."""
    seconds: float = 0.0
    """From the start of the call to the end of the hook."""


@dataclass(slots=True)
class UploadWork:
    """An upload that runs, or whose end is not stored yet. It outlives the ZooKeeper session."""

    image_format: str
    external_name: str
    failures: int
    """How often the upload of this build to this provider had failed in a row before."""
    result: UploadResult | None = None


@dataclass(slots=True)
class RemovalWork:
    """The removal of a cloud's image."""

    provider: str
    external_id: str | None
    running: bool = True
    done: bool = False
    failures: int = 0
    retry_at: float = 0.0
    """When to try again after a failure (epoch)."""
    error: CloudError | None = None
