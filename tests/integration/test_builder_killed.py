"""A builder that is killed at any point of its work: after the next start nothing is left, and the good images stay."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodepool.builder.dib.leftovers import loop_devices, mounts_below
from nodepool.builder.dib.processes import processes
from tests.builder_process import IMAGE, PROGRAM, BuilderProcess, image_provider, images_in
from tests.image_audit import ImageAudit
from tests.image_records import ImageRecords
from tests.journal import Journal
from tests.launcher_process import zookeeper_client
from tests.zookeeper import eventually, new_place
from tools.zookeeper import LocalZooKeeper

pytestmark = pytest.mark.slow
PROVIDER = "west"
SESSION = 2.0
"""Seconds for which the locks of a killed builder stand."""
DEATH_SECONDS = 60.0
"""A builder under observation is slow."""
SETTLE_SECONDS = 90.0
"""The next builder gives commands that do not listen 40 seconds."""
CONNECTED = "Connected to ZooKeeper"
KEPT = 2
HOOK = """#!/bin/sh
[ -e {hold} ] && exec sleep 1000
exit "$(cat {verdict})"
"""


class Site:
    """A builder with one image and one provider, whose newest two builds are uploaded."""

    def __init__(self, directory: Path, server: LocalZooKeeper) -> None:
        self.place = new_place(server.hosts)
        self.directory = directory
        self.cloud = directory / "cloud"
        self.hook_hold = directory / "hook-hold"
        self.verdict = directory / "hook-verdict"
        self.verdict.write_text("0")
        hook = directory / "hook"
        hook.write_text(HOOK.format(hold=self.hook_hold, verdict=self.verdict))
        hook.chmod(0o755)
        provider = image_provider(PROVIDER, self.cloud, post_upload_hook=str(hook))
        environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
        self.builder = BuilderProcess(
            directory / "builder",
            self.place,
            providers=[provider],
            environment=environment,
            zookeeper_timeout=SESSION,
        )
        self.records: ImageRecords
        self._journal = Journal(server.directory)
        self._audit = ImageAudit(self.place.chroot, PROVIDER)

    def prepare(self) -> list[str]:
        """Have two builds that are uploaded, and no builder; returns their ids, the older one first."""
        self.builder.program = PROGRAM
        while self.disorder(KEPT):
            count = len(self.records.builds_in("ready"))
            self.records.request_build()
            self._run_until_settled(min(count + 1, KEPT))
        return self.records.builds_in("ready")

    def die(self, place: str) -> None:
        """Have a builder begin a third build, and be killed there."""
        self.builder.program = (sys.executable, "-m", "tests.dying_daemon", "builder", place)
        self.records.request_build()
        self.builder.start()
        assert self.builder.wait_end(DEATH_SECONDS) == -signal.SIGKILL

    def recover(self, before: list[str]) -> None:
        """Start it again: the third build takes the place of the first, and all else is as before."""
        good = self.records.uploads("ready")
        assert good[-1].external_id in images_in(self.cloud, PROVIDER)
        self.builder.program = PROGRAM
        self._run_until_settled(KEPT)
        after = self.records.builds_in("ready")
        assert after[0] == before[1]
        assert after[1] not in before
        self._audit.play(self._journal.news())
        assert self._audit.complaints == []

    def disorder(self, count: int) -> list[str]:
        """What is not as it is when nothing is left to do, with so many builds; processes but the builder's own."""
        builds, uploads = self.records.builds_in("ready"), self.records.uploads("ready")
        wrong = [f"{count} builds, but {len(builds)}"] if len(builds) != count else []
        wrong += [f"build {name}" for name in self.records.builds() if name not in builds]
        wrong += [f"upload {one.path}" for one in self.records.uploads() if one not in uploads]
        wrong += [f"no upload of {name}" for name in builds if name not in [one.build for one in uploads]]
        wrong += [f"request {name}" for name in self.records.requests()]
        in_cloud = images_in(self.cloud, PROVIDER)
        if in_cloud != sorted(str(one.external_id) for one in uploads):
            wrong.append(f"in the cloud {in_cloud}, recorded {uploads}")
        endings = ("d", "qcow2", "qcow2.md5", "qcow2.sha256")
        files = sorted(f"{IMAGE}-{name}.{ending}" for name in builds for ending in endings)
        wrong += [f"file {name}" for name in sorted({*files} ^ {*self.builder.files})]
        wrong += [f"work {path}" for path in self.builder.work.glob("*")]
        wrong += [f"lock {path}" for path in self.records.contenders()]
        return wrong + [f"process {pid}" for pid in processes() if self._is_left_behind(pid)]

    def _run_until_settled(self, count: int) -> None:
        starts = self.builder.log.count(CONNECTED)
        self.builder.start()
        eventually(lambda: self.builder.log.count(CONNECTED) > starts, SETTLE_SECONDS)
        try:
            eventually(lambda: self.disorder(count) == [], SETTLE_SECONDS, pause=0.05)
        except AssertionError:
            raise AssertionError(f"{self.disorder(count)}\n{self.builder.log[-4000:]}") from None
        assert self.builder.stop(signal.SIGINT) == 0
        eventually(lambda: self.disorder(count) == [])

    def _is_left_behind(self, pid: int) -> bool:
        try:
            told = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return str(self.builder.images).encode() in told


@pytest.fixture(scope="module")
def server_site(tmp_path_factory: pytest.TempPathFactory, server: LocalZooKeeper) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"), server)
    with zookeeper_client(site.place) as client:
        site.records = ImageRecords(client)
        yield site


@pytest.fixture
def site(server_site: Site) -> Iterator[Site]:
    yield server_site
    server_site.builder.kill()
    server_site.hook_hold.unlink(missing_ok=True)
    server_site.builder.hold.unlink(missing_ok=True)
    server_site.verdict.write_text("0")


PLACES = {
    "the record of the build is written": "building:begun:call:1",
    "the place for work is made": "dib.workspace:Workspace.make:return:1",
    "the command runs": "dib.workspace:Workspace.led_by:return:1",
    "an image is verified": "dib.verification:what_is_wrong:call:1",
    "checksums are completed": "dib.checksums:complete:call:1",
    "nothing is moved yet": "dib.workspace:Workspace.publish:call:1",
    "some files are moved": "dib.workspace:Workspace._move:return:2",
    "all files are moved": "dib.workspace:Workspace._move:return:4",
    "it is known that all files are moved": "dib.workspace:Workspace.publish:return:1",
    "the build has ended": "building:ended:call:1",
    "the end of the build is recorded": "building:stored:call:1",
    "the record of the upload is written": "uploading:begun:call:1",
    "the call is about to be made": "image_calls:ImageCalls._upload:call:1",
    "the cloud has an image without content": "fake.images:FakeImages._write:return:1",
    "the cloud has the image": "fake.images:FakeImages.upload:return:1",
    "the hook runs": "hook:_ends_within:call:1",
    "the hook has ended": "hook:run_hook:return:1",
    "the upload has ended": "uploading:ended:call:1",
    "the end of the upload is recorded": "uploading:stored:call:1",
    "an upload is about to be marked": "removing:_mark_upload:return:1",
    "an upload is marked and locked": "removing:call:call:1",
    "the cloud is asked to remove an image": "fake.images:FakeImages.delete:call:1",
    "the cloud has removed an image": "fake.images:FakeImages.delete:return:1",
    "the removal of an image has ended": "removing:ended:call:1",
    "the record of an upload is about to be removed": "removing:_erase:return:1",
    "a build is about to be marked": "removing:_mark_build:return:1",
    "files are about to be removed": "files:ImageFiles.remove:call:1",
    "a file is removed": "dib.privileges:remove_tree:return:3",
    "files are removed": "files:ImageFiles.remove:return:1",
    "the removal of files has ended": "results:_files_removed:call:1",
    "the record of a build is about to be removed": "removing:_erase:return:2",
}
"""What has just happened when the builder is killed, and where that is."""


def place_of(name: str) -> str:
    package = "driver" if name.startswith("fake.") else "builder"
    return f"nodepool.{package}.{name}"


@pytest.mark.parametrize("place", [pytest.param(place_of(place), id=what) for what, place in PLACES.items()])
def test_killed_when(site: Site, place: str) -> None:
    before = site.prepare()
    if ":_ends_within:" in place:
        site.hook_hold.touch()
    site.die(place)
    site.hook_hold.unlink(missing_ok=True)
    site.recover(before)


@pytest.mark.parametrize("moment", ["call", "return"])
def test_killed_while_an_image_goes_that_the_hook_has_refused(site: Site, moment: str) -> None:
    before = site.prepare()
    site.verdict.write_text("1")
    site.die(place_of(f"image_calls:ImageCalls._delete:{moment}:1"))
    site.verdict.write_text("0")
    site.recover(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root: run this test as root")
def test_killed_while_the_command_has_something_mounted(site: Site) -> None:
    before = site.prepare()
    (image,) = site.builder.document["diskimages"]
    variables = image["env-vars"]
    site.builder.configure(diskimages=[{**image, "env-vars": {**variables, "STUB_DIB": "mounts"}}])
    site.builder.program = PROGRAM
    site.records.request_build()
    site.builder.start()
    eventually(lambda: list(site.builder.images.glob(".building/*/*.hanging")))
    assert len(mounts_below([str(site.directory)])) == 4
    site.builder.kill()
    site.builder.configure(diskimages=[image])
    site.recover(before)
    assert mounts_below([str(site.directory)]) == []
    assert loop_devices([str(site.directory)]) == []
