"""The images directory (spec builder 1.1, 3.6)."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

import pytest

from nodepool.builder.files import ImageFiles, ImagesDirectoryInUse

A, B = "a" * 32, "b" * 32


@pytest.fixture
def files(tmp_path: Path) -> ImageFiles:
    return ImageFiles(tmp_path / "images")


def make(files: ImageFiles, *names: str) -> None:
    files.directory.mkdir(exist_ok=True)
    for name in names:
        path = files.directory / name
        if name.endswith(".d"):
            path.mkdir()
            (path / "dib-manifests").mkdir()
            (path / "dib-manifests" / "dib_arguments").touch()
        else:
            path.touch()


def names(files: ImageFiles) -> set[str]:
    return {path.name for path in files.directory.iterdir()}


def test_builds_are_told_by_the_names_of_files(files: ImageFiles) -> None:
    assert files.builds() == {}
    make(
        files,
        f"deb-{A}.qcow2",
        f"deb-{A}.raw",
        f"deb-{A}.raw.md5",
        f"deb-{A}.d",
        f"deb-arm-{B}.vhd",
        "deb.raw",
        "notes",
    )
    make(files, "old-0000000042.qcow2", f"deb-{B}.d", f"{A}.qcow2")
    assert files.builds() == {
        ("deb", A): ("qcow2", "raw"),
        ("deb-arm", B): ("vhd",),
        ("old", "0000000042"): ("qcow2",),
        ("deb", B): (),
    }


def test_a_build_is_removed_with_all_that_belongs_to_it(files: ImageFiles) -> None:
    others = {f"deb-{B}.raw", f"deb-arm-{A}.raw", f"xdeb-{A}.raw"}
    make(files, f"deb-{A}.raw", f"deb-{A}.raw.md5", f"deb-{A}.d", f"deb-{A}.initrd", *others)
    files.remove("deb", A)
    assert names(files) == others
    files.remove("deb", A)


def test_some_formats_are_removed(files: ImageFiles) -> None:
    make(files, f"deb-{A}.raw", f"deb-{A}.raw.md5", f"deb-{A}.raw.sha256", f"deb-{A}.qcow2", f"deb-{A}.d")
    files.remove("deb", A, ("raw", "vhd"))
    assert names(files) == {f"deb-{A}.qcow2", f"deb-{A}.d"}


def test_checksums_are_the_first_word(files: ImageFiles) -> None:
    make(files, f"deb-{A}.raw", f"deb-{A}.raw.sha256")
    (files.directory / f"deb-{A}.raw.md5").write_text("0123  /somewhere/deb.raw\n")
    assert files.checksums("deb", A, "raw") == ("0123", None)
    assert files.path("deb", A, "raw").exists()


def test_the_identity_stays(files: ImageFiles) -> None:
    identity = files.identity()
    assert str(uuid.UUID(identity)) == identity
    assert (files.directory / "builder_id.txt").read_text() == identity
    assert ImageFiles(files.directory).identity() == identity


def test_an_identity_with_a_newline_is_read(files: ImageFiles) -> None:
    files.directory.mkdir()
    (files.directory / "builder_id.txt").write_text("abc\n")
    assert files.identity() == "abc"


def test_a_lost_identity_is_told(files: ImageFiles, caplog: pytest.LogCaptureFixture) -> None:
    make(files, f"deb-{A}.raw")
    with caplog.at_level(logging.WARNING):
        files.identity()
    assert "is gone: this builder has a new identity" in caplog.text


def test_two_builders_cannot_share_a_directory(files: ImageFiles) -> None:
    files.claim()
    other = ImageFiles(files.directory)
    with pytest.raises(ImagesDirectoryInUse, match="each needs an images-dir of its own"):
        other.claim()
    files.release()
    other.claim()
    other.release()
