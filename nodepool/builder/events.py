"""What happens to the builder: the inputs of the decision core. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nodepool.builder.dib.order import BuildResult
from nodepool.builder.instructions import Purpose
from nodepool.builder.setup import Setup
from nodepool.builder.work import UploadResult
from nodepool.daemon.events import CensusAsked, CommitEnded, Configured, News, SessionChanged
from nodepool.driver.errors import CloudError
from nodepool.zk.mirror import UploadKey


@dataclass(frozen=True, slots=True)
class Stopping:
    """Begin nothing new; with ``now``, end what runs."""

    now: bool


@dataclass(frozen=True, slots=True)
class BuildEnded:
    """The build tool ended."""

    result: BuildResult


@dataclass(frozen=True, slots=True)
class UploadEnded:
    """An upload ended."""

    key: UploadKey
    result: UploadResult


@dataclass(frozen=True, slots=True)
class RemovalEnded:
    """A cloud's image is gone, or could not be removed."""

    key: UploadKey
    error: CloudError | None


@dataclass(frozen=True, slots=True)
class FilesListed:
    """What there is in the images directory: formats by image and build id. None: it could not be read."""

    number: int
    builds: Mapping[tuple[str, str], tuple[str, ...]] | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class FilesRemoved:
    """Files were deleted, or could not be."""

    image: str
    build_id: str
    formats: tuple[str, ...] | None
    error: str = ""


Event = (
    SessionChanged
    | News
    | CommitEnded[Purpose, str]
    | Configured[Setup]
    | CensusAsked
    | Stopping
    | BuildEnded
    | UploadEnded
    | RemovalEnded
    | FilesListed
    | FilesRemoved
)
