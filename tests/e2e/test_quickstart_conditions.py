"""``tools/quickstart.sh`` where it cannot work: it says so at once, with the remedy, and starts nothing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120.0
HIDE_DEVICES = """
set -eu
mkdir "$1/devices"
mount --rbind /dev "$1/devices"
mount -t tmpfs none /dev
for name in null zero random urandom; do touch "/dev/$name"; mount --bind "$1/devices/$name" "/dev/$name"; done
shift
exec "$@"
"""
SMALL_DISK = """
set -eu
mkdir "$1/disk"
mount -t tmpfs -o size=100m none "$1/disk"
shift
exec "$@"
"""
"""Scripts that are given a directory and a command."""

as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="to change what a program sees needs root: run this test as root"
)
pytestmark = pytest.mark.slow


def _refusal(directory: Path, *options: str | Path, where: str = "") -> str:
    """What the tool says when it refuses to begin; ``where`` is a script that changes what it sees."""
    command: list[str | Path] = [ROOT / "tools" / "quickstart.sh", "--dir", directory, *options]
    if where:
        command = ["unshare", "--mount", "sh", "-c", where, "sh", directory.parent, *command]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    assert "Start ZooKeeper" not in run.stdout
    (line,) = run.stderr.splitlines()
    return line.removeprefix("tools/quickstart.sh: ")


@as_root
def test_no_loop_devices(tmp_path: Path) -> None:
    said = _refusal(tmp_path / "quickstart", "--kind", "container", where=HIDE_DEVICES)
    assert said.startswith("this machine offers no loop device, which building an image needs (losetup: ")
    assert "modprobe loop" in said
    assert not (tmp_path / "quickstart").exists()


@as_root
@pytest.mark.parametrize(("kind", "needed"), [("qemu", "3072"), ("container", "3072"), ("static", "256")])
def test_a_disk_that_is_too_full(tmp_path: Path, kind: str, needed: str) -> None:
    said = _refusal(tmp_path / "disk", "--kind", kind, where=SMALL_DISK)
    assert said.startswith(f"the disk of {tmp_path / 'disk'} is too full: ")
    assert f"{needed} MiB are needed; free some space, or choose another directory with --dir" in said


def test_a_port_of_machines_that_is_taken(tmp_path: Path) -> None:
    image = _disk(tmp_path)
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        said = _refusal(tmp_path / "quickstart", "--image", image, "--ssh-port", str(port))
    assert f"can be used with port {port}: somebody else listens there" in said
    assert said.endswith("here with --ssh-port")


@pytest.mark.parametrize(
    ("name", "kind", "problem"),
    [
        ("none.qcow2", "qemu", "cannot be read: No such file or directory"),
        ("image.tar", "qemu", "are made of a file that ends in .qcow2 or .raw"),
        ("image.qcow2", "container", "are made of a file that ends in .tar"),
        ("garbage.qcow2", "qemu", "is no readable image in the format qcow2"),
        ("part.qcow2", "qemu", "is damaged, or only a part of it is there"),
        ("empty.raw", "qemu", "is empty"),
        ("garbage.tar", "container", "is no archive of a system with an SSH server"),
    ],
)
def test_an_image_that_cannot_be_used(tmp_path: Path, name: str, kind: str, problem: str) -> None:
    for garbage in ("garbage.qcow2", "garbage.tar"):
        (tmp_path / garbage).write_bytes(os.urandom(1 << 16))
    for other in ("image.tar", "image.qcow2", "empty.raw"):
        (tmp_path / other).touch()
    content = _disk(tmp_path).read_bytes()
    (tmp_path / "part.qcow2").write_bytes(content[: len(content) // 2])
    said = _refusal(tmp_path / "quickstart", "--kind", kind, "--image", tmp_path / name)
    assert str(tmp_path / name) in said
    assert problem in said


def _disk(directory: Path) -> Path:
    """An image without anything to boot in it."""
    raw, image = directory / "random.raw", directory / "disk.qcow2"
    raw.write_bytes(os.urandom(1 << 20))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image], check=True)
    return image


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        said = _refusal(directory, "--kind", "static")
        assert said == f"{tmp_path / 'file'} is not a directory: choose another with --dir"


@pytest.fixture
def fresh_checkout(tmp_path: Path) -> Path:
    """A checkout in which nothing was installed yet."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tools", tmp_path / "checkout" / "tools", ignore=ignored)
    return tmp_path / "checkout"


def _installs_nothing(checkout: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [checkout / "tools" / "quickstart.sh", *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    assert "Traceback" not in run.stderr
    assert sorted(path.name for path in checkout.iterdir()) == ["tools"]
    return run


@pytest.mark.parametrize("options", [["--frobnicate"], ["--kind", "cloud"], ["--kind", "static", "--image", "x.tar"]])
def test_wrong_options_are_said_before_anything_is_installed(fresh_checkout: Path, options: list[str]) -> None:
    run = _installs_nothing(fresh_checkout, *options)
    assert run.returncode == 2
    assert run.stderr.startswith("usage: tools/quickstart.sh")


@pytest.mark.parametrize("option", ["--status", "--stop", "--clean"])
def test_where_there_was_no_quickstart(fresh_checkout: Path, option: str) -> None:
    run = _installs_nothing(fresh_checkout, option)
    assert run.stdout == f"There is no quickstart in {fresh_checkout / '.nodepool-quickstart'}\n"
