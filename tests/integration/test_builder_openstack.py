"""A builder on a simulated OpenStack that is killed while the cloud works for it: what the cloud has made is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builder_process import IMAGE, BuilderProcess
from tests.image_records import ImageRecords
from tests.launcher_process import zookeeper_client
from tests.zookeeper import Place, eventually
from tools.cloud.process import CloudProcess

SESSION = 4.0
"""Seconds for which the locks of a killed builder stand."""
PROVIDER = {
    "name": "west",
    "driver": "openstack",
    "cloud": "simulated",
    "rate": 0,
    "diskimages": [{"name": IMAGE}],
    "pools": [{"name": "main", "labels": [{"name": IMAGE, "diskimage": IMAGE, "min-ram": 512}]}],
}


class Site:
    """A builder and its cloud."""

    def __init__(self, cloud: CloudProcess, builder: BuilderProcess, records: ImageRecords) -> None:
        self.cloud = cloud
        self.builder = builder
        self.records = records

    def images(self) -> list[str]:
        """External ids of all uploaded images, whole or not."""
        entries = self.cloud.control.resources()["images"]
        return sorted(entry["id"] for entry in entries if "nodepool_build_id" in entry["properties"])

    def hang(self, call: str, when: str) -> None:
        """Have the next such call stay without an answer."""
        rule = {"fault": f"hang-{when}", "calls": [call], "at_most": 1, "seconds": 600}
        self.cloud.control.add_faults(calls=[rule])

    def called(self, call: str, count: int = 1) -> bool:
        """Whether there were so many calls."""
        return self.cloud.control.count(call) >= count

    def wait_settled(self) -> None:
        """Wait until one good upload is all that there is, in the records and in the cloud."""

        def is_settled() -> bool:
            found = self.records.uploads()
            return [upload.state for upload in found] == ["ready"] and self.images() == [str(found[0].external_id)]

        eventually(is_settled, 30.0, pause=0.05)


@pytest.fixture
def site(tmp_path: Path, zookeeper: Place) -> Iterator[Site]:
    with CloudProcess(tmp_path / "cloud") as cloud, zookeeper_client(zookeeper) as client:
        environment = {"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml)}
        builder = BuilderProcess(
            tmp_path / "builder", zookeeper, providers=[PROVIDER], environment=environment, zookeeper_timeout=SESSION
        )
        yield Site(cloud, builder, ImageRecords(client))
        builder.kill()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["image.image.create", "image.image.upload"])
def test_killed_in_an_upload(site: Site, call: str, when: str) -> None:
    site.hang(call, when)
    site.builder.start()
    eventually(lambda: site.called(call))
    eventually(lambda: len(site.images()) == (0 if (call, when) == ("image.image.create", "before") else 1))
    site.builder.kill()
    site.builder.start()
    site.wait_settled()


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_in_a_removal(site: Site, when: str) -> None:
    site.builder.start()
    site.wait_settled()
    (first,) = site.records.uploads()
    site.hang("image.image.delete", when)
    site.records.mark_deleting(first.path)
    eventually(lambda: site.called("image.image.delete"))
    eventually(lambda: (first.external_id in site.images()) is (when == "before"))
    site.builder.kill()
    site.builder.start()
    site.wait_settled()
    assert site.records.uploads()[0].path != first.path
