"""Builders as real processes on a real ZooKeeper: races, lost sessions, and signals."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builder_process import BuilderProcess, image_provider, images_in
from tests.image_records import ImageRecords
from tests.launcher_process import zookeeper_client
from tests.zookeeper import Place, Proxy, eventually

SESSION = 4.0
"""Seconds; the least that the server grants."""
PROVIDER = "west"


def builder_on(directory: Path, place: Place, name: str, *, hosts: str = "") -> BuilderProcess:
    """A builder with a host of its own; all builders of a test upload to one cloud."""
    provider = image_provider(PROVIDER, directory / "cloud")
    return BuilderProcess(directory / name, place, providers=[provider], hosts=hosts, zookeeper_timeout=SESSION)


@pytest.fixture
def records(zookeeper: Place) -> Iterator[ImageRecords]:
    with zookeeper_client(zookeeper) as client:
        yield ImageRecords(client)


@pytest.fixture
def builders(tmp_path: Path, zookeeper: Place) -> Iterator[list[BuilderProcess]]:
    """Two builders, not started."""
    both = [builder_on(tmp_path, zookeeper, name) for name in ("nb1", "nb2")]
    yield both
    for builder in both:
        builder.kill()


def is_settled(records: ImageRecords) -> bool:
    """Whether there is one good build, one good upload, and nothing else."""
    found = records.uploads()
    return len(records.builds()) == len(records.builds_in("ready")) == len(found) == 1 and found[0].state == "ready"


def in_cloud(directory: Path) -> list[str]:
    """External ids of the images in the cloud."""
    return images_in(directory / "cloud", PROVIDER)


def external_ids(records: ImageRecords) -> list[str | None]:
    """Those that the records name."""
    return [upload.external_id for upload in records.uploads()]


def test_two_builders_share_the_work(builders: list[BuilderProcess], records: ImageRecords, tmp_path: Path) -> None:
    for builder in builders:
        builder.start()
    eventually(lambda: is_settled(records))
    assert in_cloud(tmp_path) == external_ids(records)
    assert sorted(len(builder.files) > 0 for builder in builders) == [False, True]
    for builder in builders:
        assert builder.stop(signal.SIGINT) == 0


def test_a_build_outlives_the_session(zookeeper: Place, records: ImageRecords, tmp_path: Path) -> None:
    with Proxy(int(zookeeper.hosts.rpartition(":")[2])) as proxy:
        builder = builder_on(tmp_path, zookeeper, "nb1", hosts=proxy.hosts)
        builder.hold.touch()
        try:
            builder.start()
            eventually(lambda: records.builds_in("building") and builder.files)
            (build,) = records.builds_in("building")
            proxy.refuse()
            eventually(lambda: records.contenders() == [])
            proxy.resume()
            eventually(lambda: records.contenders())
            assert records.builds_in("building") == [build]
            builder.hold.unlink()
            eventually(lambda: is_settled(records))
            assert records.builds_in("ready") == [build]
            eventually(lambda: records.contenders() == [])
        finally:
            builder.kill()


def test_a_build_that_ends_while_zookeeper_is_away_counts(
    zookeeper: Place, records: ImageRecords, tmp_path: Path
) -> None:
    with Proxy(int(zookeeper.hosts.rpartition(":")[2])) as proxy:
        builder = builder_on(tmp_path, zookeeper, "nb1", hosts=proxy.hosts)
        builder.hold.touch()
        try:
            builder.start()
            eventually(lambda: records.builds_in("building") and builder.files)
            (build,) = records.builds_in("building")
            proxy.refuse()
            builder.hold.unlink()
            eventually(lambda: any(name.endswith(".qcow2") for name in builder.files))
            eventually(lambda: records.contenders() == [])
            proxy.resume()
            eventually(lambda: is_settled(records))
            assert records.builds_in("ready") == [build]
        finally:
            builder.kill()


def test_sigterm_ends_a_build_and_says_so(builders: list[BuilderProcess], records: ImageRecords) -> None:
    builder = builders[0]
    builder.hold.touch()
    builder.start()
    eventually(lambda: records.builds_in("building") and builder.files)
    assert builder.stop(signal.SIGTERM) == 0
    (record,) = records.builds().values()
    assert (record["state"], record["failures"]) == ("failed", 0)
    assert builder.files == []
    builder.hold.unlink()
    builder.start()
    eventually(lambda: is_settled(records))
