"""What a build that does not clean up leaves: mounts, loop devices, the host's own /dev bound into it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodepool.builder.dib.leftovers import clean_up, loop_devices, mounts_below
from tests.builds import BUILD, STUB, Site
from tests.zookeeper import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root: run this test as root")


@pytest.fixture(autouse=True)
def _leave_nothing(tmp_path: Path) -> Iterator[None]:
    """Even if a test fails."""
    yield
    Site(tmp_path, grace=0.1).runner.recover()
    clean_up([str(tmp_path / name) for name in ("temp", "work")])


def _host_devices() -> set[str]:
    return set(os.listdir("/dev"))


def test_a_build_that_is_killed_leaves_no_mounts(tmp_path: Path) -> None:
    before = _host_devices()
    site = Site(tmp_path, grace=0.5)
    order = site.begin("mounts")
    loop = (site.work(order) / f"{order.stem}.loop").read_text().strip()
    assert len(mounts_below([str(tmp_path)])) == 4
    assert loop_devices([str(tmp_path)]) == [loop]
    site.runner.stop("small", BUILD, "enough")
    assert site.result().reason == "enough"
    assert mounts_below([str(tmp_path)]) == []
    assert loop_devices([str(tmp_path)]) == []
    assert site.left_behind() == []
    assert _host_devices() >= before, "the host's /dev was emptied"


def test_a_killed_builder_leaves_no_mounts_after_the_next_start(tmp_path: Path) -> None:
    before = _host_devices()
    site = Site(tmp_path, grace=0.5)
    program = f"""
        import threading
        from pathlib import Path
        from tests.builds import Site
        site = Site(Path({str(tmp_path)!r}))
        site.runner.start(site.order(STUB_DIB="mounts"), print)
        threading.Event().wait()
    """
    builder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=STUB.parents[2])
    try:
        order = site.order()
        eventually((site.work(order) / f"{order.stem}.hanging").exists)
    finally:
        builder.kill()
        builder.wait()
    assert site.runner.recover() == [BUILD]
    assert mounts_below([str(tmp_path)]) == []
    assert loop_devices([str(tmp_path)]) == []
    assert site.left_behind() == []
    assert _host_devices() >= before


def test_a_mount_in_use_is_detached_and_what_it_shows_stays(tmp_path: Path) -> None:
    host, place = tmp_path / "host", tmp_path / "work"
    mounted = place / "mnt"
    mounted.mkdir(parents=True)
    host.mkdir()
    (host / "precious").touch()
    subprocess.run(["mount", "--bind", host, mounted], check=True)
    with subprocess.Popen(["sleep", "1000"], cwd=mounted) as user:
        assert clean_up([str(place)]) == []
        assert not place.exists()
        assert mounts_below([str(tmp_path)]) == []
        user.kill()
    assert (host / "precious").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Site]:
    """A site whose images have 2 MiB."""
    site = Site(tmp_path)
    site.images.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2M", "none", site.images], check=True)
    yield site
    subprocess.run(["umount", site.images], check=True)


def test_a_disk_that_becomes_full_fails_the_build(small_disk: Site) -> None:
    order = small_disk.order(formats=("raw",), STUB_DIB_SIZE=str(4 << 20))
    result = small_disk.build(order)
    assert not result.ok
    assert result.reason == "the command ended with exit status 1: a disk was full (No space left on device)"
    assert small_disk.names() == set()
    assert small_disk.left_behind() == []
    assert small_disk.build(small_disk.order(formats=("raw",))).ok


def test_a_disk_that_is_full_fails_the_build(small_disk: Site) -> None:
    with pytest.raises(OSError, match="No space"):
        (small_disk.images / "ballast").write_bytes(b"x" * (4 << 20))
    result = small_disk.build()
    assert not result.ok
    assert result.reason == "the builder could not do its part: No space left on device"
    assert small_disk.names() == {"ballast"}
    assert small_disk.left_behind() == []


def test_what_is_mounted_elsewhere_stays(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "work", tmp_path / "work-of-others"
    for place in (ours, theirs):
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        assert clean_up([str(ours)]) == []
        assert mounts_below([str(tmp_path)]) == [str(theirs)]
    finally:
        subprocess.run(["umount", theirs], check=True)
