"""A real disk-image-create makes a small Debian, which goes through the fake driver byte for byte (spec builder 3)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodepool.builder.dib.leftovers import loop_devices, mounts_below
from nodepool.builder.dib.order import BuildOrder
from nodepool.builder.files import WORK, ImageFiles
from nodepool.config.settings import DiskImage
from tests.builds import BUILD, Site
from tests.command_line import Commands
from tests.launcher_process import fake_provider
from tests.zookeeper import PATIENCE, Place, eventually

ELEMENTS = Path(__file__).parents[1] / "elements"
COMMAND = "disk-image-create -n"
FORMATS = ("qcow2", "raw")
MOST_SECONDS = 1200


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the builds of this module may use again."""
    return tmp_path_factory.mktemp("cache")


def variables_of(root: Path, cache: Path) -> dict[str, str]:
    """``env-vars`` of the image: whatever is written lies below ``root``, or in ``cache``."""
    return {
        "TMP_DIR": str(root / "temp"),
        "DIB_IMAGE_CACHE": str(cache),
        "DIB_LOCKFILES": str(cache / "locks"),
        "DIB_JOURNAL_SIZE": "4",
        "GREETING": "hello from nodepool",
    }


def order_of(site: Site, cache: Path) -> BuildOrder:
    """A real build below the site's directories."""
    image = DiskImage("small", elements=("tiny",), dib_cmd=COMMAND, env_vars=variables_of(site.temp.parent, cache))
    return BuildOrder("small", BUILD, FORMATS, image, str(site.images), str(ELEMENTS), str(site.logs))


@pytest.mark.slow
def test_the_builder_makes_and_uploads_a_real_image(tmp_path: Path, cache: Path, zookeeper: Place) -> None:
    nodepool = Commands(tmp_path, zookeeper)
    providers = [_provider(f"fake-{image_format}", image_format, tmp_path) for image_format in FORMATS]
    image = {"name": "small", "elements": ["tiny"], "dib-cmd": COMMAND, "env-vars": variables_of(tmp_path, cache)}
    nodepool.document |= {
        "images-dir": str(tmp_path / "images"),
        "elements-dir": str(ELEMENTS),
        "build-log-dir": str(tmp_path / "logs"),
        "images-min-free-space": 1,
        "diskimages": [image],
        "providers": providers,
    }
    nodepool.write()
    with _builder(nodepool, tmp_path):
        eventually(lambda: any((tmp_path / "cloud").glob("*/*")) or _failed(tmp_path), MOST_SECONDS)
        (log,) = (tmp_path / "logs").iterdir()
        assert not _failed(tmp_path), log.read_text()[-4000:]
        eventually(lambda: [one["state"] for one in nodepool.json("image-list")] == ["ready", "ready"])
        uploads = {row["provider"]: row["external_id"] for row in nodepool.json("image-list")}
        (build,) = nodepool.json("dib-image-list")
        build_id = build["id"].removeprefix("small-")
    files = ImageFiles(tmp_path / "images")
    assert files.builds() == {("small", build_id): FORMATS}
    raw, qcow2 = (files.path("small", build_id, image_format) for image_format in ("raw", "qcow2"))
    _assert_same_debian(raw, qcow2)
    for image_format, path in (("raw", raw), ("qcow2", qcow2)):
        content = tmp_path / "cloud" / f"fake-{image_format}" / uploads[f"fake-{image_format}"] / "content"
        subprocess.run(["cmp", path, content], check=True)
        digests = files.checksums("small", build_id, image_format)
        about = json.loads(content.with_name("image.json").read_text())
        assert (about["md5"], about["sha256"]) == digests
        assert (_digest("md5sum", path), _digest("sha256sum", path)) == digests
    assert log.read_text().splitlines()[-1] == "Exit code: 0"
    assert mounts_below([str(tmp_path)]) == []
    assert list((tmp_path / "temp").iterdir()) == list((tmp_path / "images" / WORK).iterdir()) == []


def _provider(name: str, image_format: str, root: Path) -> dict[str, Any]:
    provider = fake_provider(name, ["jammy"], fake={"images-dir": str(root / "cloud"), "image-format": image_format})
    return {**provider, "diskimages": [{"name": "small"}]}


@contextlib.contextmanager
def _builder(nodepool: Commands, root: Path) -> Iterator[None]:
    """The program runs meanwhile, and ends in order."""
    command = [sys.executable, "-m", "nodepool.cmd.builder", "-f", "-c", str(nodepool.file)]
    with (root / "builder.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        print((root / "builder.log").read_text())


def _failed(root: Path) -> bool:
    """Whether the builder has said so."""
    return " failed: " in (root / "builder.log").read_text()


def _assert_same_debian(raw: Path, qcow2: Path) -> None:
    subprocess.run(["qemu-img", "check", "-q", qcow2], check=True)
    subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", raw, qcow2], check=True)
    assert _read(raw, "cat /etc/greeting") == "built for small: hello from nodepool\n"
    assert {"bash", "dpkg", "tar"} <= set(_read(raw, "ls -p /usr/bin").replace("/", " ").split())


def _digest(program: str, path: Path) -> str:
    return subprocess.run([program, path], capture_output=True, text=True, check=True).stdout.split()[0]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="to kill what runs as root needs root: run this test as root")
def test_a_real_build_that_is_killed_with_its_builder_leaves_nothing_after_the_next_start(
    tmp_path: Path, cache: Path
) -> None:
    site = Site(tmp_path)
    program = (
        "import sys, threading; from pathlib import Path; from tests.builds import Site;"
        "from tests.integration.test_real_build import order_of;"
        "site, cache = Site(Path(sys.argv[1])), Path(sys.argv[2]);"
        "site.runner.start(order_of(site, cache), print); threading.Event().wait()"
    )
    builder = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(cache)], cwd=ELEMENTS.parents[1])
    try:
        eventually(lambda: loop_devices([str(tmp_path)]) and mounts_below([str(tmp_path)]), MOST_SECONDS)
    finally:
        builder.kill()
        builder.wait()
    leader = json.loads((site.work(order_of(site, cache)) / "build.json").read_text())["leader"]["pid"]
    os.killpg(leader, signal.SIGKILL)
    try:
        assert mounts_below([str(tmp_path)]), "nothing was left that would have to be removed"
    finally:
        assert site.runner.recover() == [BUILD]
    _assert_nothing_is_left(site)


def _assert_nothing_is_left(site: Site) -> None:
    place = [str(site.temp.parent)]
    assert (mounts_below(place), loop_devices(place), site.names(), site.left_behind()) == ([], [], set(), [])


def _read(raw: Path, request: str) -> str:
    """Answer of debugfs, which reads the file system without mounting it."""
    result = subprocess.run(["debugfs", "-R", request, raw], capture_output=True, text=True, check=True)
    return result.stdout
