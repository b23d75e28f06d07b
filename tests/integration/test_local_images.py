"""Images of the local driver: what is refused, what is taken along, and when they go."""

from __future__ import annotations

import os
import pwd
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodepool.driver.errors import BadLabel, CloudError, NotFound, QuotaExceeded
from nodepool.driver.local import container_ids, images
from tests import local_host, small_system
from tests.local_host import DEADLINE, LocalHost
from tests.zookeeper import eventually

SECTOR = 512
PARTITION = 2048
"""First sector of the partition."""


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[LocalHost]:
    """A provider whose machines start in a moment."""
    made = open_host(tmp_path, kind="container")
    yield made
    made.clear()


@pytest.fixture
def machines(tmp_path: Path) -> LocalHost:
    """A provider of virtual machines; none is started here."""
    return open_host(tmp_path, kind="qemu")


def open_host(directory: Path, **keys: Any) -> LocalHost:
    keys = {"network_access": "none", "network": "127.85.0.0/24", "diskimages": [{"name": "deb"}], **keys}
    return local_host.make(directory, {"diskimage": "deb", "ram": 64}, **keys)


def test_the_next_machine_is_of_the_next_image(containers: LocalHost, tmp_path: Path) -> None:
    said = []
    for number, marker in enumerate(("first", "second"), 1):
        image = containers.upload(small_system.write(tmp_path / f"{marker}.tar", marker), "tar", number)
        server = containers.active(containers.create(f"{number:010d}", image))
        said.append(containers.ask(server, "cat /etc/marker"))
    assert said == ["first", "second"]


def test_an_image_that_is_in_use_goes_with_its_last_machine(containers: LocalHost, tmp_path: Path) -> None:
    image = containers.upload(small_system.write(tmp_path / "small.tar"), "tar")
    external_id = containers.create(image=image)
    server = containers.active(external_id)
    containers.adapter.images.delete(image, DEADLINE)
    assert containers.adapter.images.find(DEADLINE) == ()
    with pytest.raises(NotFound):
        containers.adapter.images.delete(image, DEADLINE)
    assert containers.ask(server, "cat /etc/marker") == "first"
    with pytest.raises(NotFound, match=f"there is no image {image}"):
        containers.create("0000000002", image)
    containers.remove(external_id)
    containers.adapter.leftovers(DEADLINE)
    assert list((containers.state / "images").iterdir()) == []
    assert list((containers.state / "workshop").iterdir()) == []


def test_what_was_made_of_an_image_that_is_gone_is_swept(containers: LocalHost) -> None:
    (containers.state / "workshop" / "image-gone" / "tree").mkdir(parents=True)
    containers.adapter.leftovers(DEADLINE)
    assert list((containers.state / "workshop").iterdir()) == []


def test_an_image_for_which_there_is_no_room_says_so(
    machines: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "SPARE_BYTES", 1 << 60)
    with pytest.raises(QuotaExceeded, match=r"no room for the image 'deb-1' in .*: 1 MiB wanted, .* MiB free; delete"):
        machines.upload(empty_disk(tmp_path), "raw")
    assert machines.adapter.images.find(DEADLINE) == ()


def empty_disk(directory: Path) -> Path:
    path = directory / "disk.raw"
    path.write_bytes(bytes(1 << 20))
    return path


@pytest.mark.parametrize(
    ("disk_format", "why"), [("qcow2", "no readable image in the format qcow2"), ("tar", "need qcow2")]
)
def test_what_no_machine_can_be_made_of_is_refused(
    machines: LocalHost, tmp_path: Path, disk_format: str, why: str
) -> None:
    path = tmp_path / f"broken.{disk_format}"
    path.write_bytes(os.urandom(1 << 16))
    with pytest.raises(CloudError, match=why):
        machines.upload(path, disk_format)
    assert machines.adapter.images.find(DEADLINE) == ()


def test_an_image_that_needs_another_file_is_refused(machines: LocalHost, tmp_path: Path) -> None:
    base, overlay = empty_disk(tmp_path), tmp_path / "overlay.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, overlay], check=True)
    with pytest.raises(CloudError, match=f"not complete: it needs {base}"):
        machines.upload(overlay, "qcow2")


def test_a_kernel_that_lies_beside_an_image_is_taken_along(machines: LocalHost, tmp_path: Path) -> None:
    disk = empty_disk(tmp_path)
    beside = tmp_path / "disk.d"
    beside.mkdir()
    for name in ("vmlinuz", "initrd.img"):
        (beside / name).write_text(name)
    (beside / "cmdline").write_text("root=/dev/vda1\n")
    image = machines.adapter.images.get(machines.upload(disk, "raw"))
    assert image.kernel is not None
    assert image.initrd is not None
    assert (image.kernel.read_text(), image.initrd.read_text()) == ("vmlinuz", "initrd.img")
    assert image.kernel_arguments == "root=/dev/vda1"


@pytest.mark.parametrize("partitions", [False, True])
def test_the_newest_kernel_within_an_image_is_taken_out(machines: LocalHost, tmp_path: Path, partitions: bool) -> None:
    assert shutil.which("mkfs.ext4"), "mkfs.ext4 is missing: apt-get install --no-install-recommends e2fsprogs"
    boot = tmp_path / "root" / "boot"
    boot.mkdir(parents=True)
    for version in ("6.1.0-9", "6.1.0-10"):
        (boot / f"vmlinuz-{version}").write_text(f"kernel {version}")
        (boot / f"initrd.img-{version}").write_text(f"initrd {version}")
    file_system = tmp_path / "file-system.raw"
    subprocess.run(["mkfs.ext4", "-q", "-d", tmp_path / "root", file_system, "8M"], check=True)
    disk = partitioned(file_system) if partitions else file_system
    image = machines.adapter.images.get(machines.upload(disk, "raw"))
    assert image.kernel is not None
    assert image.initrd is not None
    assert (image.kernel.read_text(), image.initrd.read_text()) == ("kernel 6.1.0-10", "initrd 6.1.0-10")


def partitioned(file_system: Path) -> Path:
    """A disk with a partition table (MBR) and one partition."""
    content = file_system.read_bytes()
    table = bytearray(PARTITION * SECTOR)
    struct.pack_into("<B3xB3xII", table, 446, 0x80, 0x83, PARTITION, len(content) // SECTOR)
    table[510:512] = b"\x55\xaa"
    disk = file_system.with_name("disk.raw")
    disk.write_bytes(bytes(table) + content)
    return disk


def test_an_image_without_a_kernel_is_booted_by_the_firmware(machines: LocalHost, tmp_path: Path) -> None:
    image = machines.adapter.images.get(machines.upload(empty_disk(tmp_path), "raw"))
    assert (image.kernel, image.initrd) == (None, None)


def test_a_file_of_the_configuration_that_is_missing_says_so(tmp_path: Path) -> None:
    image = {"name": "n", "path": str(tmp_path / "missing.qcow2")}
    host = local_host.make(tmp_path, {"cloud-image": "n"}, network_access="none", cloud_images=[image])
    with pytest.raises(BadLabel, match=r"cloud-image 'n': the file .*missing\.qcow2 is not there, or may not be read"):
        host.create()


def test_memory_that_the_host_has_not_is_a_lack_of_room(tmp_path: Path) -> None:
    image = {"name": "n", "path": str(empty_disk(tmp_path))}
    label = {"cloud-image": "n", "ram": 1 << 30}
    host = local_host.make(tmp_path, label, network_access="none", cloud_images=[image])
    with pytest.raises(QuotaExceeded, match="this host has not 1073741824 MiB of memory left"):
        host.create()
    eventually(lambda: not host.adapter.list_servers(DEADLINE))


def test_an_upload_is_ready_only_when_its_tree_is_there(containers: LocalHost, tmp_path: Path) -> None:
    image = containers.adapter.images.get(containers.upload(small_system.write(tmp_path / "small.tar"), "tar"))
    assert (image.workshop / "tree" / "etc" / "marker").read_text() == "first\n"
    before = image.workshop.stat().st_mtime_ns
    containers.active(containers.create(image=image.id))
    assert image.workshop.stat().st_mtime_ns == before, "the image was unpacked once more"


def test_an_archive_that_is_cut_off_is_no_image_and_leaves_nothing(containers: LocalHost, tmp_path: Path) -> None:
    archive = small_system.write(tmp_path / "small.tar")
    os.truncate(archive, archive.stat().st_size // 2)
    with pytest.raises(CloudError, match=r"small\.tar (cannot be unpacked|is no archive)"):
        containers.upload(archive, "tar")
    assert containers.adapter.images.find(DEADLINE) == ()
    assert list((containers.state / "workshop").iterdir()) == []


_UPLOADER = """
import sys
from pathlib import Path
from tests.integration.test_local_images import open_host
open_host(Path(sys.argv[1]), kind="container").upload(Path(sys.argv[2]), "tar")
"""


def test_nothing_is_left_of_an_upload_that_was_killed_while_it_was_unpacked(
    containers: LocalHost, tmp_path: Path
) -> None:
    archive = small_system.write(tmp_path / "small.tar")
    workshop = containers.state / "workshop"
    with subprocess.Popen([sys.executable, "-c", _UPLOADER, str(tmp_path), str(archive)]) as builder:
        eventually(lambda: list(workshop.glob("*/*")) or builder.poll() is not None)
        builder.kill()
    (image,) = containers.adapter.images.find(DEADLINE)
    containers.adapter.images.delete(image.external_id, DEADLINE)
    assert list(workshop.iterdir()) == []
    assert list((containers.state / "images").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="to work for another user needs root: run this test as root")
def test_what_root_uploads_is_unpacked_for_the_owner_of_the_state_directory(
    containers: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = pwd.getpwnam("nobody").pw_uid
    (tmp_path / "subids").write_text(f"nobody:200000:{container_ids.COUNT}\n")
    monkeypatch.setattr(container_ids, "_FILES", (tmp_path / "subids", tmp_path / "subids"))
    os.chown(containers.state, user, -1)
    workshop = containers.state / "workshop" / containers.upload(small_system.write(tmp_path / "small.tar"), "tar")
    owned = {path.name: path.stat().st_uid for path in (workshop, *workshop.iterdir())}
    assert owned == {workshop.name: user, "lock": user, "tree": user}
    assert (workshop / "tree" / "home" / "zuul").stat().st_uid == 200000 + 1000 - 1
