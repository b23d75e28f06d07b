"""Builder and launcher side by side: launches use the newest upload, and the one before it when that is taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.builder_process import IMAGE, BuilderProcess, image_provider
from tests.command_line import Commands
from tests.image_audit import ImageAudit
from tests.image_records import ImageRecords, Upload
from tests.journal import Journal
from tests.launcher_process import LauncherProcess
from tests.requestor import Zuul, zuul
from tests.zookeeper import eventually, new_place
from tools.cloud.process import CloudProcess
from tools.zookeeper import LocalZooKeeper

PROVIDER = "west"
PAUSE = 0.03
"""Seconds between two requests of the stream."""
CLOUD = {
    "region": {
        "boot": 0.1,
        "delete": 0.1,
        "quota": {"instances": 5000, "cores": -1, "ram": -1, "ports": -1},
        "networks": [{"name": "shared", "cidr": "203.0.0.0/16", "external": True, "shared": True}],
    }
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of cloud: its provider's entry, and what the programs need in their environment."""

    provider: dict[str, Any]
    environment: Mapping[str, str]
    images: Callable[[], Sequence[str]]
    """External ids of the images in the cloud."""


@pytest.fixture(params=["fake", "openstack"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    if request.param == "fake":
        place = tmp_path / "cloud"
        entry = image_provider(PROVIDER, place, fake={"instances": 5000, "cores": 20_000, "ram": 50_000_000})
        yield Kind(entry, {}, lambda: sorted(path.name for path in place.glob(f"{PROVIDER}/*")))
        return
    with CloudProcess(tmp_path / "cloud", CLOUD) as cloud:
        label = {"name": IMAGE, "diskimage": IMAGE, "min-ram": 512, "host-key-checking": False}
        entry = {
            "name": PROVIDER,
            "driver": "openstack",
            "cloud": "simulated",
            "rate": 0,
            "diskimages": [{"name": IMAGE}],
            "pools": [{"name": "main", "networks": ["shared"], "labels": [label]}],
        }

        def images() -> list[str]:
            entries = cloud.control.resources()["images"]
            return sorted(entry["id"] for entry in entries if "nodepool_build_id" in entry["properties"])

        yield Kind(entry, {"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml)}, images)


class Site:
    """A builder and a launcher with one image and one provider, an operator, and a Zuul that asks for nodes."""

    def __init__(self, directory: Path, server: LocalZooKeeper, kind: Kind) -> None:
        self.place = new_place(server.hosts)
        self.kind = kind
        self.nodepool = Commands(directory, self.place)
        self.builder = BuilderProcess(
            directory / "builder", self.place, providers=[kind.provider], environment=kind.environment
        )
        self.launcher = LauncherProcess(
            directory / "launcher", self.place, environment=kind.environment, **self._launcher_configuration()
        )
        self.requests: list[str] = []
        self.records: ImageRecords
        self._zuul: Zuul
        self._journal = Journal(server.directory)
        self._audit = ImageAudit(self.place.chroot, PROVIDER)
        self.configure()

    def configure(self, **provider: Any) -> None:
        """Write all configurations, with further keys of the provider, with ``_`` for ``-``."""
        self.kind.provider.update({name.replace("_", "-"): value for name, value in provider.items()})
        self.builder.configure(providers=[self.kind.provider])
        self.launcher.configure(**self._launcher_configuration())
        self.nodepool.document |= self.builder.document
        self.nodepool.write()

    def use(self, component: Zuul) -> None:
        """Take a client, by which all is asked and looked at."""
        self._zuul = component
        self.records = ImageRecords(component.client)

    def ask(self) -> str:
        """Make a request for one node; returns its id."""
        self.requests.append(self._zuul.submit(IMAGE))
        return self.requests[-1]

    def stream_until(self, condition: Callable[[], object]) -> None:
        """Ask for one node after the other until something is so."""
        eventually(lambda: self.ask() and condition(), pause=PAUSE)

    def image_of(self, request: str) -> str:
        """The upload from which the node of a request was made; waits for it."""
        (node,) = self._zuul.fulfilled(request)
        record = self._zuul.node(node)
        assert record is not None
        return str(record["image_id"])

    def wait_newest(self, than: Upload | None = None) -> Upload:
        """Wait for a ready upload that is newer than another."""

        def newer() -> list[Upload]:
            ready = self.records.uploads("ready")
            return [upload for upload in ready if than is None or upload.time > than.time]

        eventually(newer)
        return newer()[-1]

    @property
    def audit(self) -> ImageAudit:
        """All that happened so far; fails if a rule was broken."""
        self._audit.play(self._journal.news())
        assert self._audit.complaints == []
        return self._audit

    def check(self) -> ImageAudit:
        """Wait for all requests; none may have failed, nor any attempt."""
        for request in self.requests:
            self._zuul.fulfilled(request)
        assert " failed: " not in self.launcher.log, self.launcher.log[-4000:]
        return self.audit

    def _launcher_configuration(self) -> dict[str, Any]:
        images = [{"name": IMAGE}]
        return {"providers": [self.kind.provider], "labels": [IMAGE], "diskimages": images}


@pytest.fixture
def site(tmp_path: Path, server: LocalZooKeeper, kind: Kind) -> Iterator[Site]:
    site = Site(tmp_path, server, kind)
    with zuul(site.place) as component, site.builder, site.launcher:
        site.use(component)
        yield site


def delete_upload(site: Site, upload: Upload) -> None:
    """As an operator does."""
    number = upload.path.rpartition("/")[2]
    where = ["--provider", PROVIDER, "--image", IMAGE, "--build-id", upload.build, "--upload-id", number]
    site.nodepool.run("image-delete", *where)


def test_a_new_upload_is_used_by_the_next_launch(site: Site) -> None:
    first = site.wait_newest()
    site.builder.hold.touch()
    site.nodepool.run("image-build", IMAGE)
    site.stream_until(lambda: site.audit.first_launch(first.path) and site.records.builds_in("building"))
    site.builder.hold.unlink()
    site.stream_until(lambda: site.wait_newest().path != first.path)
    second = site.wait_newest()
    assert site.image_of(site.ask()) == second.path
    assert {launch.upload for launch in site.check().launches} == {first.path, second.path}


def test_launches_fall_back_when_an_upload_is_deleted(site: Site) -> None:
    first = site.wait_newest()
    site.nodepool.run("image-build", IMAGE)
    second = site.wait_newest(first)
    site.configure(diskimages=[{"name": IMAGE, "pause": True}])
    eventually(lambda: site.builder.log.count("Configuration taken over") == 1)
    site.stream_until(lambda: site.audit.first_launch(second.path))
    delete_upload(site, second)
    assert site.image_of(site.ask()) == first.path
    site.stream_until(lambda: second.external_id not in site.kind.images())
    eventually(lambda: [upload.path for upload in site.records.uploads()] == [first.path])
    site.check()


def test_launches_fall_back_when_a_build_is_deleted(site: Site) -> None:
    first = site.wait_newest()
    site.nodepool.run("image-build", IMAGE)
    second = site.wait_newest(first)
    site.nodepool.run("image-pause", IMAGE)
    site.stream_until(lambda: site.audit.first_launch(second.path))
    site.nodepool.run("dib-image-delete", f"{IMAGE}-{second.build}")
    eventually(lambda: site.records.builds_in("deleting") or len(site.records.builds()) == 1)
    site.stream_until(lambda: list(site.records.builds()) == [first.build])
    assert site.image_of(site.ask()) == first.path
    assert list(site.kind.images()) == [first.external_id]
    site.check()


def test_an_upload_that_is_made_again_is_used_again(site: Site) -> None:
    first = site.wait_newest()
    site.nodepool.run("image-build", IMAGE)
    second = site.wait_newest(first)
    delete_upload(site, second)
    site.stream_until(lambda: site.wait_newest().path not in (first.path, second.path))
    third = site.wait_newest()
    assert third.build == second.build
    assert site.image_of(site.ask()) == third.path
    site.check()


@pytest.mark.parametrize("kind", ["openstack"], indirect=True)
def test_no_launch_fails_because_its_image_has_gone_while_it_waited_for_its_turn(site: Site) -> None:
    first = site.wait_newest()
    site.nodepool.run("image-build", IMAGE)
    second = site.wait_newest(first)
    site.configure(rate=0.4, launch_retries=1, diskimages=[{"name": IMAGE, "pause": True}])
    eventually(lambda: site.builder.log.count("Configuration taken over") == 1)
    eventually(lambda: site.launcher.log.count("Configuration taken over") == 1)
    for _ in range(8):
        site.ask()
    eventually(lambda: len([launch for launch in site.audit.launches if launch.upload == second.path]) >= 8)
    site.records.mark_deleting(second.path)
    eventually(lambda: list(site.kind.images()) == [first.external_id])
    assert {site.image_of(request) for request in site.requests} <= {first.path, second.path}
    assert "whose upload is recorded as" in site.launcher.log, "no launch met the removed image: nothing is shown"
