"""The place of one build on the disk, and the small file by which a later process knows of it.

The output has its final name, but in a directory of its own, so that whatever lies in the images directory is complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nodepool.builder.dib.command import MARK
from nodepool.builder.dib.leftovers import clean_up
from nodepool.builder.dib.privileges import run_as_root
from nodepool.builder.dib.processes import BuildProcesses, Process, boot_id, end_all
from nodepool.builder.files import WORK, replace_text

STATE = "build.json"
_OTHER_NAMES = {"squashfs": "squash"}
"""What the tool calls a file, where that is not the format."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A build's directories: for its output, and ``temp_dir`` for everything else."""

    images_dir: Path
    image: str
    build_id: str
    temp_dir: str
    boot_id: str = ""
    leader: Process | None = None
    """The process that began the build, as long as the system has not been started anew."""
    published: bool = False
    """Whether the images have been moved to the images directory, and are good."""

    @property
    def directory(self) -> Path:
        """Where the output is made."""
        return self.images_dir / WORK / self.build_id

    @property
    def stem(self) -> str:
        """Name of the files of the build, without the format."""
        return f"{self.image}-{self.build_id}"

    @property
    def output(self) -> str:
        """Path of the image without its format, as the command is told."""
        return str(self.directory / self.stem)

    def make(self) -> None:
        """Make the directories, empty. Raises OSError, also if there are any."""
        self.directory.mkdir(parents=True)
        self._store()
        Path(self.temp_dir).mkdir(parents=True)

    def led_by(self, leader: Process | None) -> Workspace:
        """The same, with the process that has been started; it is stored. Raises OSError."""
        known = replace(self, leader=leader, boot_id=boot_id())
        known._store()
        return known

    def file(self, image_format: str) -> Path:
        """Where the command leaves an image."""
        path = Path(f"{self.output}.{image_format}")
        other = _OTHER_NAMES.get(image_format)
        if other and not path.exists() and Path(f"{self.output}.{other}").exists():
            Path(f"{self.output}.{other}").rename(path)
        return path

    def publish(self, formats: tuple[str, ...]) -> None:
        """Move all that has been made to the images directory, the images last, for good. Raises OSError."""
        images = [f"{self.stem}.{image_format}" for image_format in formats]
        others = sorted(name for name in os.listdir(self.directory) if name.startswith(f"{self.stem}."))
        for name in [*(name for name in others if name not in images), *images]:
            self._move(name)
        replace(self, published=True)._store()

    def settle(self, grace: float) -> list[str]:
        """End all processes of the build and remove all that it has left but its output; returns what went wrong.

        Blocks. May be called again.
        """
        places = tuple(os.path.realpath(place) for place in (self.temp_dir, self.directory))
        leader = self.leader if self.boot_id == boot_id() else None
        marked = BuildProcesses(f"{MARK}={self.output}", places, leader)
        left = end_all(marked.find, leader, grace)
        if left:
            return [f"processes {', '.join(map(str, left))} do not end: their files stay"]
        return clean_up([self.temp_dir])

    def remove(self, grace: float) -> list[str]:
        """:meth:`settle`, and remove the output that has not been published and all memory of the build."""
        return self.settle(grace) or clean_up([str(self.directory)])

    def _move(self, name: str) -> None:
        source, target = self.directory / name, self.images_dir / name
        try:
            source.rename(target)
        except PermissionError:
            error = run_as_root(["mv", "--no-target-directory", "--", source, target])
            if error:
                raise OSError(error) from None

    def _store(self) -> None:
        values = {
            "image": self.image,
            "build_id": self.build_id,
            "temp_dir": self.temp_dir,
            "boot_id": self.boot_id,
            "leader": self.leader and asdict(self.leader),
            "published": self.published,
        }
        replace_text(self.directory / STATE, json.dumps(values))


def workspaces(images_dir: Path) -> Iterator[Workspace]:
    """The places of builds that an earlier process began and did not clean up."""
    work = images_dir / WORK
    names = sorted(os.listdir(work)) if work.is_dir() else []
    for name in names:
        if (work / name).is_dir():
            yield _read(images_dir, name)


def _read(images_dir: Path, build_id: str) -> Workspace:
    """What the state file says; if it was never written, there is nothing but the directory."""
    directory = images_dir / WORK / build_id
    try:
        values = json.loads((directory / STATE).read_text(encoding="utf-8"))
        leader = Process(**values["leader"]) if values["leader"] else None
        place = Workspace(images_dir, values["image"], build_id, values["temp_dir"], values["boot_id"], leader)
        return replace(place, published=values["published"])
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return Workspace(images_dir, "", build_id, str(directory))
