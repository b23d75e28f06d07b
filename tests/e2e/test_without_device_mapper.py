"""The quickstart's stand-ins for programs that need device-mapper, with real loop devices."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from nodepool.builder.dib.leftovers import clean_up, loop_devices

STAND_INS = Path(__file__).resolve().parents[2] / "tools" / "quickstart" / "without-device-mapper"
SECTOR = 512
PARTITIONS = ((2048, 4096), (8192, 2048))
"""First sector and number of sectors."""


def _disk(path: Path) -> Path:
    """A disk with an MBR, whose partitions begin with a byte that tells them apart."""
    content = bytearray(16 << 20)
    for number, (start, count) in enumerate(PARTITIONS):
        struct.pack_into("<B3sB3sII", content, 446 + 16 * number, 0, b"", 0x83, b"", start, count)
        content[start * SECTOR] = ord("a") + number
    content[510:512] = b"\x55\xaa"
    path.write_bytes(content)
    return path


def _run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root: run this test as root")
def test_kpartx_maps_partitions_and_unmaps_them(tmp_path: Path) -> None:
    disk = _disk(tmp_path / "disk.raw")
    device = _run("losetup", "--show", "--find", disk)
    # The commands of diskimage-builder, which reach kpartx by sudo only.
    sudo, name = STAND_INS / "sudo", Path(device).name
    try:
        _run(sudo, "kpartx", "-uvs", device)
        for number, (_, count) in enumerate(PARTITIONS, 1):
            part = Path("/dev/mapper") / f"{name}p{number}"
            assert int(_run("blockdev", "--getsize64", part)) == count * SECTOR
            with part.open("rb") as content:
                assert content.read(1) == bytes([ord("a") + number - 1])
        _run(sudo, "kpartx", "-d", device)
        assert not list(Path("/dev/mapper").glob(f"{name}p*"))
        assert _run("losetup", "--noheadings", "--output", "NAME", "--associated", disk) == device
    finally:
        _run(sudo, "kpartx", "-d", device)
        _run("losetup", "-d", device)


@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root: run this test as root")
def test_what_a_killed_build_has_mapped_goes_with_its_leftovers(tmp_path: Path) -> None:
    place = tmp_path / "work"
    place.mkdir()
    device = _run("losetup", "--show", "--find", _disk(place / "disk.raw"))
    _run(STAND_INS / "sudo", "kpartx", "-uvs", device)
    links = {path: path.lstat().st_ctime_ns for path in Path("/dev/mapper").glob(f"{Path(device).name}p*")}
    assert len(links) == len(PARTITIONS)
    assert clean_up([str(place)]) == []
    # Another build may have the loop device by now, and links of the same name.
    assert not [path for path, made in links.items() if path.is_symlink() and path.lstat().st_ctime_ns == made]
    assert loop_devices([str(tmp_path)]) == []


def test_other_commands_reach_the_real_sudo() -> None:
    environment = {"PATH": f"{STAND_INS}:{os.environ['PATH']}"}
    result = subprocess.run(["sudo", "-n", "true"], env=environment, capture_output=True, text=True)
    assert "without-device-mapper" not in result.stderr
    if os.geteuid() == 0:
        assert result.returncode == 0
    said = subprocess.run(
        [STAND_INS / "run", "bash", "-c", "command -v sudo kpartx"], capture_output=True, text=True
    ).stdout
    assert said.split() == [str(STAND_INS / "sudo"), str(STAND_INS / "kpartx")]
