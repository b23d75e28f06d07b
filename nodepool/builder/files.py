"""The images directory: which files of which build are there, and who this builder is (spec builder 1.1, 3.6).

The directory is read anew with each call: it is the truth about what this builder can upload. What is not yet complete
lies in :data:`WORK` and is not seen here. All methods may be called from any thread; all raise OSError.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from nodepool.builder.dib.privileges import remove_tree
from nodepool.model.build_log import BUILD_ID

WORK = ".building"
"""Directory, in the images directory, of builds under way."""
IDENTITY = "builder_id.txt"
CHECKSUMS = ("md5", "sha256")
_FILE = re.compile(rf"(?P<image>.+)-(?P<build>{BUILD_ID})\.(?P<rest>[^/]+)")
_MANIFEST = "d"


class ImagesDirectoryInUse(Exception):
    """Another builder works in this images directory."""


class ImageFiles:
    """The finished images of this builder."""

    def __init__(self, images_dir: str | os.PathLike[str]) -> None:
        self.directory = Path(images_dir)
        self._claim: int | None = None
        self._log = logging.getLogger("nodepool.builder.ImageFiles")

    def claim(self) -> None:
        """Make the directory if need be, and keep other builders out of it for as long as this process lives.

        :raises ImagesDirectoryInUse: there is another one
        """
        work = self.directory / WORK
        work.mkdir(parents=True, exist_ok=True)
        for place in (self.directory, work):
            if not os.access(place, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            message = f"another builder works in {self.directory}: each needs an images-dir of its own"
            raise ImagesDirectoryInUse(message) from None
        self._claim = descriptor

    def release(self) -> None:
        """Let others claim the directory."""
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def identity(self) -> str:
        """The id of this builder; made with the first call ever."""
        path = self.directory / IDENTITY
        try:
            known = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            known = ""
        if known:
            return known
        if self.builds():
            self._log.warning("%s is gone: this builder has a new identity from now on", path)
        made = str(uuid.uuid4())
        self.directory.mkdir(parents=True, exist_ok=True)
        replace_text(path, made)
        return made

    def builds(self) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """Formats by image and build id; a build of which only a manifest or checksums are left has none."""
        found: dict[tuple[str, str], set[str]] = {}
        for image, build_id, rest in self._entries():
            formats = found.setdefault((image, build_id), set())
            if rest != _MANIFEST and "." not in rest:
                formats.add(rest)
        return {build: tuple(sorted(formats)) for build, formats in found.items()}

    def path(self, image: str, build_id: str, image_format: str) -> Path:
        """Where an image is, if it is."""
        return self.directory / f"{image}-{build_id}.{image_format}"

    def checksums(self, image: str, build_id: str, image_format: str) -> tuple[str | None, str | None]:
        """MD5 and SHA-256 of an image in hexadecimal; None where there is no such file."""
        path = self.path(image, build_id, image_format)
        md5, sha256 = (_first_word(Path(f"{path}.{kind}")) for kind in CHECKSUMS)
        return md5, sha256

    def remove(self, image: str, build_id: str, formats: tuple[str, ...] | None = None) -> None:
        """Delete images and their checksums; None: whatever belongs to the build. What is gone already is no error."""
        if formats is None:
            for name in self._names(image, build_id):
                remove_tree(self.directory / name)
            return
        for image_format in formats:
            path = self.path(image, build_id, image_format)
            for one in (path, *(Path(f"{path}.{kind}") for kind in CHECKSUMS)):
                one.unlink(missing_ok=True)

    def _names(self, image: str, build_id: str) -> list[str]:
        return [f"{image}-{build_id}.{rest}" for *build, rest in self._entries() if build == [image, build_id]]

    def _entries(self) -> Iterator[tuple[str, str, str]]:
        try:
            names = sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return
        for name in names:
            match = _FILE.fullmatch(name)
            if match:
                yield match["image"], match["build"], match["rest"]


def replace_text(path: Path, text: str) -> None:
    """Write a file so that it is either the old or the new one, whatever happens."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _first_word(path: Path) -> str | None:
    try:
        words = path.read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        return None
    return words[0] if words else None
