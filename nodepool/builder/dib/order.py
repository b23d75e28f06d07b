"""What a build is told, and what became of it. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodepool.config.settings import DiskImage
from nodepool.model.record import NOTHING


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """An image to be built."""

    image: str
    build_id: str
    """Letters and digits; unique for ever."""
    formats: tuple[str, ...]
    """All that are wanted, sorted."""
    disk_image: DiskImage
    images_dir: str
    elements_dir: str | None = None
    """Value of ``ELEMENTS_PATH``."""
    log_dir: str | None = None
    """Made if need be. None: no log is kept."""
    log_retention: int = 7
    """Old logs of this image to keep; negative for all, 0 counts as 1 (spec builder 2)."""
    free_space: int = 0
    """Bytes that ``images_dir`` and the directory for work must have free, else the build is not begun."""
    most_space: int = 0
    """Bytes that ``images_dir`` may hold, else the build is not begun; 0: any number."""

    @property
    def stem(self) -> str:
        """Name of its files without the format: ``IMAGE-BUILD``."""
        return f"{self.image}-{self.build_id}"


@dataclass(frozen=True, slots=True)
class BuildResult:
    """How a build ended."""

    image: str
    build_id: str
    ok: bool
    """Whether all formats are in the images directory, verified and with checksums. If not, none is."""
    reason: str = ""
    """Why not, in one sentence."""
    formats: tuple[str, ...] = ()
    seconds: float = 0.0
    """From the start of the command to its end."""
    return_code: int | None = None
    """Of the command; None if it did not end by itself (spec builder 8 reports 1 then)."""
    sizes: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    """By format: bytes that the file takes on the disk."""
