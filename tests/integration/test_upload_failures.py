"""Uploads that fail, hooks that refuse, providers that are slow: real builders, and the fake driver's cloud."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodepool.builder.dib.processes import process_of
from tests.builder_process import PROGRAM, BuilderProcess, image_provider, images_in
from tests.image_records import ImageRecords, Upload
from tests.launcher_process import zookeeper_client
from tests.zookeeper import Place, eventually

GOOD, BAD = "east", "west"


class Site:
    """A builder with two providers, of which one has trouble."""

    def __init__(self, directory: Path, place: Place) -> None:
        self.directory = directory
        self.cloud = directory / "cloud"
        self.builder = BuilderProcess(directory / "builder", place, providers=[])
        self.records: ImageRecords

    def configure(self, *, fake: dict[str, Any] | None = None, **provider: Any) -> None:
        """Give the bad provider these settings."""
        good = image_provider(GOOD, self.cloud)
        bad = image_provider(BAD, self.cloud, fake=fake, **provider)
        self.builder.configure(providers=[bad, good])

    def hook(self, script: str) -> str:
        """Write a hook; returns its path."""
        path = self.directory / "hook"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    def uploads(self, provider: str, state: str) -> list[Upload]:
        """Uploads of a provider in a state."""
        return [upload for upload in self.records.uploads(state) if upload.provider == provider]

    def failure(self) -> dict[str, Any]:
        """The record of the failed upload, when the good provider has its image."""
        eventually(lambda: self.uploads(BAD, "failed") and self.uploads(GOOD, "ready"))
        return self.records.read(self.uploads(BAD, "failed")[0].path)

    def wait_mended(self) -> None:
        """Wait until all is as it should be."""
        eventually(lambda: [upload.state for upload in self.records.uploads()] == ["ready", "ready"])
        for provider in (GOOD, BAD):
            (upload,) = self.uploads(provider, "ready")
            assert images_in(self.cloud, provider) == [upload.external_id]


@pytest.fixture
def site(tmp_path: Path, zookeeper: Place) -> Iterator[Site]:
    site = Site(tmp_path, zookeeper)
    with zookeeper_client(zookeeper) as client:
        site.records = ImageRecords(client)
        yield site
        site.builder.kill()


def test_a_refused_upload_waits_for_its_next_try_or_a_new_configuration(site: Site) -> None:
    site.configure(fake={"faults": {"upload-refused": 1.0}})
    with site.builder:
        record = site.failure()
        assert "was refused" in record["error"]
        assert (record["failures"], record["external_id"]) == (1, None)
        assert record["retry_at"] == pytest.approx(record["state_time"] + 10.0)
        assert images_in(site.cloud, BAD) == []
        site.configure()
        site.wait_mended()
        assert site.uploads(BAD, "ready")[0].time < record["retry_at"]


@pytest.mark.parametrize("fault", ["upload-unknown-done", "upload-unknown-undone"])
def test_what_an_upload_of_unknown_fate_has_left_is_removed(site: Site, fault: str) -> None:
    site.configure(fake={"faults": {fault: 1.0}})
    with site.builder:
        assert site.failure()["error"] == "the connection broke"
        site.configure()
        site.wait_mended()


def test_an_image_that_the_hook_refuses_is_removed_and_never_used(site: Site) -> None:
    site.configure(post_upload_hook=site.hook('echo "$1 $2 does not boot"; exit 3'))
    with site.builder:
        record = site.failure()
        assert "ended with exit status 3: west fake-" in record["error"]
        assert images_in(site.cloud, BAD) == []
        site.configure(post_upload_hook=site.hook("exit 0"), rate=1)
        site.wait_mended()


def test_a_hook_that_does_not_end_is_killed_with_its_children(site: Site) -> None:
    site.configure(post_upload_hook=site.hook("sleep 1000 & sleep 1000"), post_upload_hook_timeout=1)
    with site.builder:
        assert site.failure()["error"].endswith("did not end within 1 s")
        assert images_in(site.cloud, BAD) == []
        site.configure()
        site.wait_mended()


def test_a_slow_provider_delays_no_other(site: Site) -> None:
    site.configure(fake={"upload-time": 600.0})
    site.builder.program = (*PROGRAM, "--upload-workers", "1")
    with site.builder:
        eventually(lambda: site.uploads(BAD, "uploading") and site.uploads(GOOD, "ready"))
        site.records.request_build()
        eventually(lambda: len(site.uploads(GOOD, "ready")) == 2)
        assert len(site.uploads(BAD, "uploading")) == 1


def test_an_image_that_cannot_be_removed_yet_is_not_used_and_goes_later(site: Site) -> None:
    site.configure()
    with site.builder:
        site.wait_mended()
        site.configure(fake={"faults": {"image-delete-refused": 1.0}})
        site.builder.wait_log("Configuration taken over")
        (first,) = site.uploads(BAD, "ready")
        site.records.mark_deleting(first.path)
        site.builder.wait_log("cannot be removed from provider west: the image")
        eventually(lambda: site.uploads(BAD, "ready"))
        assert len(images_in(site.cloud, BAD)) == 2
        assert [upload.path for upload in site.uploads(BAD, "deleting")] == [first.path]
        site.configure()
        site.wait_mended()
        site.builder.wait_log(f"Upload {first.path.rpartition('/')[2]} of build {first.build} of image jammy is gone")


def test_a_hook_ends_with_its_builder(site: Site) -> None:
    pid_file = site.directory / "pid"
    site.configure(post_upload_hook=site.hook(f"echo $$ > {pid_file}; exec sleep 1000"))
    site.builder.start()
    eventually(lambda: pid_file.exists() and pid_file.read_text().strip())
    assert site.builder.stop(signal.SIGTERM) == 0
    assert process_of(int(pid_file.read_text())) is None
    site.configure()
    with site.builder:
        site.wait_mended()
