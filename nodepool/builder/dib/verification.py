"""Whether the files of a build are what they should be: there, not empty, and of their format (spec builder 3.5).

An exit status of 0 alone proves nothing: an image without files would be taken for good until it is built anew.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SECTOR = 512
CHECK_DEADLINE = 1800.0
"""Seconds for ``qemu-img check``."""
_MAGIC: dict[str, tuple[tuple[int, bytes], ...]] = {
    "qcow2": ((0, b"QFI\xfb"),),
    "vhdx": ((0, b"vhdxfile"),),
    "vmdk": ((0, b"KDMV"), (0, b"COWD"), (0, b"# Disk DescriptorFile")),
    "vdi": ((0x40, b"\x7f\x10\xda\xbe"),),
    "squashfs": ((0, b"hsqs"),),
    "tgz": ((0, b"\x1f\x8b"),),
    "aci": ((257, b"ustar"),),
    "tar": ((257, b"ustar"),),
    "ova": ((257, b"ustar"),),
    "vhd": ((0, b"conectix"), (-SECTOR, b"conectix")),
}
"""Where each format has which bytes, any of them; a negative offset counts from the end."""
_SOUND = (0, 3, 63)
"""Exit statuses of ``qemu-img check``: fine; clusters leaked, which loses space only; not supported for the format."""


def what_is_wrong(path: Path, image_format: str) -> str:
    """Why the file cannot be an image of the format, in one sentence; "" if it may be one. Raises OSError."""
    if not path.is_file():
        return f"the command left no {path.name}"
    size = path.stat().st_size
    if size == 0:
        return f"{path.name} is empty"
    if image_format == "raw" and size % SECTOR:
        return f"{path.name} has {size} bytes, which is no whole number of sectors"
    marks = _MAGIC.get(image_format, ())
    if marks and not any(_read(path, size, offset, len(mark)) == mark for offset, mark in marks):
        return f"{path.name} is no {image_format}"
    return _check_metadata(path) if image_format == "qcow2" else ""


def _read(path: Path, size: int, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, size + offset) if offset < 0 else offset)
        return file.read(length)


def _check_metadata(path: Path) -> str:
    program = shutil.which("qemu-img")
    if program is None:
        return ""
    command = [program, "check", "-q", "-f", "qcow2", str(path)]
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=CHECK_DEADLINE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"qemu-img check of {path.name} did not end within {CHECK_DEADLINE:g} s"
    if result.returncode in _SOUND:
        return ""
    lines = (result.stderr or result.stdout).decode("utf-8", "replace").strip().splitlines()
    return f"qemu-img check of {path.name}: {lines[-1] if lines else f'exit status {result.returncode}'}"
