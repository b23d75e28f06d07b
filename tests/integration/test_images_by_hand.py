"""What the manual tells operators to do about images, with a real builder and the stub of the build tool."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builder_process import BuilderProcess, image_provider
from tests.command_line import Commands, cells
from tests.launcher_process import zookeeper_client
from tests.zookeeper import PATIENCE, Place, eventually


class Site:
    """A builder with one image and one provider; each build waits while ``hold`` exists."""

    def __init__(self, directory: Path, place: Place) -> None:
        self.directory = directory
        self.place = place
        provider = image_provider("fake-west", directory / "cloud")
        self.process = BuilderProcess(directory, place, providers=[provider])
        self.hold = self.process.hold
        self.images = self.process.images
        self.nodepool = Commands(directory, place)
        self.configure()

    def configure(self, **variables: str) -> None:
        """Write the configuration, with these variables for the stub."""
        (image,) = self.process.document["diskimages"]
        known = {name: value for name, value in image["env-vars"].items() if name != "STUB_DIB"}
        self.process.configure(diskimages=[{**image, "elements": ["ubuntu"], "env-vars": {**known, **variables}}])
        self.nodepool.document |= self.process.document
        self.nodepool.write()

    @contextlib.contextmanager
    def builder(self) -> Iterator[None]:
        """A builder runs meanwhile; it ends in order."""
        with self.process:
            yield
            assert self.process.stop(signal.SIGINT) == 0

    def builds(self) -> list[dict[str, Any]]:
        """What dib-image-list shows."""
        return list(self.nodepool.json("dib-image-list"))

    def ready(self) -> list[dict[str, Any]]:
        """The uploads that can be used."""
        return [row for row in self.nodepool.json("image-list") if row["state"] == "ready"]

    def wait_ready(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many."""
        eventually(lambda: len(self.ready()) == count)
        return self.ready()

    def files(self) -> list[str]:
        """The images on the disk of the builder."""
        return sorted(name for name in os.listdir(self.images) if name.endswith(".qcow2"))


@pytest.fixture
def site(tmp_path: Path, zookeeper: Place) -> Site:
    return Site(tmp_path, zookeeper)


def test_a_build_is_watched_repeated_and_taken_back(site: Site) -> None:
    nodepool = site.nodepool
    site.hold.touch()
    with site.builder():
        eventually(lambda: list((site.directory / "logs").glob("*.log")))
        with nodepool.started("image-log", "-f", "jammy") as watching:
            assert watching.stdout is not None
            assert watching.stdout.readline() == "building qcow2 from ubuntu, release none\n"
            (running,) = site.builds()
            assert running["state"] == "building"
            assert "in progress" in nodepool.run("dib-image-delete", running["id"], status=1).stderr
            site.hold.unlink()
            assert watching.wait(PATIENCE) == 0
            assert watching.stdout.read().endswith("Build completed successfully\ncleaned up\nExit code: 0\n")
        (first,) = site.wait_ready(1)

        site.hold.touch()
        assert nodepool.run("image-build", "jammy").stderr == ""
        eventually(lambda: nodepool.json("image-status")[0]["build_request"] == "building")
        site.hold.unlink()
        second = site.wait_ready(2)[1]
        eventually(lambda: nodepool.json("image-status")[0]["build_request"] is None)

        nodepool.run("image-pause", "jammy")
        nodepool.run("dib-image-delete", f"jammy-{second['id']}")
        eventually(lambda: len(site.builds()) == 1)
        assert [row["id"] for row in site.wait_ready(1)] == [first["id"]]
        eventually(lambda: site.files() == [f"jammy-{first['id']}.qcow2"])
        assert [row["state"] for row in site.builds()] == ["paused"]


def test_an_upload_that_is_deleted_is_made_again(site: Site) -> None:
    with site.builder():
        (row,) = site.wait_ready(1)
        where = (
            "--provider",
            "fake-west",
            "--image",
            "jammy",
            "--build-id",
            row["id"],
            "--upload-id",
            row["upload_id"],
        )
        site.nodepool.run("image-delete", *where)
        eventually(lambda: [one["upload_id"] for one in site.ready()] not in ([], [row["upload_id"]]))
        eventually(lambda: len(site.nodepool.json("image-list")) == 1)
        assert len(list((site.directory / "cloud/fake-west").iterdir())) == 1
        assert site.nodepool.json("alien-image-list") == []


def test_a_failed_build_tells_why_and_need_not_be_waited_for(site: Site) -> None:
    site.configure(STUB_DIB="fail")
    nodepool = site.nodepool
    with site.builder():
        eventually(lambda: nodepool.json("image-status", "--detail")["backoff"])
        (row,) = nodepool.json("image-status", "--detail")["backoff"]
        assert (row["image"], row["provider"], row["failures"]) == ("jammy", None, 1)
        assert row["reason"] == "the command ended with exit status 7"
        assert cells(nodepool.run("image-status", "--detail").stdout)[-1][-1] == row["reason"]
        log = nodepool.run("image-log", "jammy").stdout
        assert "the element failed\n" in log
        assert log.endswith("The build has failed: the command ended with exit status 7\nExit code: 7\n")
        nodepool.run("image-build", "jammy")
        eventually(lambda: [one["failures"] for one in nodepool.json("image-status", "--detail")["backoff"]] == [2])
        site.configure()
        site.wait_ready(1)
        eventually(lambda: nodepool.json("image-status", "--detail")["backoff"] == [])


def test_images_survive_the_loss_of_zookeepers_data(site: Site) -> None:
    saved = str(site.directory / "saved.json")
    with site.builder():
        before = site.wait_ready(1)
        site.nodepool.run("export-image-data", saved)
        assert "stop all builders first" in site.nodepool.run("import-image-data", saved, status=1).stderr
    with zookeeper_client(site.place) as peer:
        peer.delete("/nodepool", recursive=True)
    files = site.files()
    site.nodepool.run("import-image-data", saved)
    with site.builder():
        site.nodepool.run("image-build", "jammy")
        assert site.wait_ready(2)[0] == before[0]
        assert set(files) < set(site.files())
