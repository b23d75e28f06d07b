"""Images of disks: what is in a file, overlays on one, and the kernel in one (qemu-img(1), debugfs(8)).

No root is needed, and nothing is mounted.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nodepool.driver.errors import CloudError, QuotaExceeded

TIMEOUT = 300.0
"""Seconds for one call of a program."""
_CORRUPT = 2
"""Exit status of ``qemu-img check``; others are for images that can be used, or checks that could not be done."""
_SECTOR = 512
_LINUX = 0x83
"""Type of a partition with a Linux file system (MBR)."""
_GPT = 0xEE


class ProgramFailed(Exception):
    """A program was not there, or failed; the text is what it said."""


def check(content: Path, disk_format: str) -> None:
    """Raise CloudError if a file is no disk, or no whole one, or needs other files."""
    try:
        found: dict[str, Any] = json.loads(_run(["qemu-img", "info", "--output=json", "-f", disk_format, str(content)]))
    except (ProgramFailed, ValueError) as error:
        raise CloudError(f"{content} is no readable image in the format {disk_format}: {error}") from error
    if "backing-filename" in found:
        raise CloudError(f"{content} is not complete: it needs {found['backing-filename']}; convert it with qemu-img")
    if found["virtual-size"] == 0:
        raise CloudError(f"{content} is empty")
    if disk_format == "qcow2" and _is_corrupt(content):
        raise CloudError(f"{content} is damaged, or only a part of it is there (qemu-img check tells more)")


def _is_corrupt(content: Path) -> bool:
    """By its tables alone, which takes no time."""
    command = ["qemu-img", "check", "-q", "-f", "qcow2", str(content)]
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CloudError(f"{content} could not be checked: {error}") from error
    return ended.returncode == _CORRUPT


def make_overlay(base: Path, base_format: str, overlay: Path) -> None:
    """Make a disk that is the same as another one and keeps its own changes. Raises CloudError."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", base_format, "-b", str(base), str(overlay)]
    try:
        _run(command)
    except ProgramFailed as error:
        kind = QuotaExceeded if "No space left" in str(error) else CloudError
        raise kind(f"no disk for the machine can be made: {error}") from error


def take_kernel(content: Path, disk_format: str, directory: Path) -> bool:
    """Copy the newest kernel of an image, and its initial file system, to ``directory``; False if that cannot be.

    The image must have its root file system, ext2 to ext4, in the last Linux partition, or be one.
    """
    if shutil.which("debugfs") is None:
        return False
    with tempfile.TemporaryDirectory(dir=directory) as place, contextlib.suppress(ProgramFailed, OSError):
        raw = content
        if disk_format != "raw":
            raw = Path(place, "raw")
            _run(["qemu-img", "convert", "-f", disk_format, "-O", "raw", str(content), str(raw)])
        file_system = f"{raw}?offset={_root_offset(raw)}"
        names = re.findall(r"\S+", _debugfs(file_system, "ls -p /boot").replace("/", " "))
        kernels = sorted((name for name in names if name.startswith("vmlinuz-")), key=_version)
        if not kernels:
            return False
        version = kernels[-1].removeprefix("vmlinuz-")
        _dump(file_system, f"/boot/{kernels[-1]}", directory / "kernel")
        for name in (f"initrd.img-{version}", f"initramfs-{version}.img"):
            if name in names:
                _dump(file_system, f"/boot/{name}", directory / "initrd")
                return True
        (directory / "kernel").unlink()
    return False


def _dump(file_system: str, source: str, target: Path) -> None:
    _debugfs(file_system, f'dump "{source}" "{target}"')
    if not target.exists() or not target.stat().st_size:
        target.unlink(missing_ok=True)
        raise ProgramFailed(f"{source} cannot be read")


def _debugfs(file_system: str, request: str) -> str:
    return _run(["debugfs", "-R", request, file_system])


def _root_offset(raw: Path) -> int:
    """Where the last Linux partition begins, in bytes; 0 if there is no partition table."""
    with raw.open("rb") as file:
        boot = file.read(_SECTOR)
        if boot[510:512] != b"\x55\xaa":
            return 0
        entries = [struct.unpack_from("<B3xB3xII", boot, 446 + 16 * number) for number in range(4)]
        if any(kind == _GPT for _, kind, _, _ in entries):
            return _last_of_gpt(raw)
        starts = [start for _, kind, start, count in entries if kind == _LINUX and count]
        return starts[-1] * _SECTOR if starts else 0


def _last_of_gpt(raw: Path) -> int:
    """The biggest partition of a GUID partition table: the root is that in images for clouds."""
    with raw.open("rb") as file:
        file.seek(_SECTOR)
        header = file.read(92)
        first, count, size = struct.unpack_from("<QII", header, 72)
        file.seek(first * _SECTOR)
        table = file.read(count * size)
    spans = [struct.unpack_from("<QQ", table, number * size + 32) for number in range(len(table) // size)]
    start, _ = max(spans, key=lambda span: span[1] - span[0], default=(0, 0))
    return int(start) * _SECTOR


def _version(name: str) -> list[tuple[int, str]]:
    """A key by which versions sort as people count."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _run(command: Sequence[str]) -> str:
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False, env=None
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramFailed(str(error)) from error
    if ended.returncode != 0:
        raise ProgramFailed(ended.stderr.decode("utf-8", errors="replace").strip() or f"status {ended.returncode}")
    return ended.stdout.decode("utf-8", errors="replace")
