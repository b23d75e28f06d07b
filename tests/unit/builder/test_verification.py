"""Whether a file is an image of its format, and its checksums."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import tarfile
from pathlib import Path

import pytest

from nodepool.builder.dib.checksums import complete
from nodepool.builder.dib.verification import what_is_wrong


def an_image(directory: Path, image_format: str) -> Path:
    path = directory / f"image.{image_format}"
    raw = directory / "content"
    raw.write_bytes(b"\1" * 65536)
    if image_format == "raw":
        return raw.rename(path)
    if image_format == "tar":
        with tarfile.open(path, "w") as archive:
            archive.add(raw, "content")
    elif image_format == "tgz":
        path.write_bytes(gzip.compress(b"x"))
    else:
        name = {"vhd": "vpc"}.get(image_format, image_format)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", name, raw, path], check=True)
    return path


@pytest.mark.parametrize("image_format", ["qcow2", "raw", "vhd", "vhdx", "vmdk", "vdi", "tar", "tgz"])
def test_real_images_are_right(tmp_path: Path, image_format: str) -> None:
    assert what_is_wrong(an_image(tmp_path, image_format), image_format) == ""


@pytest.mark.parametrize("image_format", ["qcow2", "vhd", "vhdx", "vmdk", "vdi", "tar", "tgz", "squashfs"])
def test_a_raw_image_is_no_other(tmp_path: Path, image_format: str) -> None:
    assert what_is_wrong(an_image(tmp_path, "raw"), image_format) == f"image.raw is no {image_format}"


def test_a_fixed_vhd_is_known_by_its_end(tmp_path: Path) -> None:
    path = tmp_path / "image.vhd"
    raw = an_image(tmp_path, "raw")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed", raw, path], check=True)
    assert what_is_wrong(path, "vhd") == ""


def test_what_is_not_there_or_empty(tmp_path: Path) -> None:
    path = tmp_path / "image.raw"
    assert what_is_wrong(path, "raw") == "the command left no image.raw"
    path.mkdir()
    assert what_is_wrong(path, "raw") == "the command left no image.raw"
    path.rmdir()
    path.touch()
    assert what_is_wrong(path, "raw") == "image.raw is empty"
    path.write_bytes(b"abc")
    assert what_is_wrong(path, "raw") == "image.raw has 3 bytes, which is no whole number of sectors"


def test_a_damaged_qcow2_is_found(tmp_path: Path) -> None:
    path = an_image(tmp_path, "qcow2")
    content = bytearray(path.read_bytes())
    content[0x28:0x30] = (1 << 40).to_bytes(8, "big")
    path.write_bytes(content)
    assert what_is_wrong(path, "qcow2").startswith("qemu-img check of image.qcow2: ")


def test_an_unknown_format_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "image.own"
    path.write_text("anything")
    assert what_is_wrong(path, "own") == ""


def test_checksums_that_are_there_are_kept(tmp_path: Path) -> None:
    path = an_image(tmp_path, "raw")
    Path(f"{path}.md5").write_text(f"{'0' * 32}  /elsewhere/image.raw\n")
    complete(path)
    assert Path(f"{path}.md5").read_text() == f"{'0' * 32}  image.raw\n"
    assert Path(f"{path}.sha256").read_text() == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  image.raw\n"


def test_a_checksum_file_that_is_broken_is_made_anew(tmp_path: Path) -> None:
    path = an_image(tmp_path, "raw")
    Path(f"{path}.md5").write_text("md5sum: cannot read\n")
    complete(path)
    assert Path(f"{path}.md5").read_text().split()[0] == hashlib.md5(path.read_bytes()).hexdigest()
