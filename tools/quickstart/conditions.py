"""What must hold before anything is installed or started, so that nobody waits for what cannot work.

As a program, with the options of ``tools/quickstart.sh``: prints for what programs are to be installed, in the words of
``tools/environment.sh``; exits with status 1 and a message when something is wrong. Needs nothing but Python.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tools.quickstart.background import QuickstartError, explained
from tools.quickstart.options import DEFAULT_KIND, FORMATS, parse
from tools.quickstart.root import run_as_root
from tools.quickstart.site import Site

BUILD_BYTES = 3 << 30
"""Room for a first image: what is fetched for it, the image, its upload, and what is made of that."""
IMAGE_BYTES = 1 << 30
"""Room for what is made of an image that there is."""
SPARE_BYTES = 256 << 20
"""Room for a run that finds everything there."""


def check(site: Site, kind: str, image: Path | None) -> None:
    """Raise :class:`QuickstartError` for the first thing that is wrong, with what is to be done."""
    site.check_directory()
    if kind == "static":
        if image is not None:
            raise QuickstartError("--image: the kind static, that of the last run, needs none: name one with --kind")
        _require_room(site.directory, SPARE_BYTES)
        return
    if image is not None:
        _check_image(kind, image)
    else:
        _check_root()
        _check_loop_devices()
    if any((site.directory / "machines" / "workshop").glob("*")):
        room = SPARE_BYTES
    else:
        room = BUILD_BYTES if image is None else IMAGE_BYTES
    _require_room(site.directory, room)


def image_of(site: Site, kind: str, named: Path | None) -> Path | None:
    """The image that was named, now or in the last run of this kind; None: one is to be built."""
    return named or (site.image if kind == site.kind else None)


def _check_root() -> None:
    if run_as_root("true"):
        raise QuickstartError(
            "building an image needs root, and this user may not use sudo without a password: run this as root, or"
            " allow that, or name an image that was built before, with --image FILE (a quickstart of root's keeps"
            " one in DIR/images). Without any of these: --kind static"
        )


def _check_loop_devices() -> None:
    """Attach a file to one and detach it: that the devices are listed proves nothing."""
    with tempfile.NamedTemporaryFile(prefix="nodepool-loop-") as file:
        file.truncate(1 << 20)
        command = 'device=$(losetup --find --show "$1") && losetup --detach "$device"'
        if trouble := run_as_root("sh", "-c", command, "sh", file.name):
            raise QuickstartError(
                f"this machine offers no loop device, which building an image needs ({trouble}): as root, run modprobe"
                " loop; in a container, run that with --privileged. Without: name an image that was built elsewhere,"
                " with --image FILE, or use --kind static"
            )


def _check_image(kind: str, image: Path) -> None:
    names = " or ".join(f".{suffix}" for suffix in FORMATS[kind])
    if image.suffix.removeprefix(".") not in FORMATS[kind]:
        raise QuickstartError(f"--image {image}: machines of the kind {kind} are made of a file that ends in {names}")
    try:
        image.open("rb").close()
    except PermissionError:
        raise QuickstartError(
            f"--image {image} may not be read by this user: copy it to where that is allowed, with the directory"
            f" {image.with_suffix('.d').name} if there is one"
        ) from None
    except OSError as error:
        raise QuickstartError(f"--image {image} cannot be read: {error.strerror}") from None


def _require_room(directory: Path, least: int) -> None:
    place = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < least:
        raise QuickstartError(
            f"the disk of {directory} is too full: {free >> 20} MiB are free, and {least >> 20} MiB are needed; free"
            " some space, or choose another directory with --dir"
        )


def main(arguments: list[str]) -> int:
    """Exit code: 0 go on, 1 something is wrong, 2 wrong options."""
    options = parse(arguments)
    site = Site(options.dir)
    try:
        kind = options.kind or site.kind or DEFAULT_KIND
        image = image_of(site, kind, options.image)
        check(site, kind, image)
    except (QuickstartError, OSError) as error:
        print(f"tools/quickstart.sh: {explained(error)}", file=sys.stderr)
        return 1
    print(kind if image or kind == "static" else f"{kind}-build")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
