"""Builders as real processes on a real ZooKeeper: races, lost sessions, and sudden deaths in each phase."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from tests.launcher_process import fake_provider, zookeeper_client
from tests.zookeeper import PATIENCE, Place, Proxy, eventually

PROGRAM = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "nodepool.cmd.builder"]
STUB = Path(__file__).resolve().parents[1] / "stub_dib/disk-image-create"
BUILDS = "/nodepool/images/jammy/builds"
SESSION = 4.0
"""Seconds; the least that the server grants."""


class Builder:
    """A builder with a host of its own; all builders of a test upload to one cloud."""

    def __init__(self, directory: Path, place: Place, name: str, *, hosts: str = "", upload_time: float = 0.0) -> None:
        self.directory = directory / name
        self.images = self.directory / "images"
        self.hold = directory / f"hold-{name}"
        self._log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.directory.mkdir()
        host, port = (hosts or place.hosts).rsplit(":", 1)
        provider = fake_provider(
            "west", ["jammy"], fake={"images-dir": str(directory / "cloud"), "upload-time": upload_time}
        )
        image = {"name": "jammy", "dib-cmd": str(STUB), "env-vars": {"STUB_DIB_HOLD": str(self.hold)}}
        document = {
            "zookeeper-servers": [{"host": host, "port": int(port), "chroot": place.chroot}],
            "zookeeper-timeout": SESSION,
            "images-dir": str(self.images),
            "images-min-free-space": 0,
            "build-log-dir": str(self.directory / "logs"),
            "labels": [{"name": "jammy"}],
            "diskimages": [image],
            "providers": [{**provider, "diskimages": [{"name": "jammy"}]}],
        }
        (self.directory / "nodepool.yaml").write_text(yaml.safe_dump(document))

    def start(self) -> None:
        """Run it."""
        with self._log.open("ab") as log:
            command = [*PROGRAM, "-f", "-c", str(self.directory / "nodepool.yaml")]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def end(self, number: signal.Signals) -> int:
        """Its exit code after a signal."""
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(number)
        return process.wait(PATIENCE)

    def says(self, text: str) -> None:
        """Wait until it has said this."""
        eventually(lambda: text in self._log.read_text())

    @property
    def files(self) -> list[str]:
        """All that is in its images directory, work under way included."""
        names = [path.name for path in self.images.glob("*")] + [path.name for path in self.images.glob(".building/*")]
        return sorted(name for name in names if name not in ("builder_id.txt", ".building"))


@pytest.fixture
def client(zookeeper: Place) -> Iterator[KazooClient]:
    with zookeeper_client(zookeeper) as connected:
        yield connected


@pytest.fixture
def builders(tmp_path: Path, zookeeper: Place) -> Iterator[list[Builder]]:
    """Two builders, not started."""
    both = [Builder(tmp_path, zookeeper, name) for name in ("nb1", "nb2")]
    yield both
    for builder in both:
        builder.kill()


def records(client: KazooClient, parent: str) -> dict[str, dict[str, Any]]:
    """The records below a path by name; empty ones and locks are left out."""
    found = {}
    try:
        for name in client.get_children(parent):
            if name != "lock":
                found[name] = json.loads(client.get(f"{parent}/{name}")[0] or b"{}")
    except NoNodeError:
        return {}
    return found


def builds(client: KazooClient, state: str) -> list[str]:
    """Ids of the builds in a state."""
    return [name for name, record in records(client, BUILDS).items() if record.get("state") == state]


def uploads(client: KazooClient) -> list[tuple[str, str]]:
    """State and external id of all uploads."""
    return [
        (record["state"], record["external_id"])
        for build in records(client, BUILDS)
        for record in records(client, f"{BUILDS}/{build}/providers/west/images").values()
        if record
    ]


def is_settled(client: KazooClient) -> bool:
    """Whether there is one good build, one good upload, and nothing else."""
    found = uploads(client)
    only = len(records(client, BUILDS)) == len(builds(client, "ready")) == 1
    return only and [state for state, _ in found] == ["ready"]


def cloud(directory: Path) -> list[str]:
    """External ids of the images in the cloud."""
    return sorted(path.name for path in directory.glob("cloud/west/*") if path.is_dir())


def test_two_builders_share_the_work(builders: list[Builder], client: KazooClient, tmp_path: Path) -> None:
    for builder in builders:
        builder.start()
    eventually(lambda: is_settled(client))
    assert cloud(tmp_path) == [external_id for _, external_id in uploads(client)]
    assert sorted(len(builder.files) > 0 for builder in builders) == [False, True]
    for builder in builders:
        assert builder.end(signal.SIGINT) == 0


def test_a_builder_that_is_killed_in_a_build_leaves_nothing(builders: list[Builder], client: KazooClient) -> None:
    builder = builders[0]
    builder.hold.touch()
    builder.start()
    eventually(lambda: builds(client, "building") and builder.files)
    lost = builds(client, "building")
    builder.kill()
    builder.hold.unlink()
    builder.start()
    eventually(lambda: is_settled(client))
    assert builds(client, "ready") != lost
    assert all(builds(client, "ready")[0] in name for name in builder.files)


def test_a_builder_that_is_killed_in_an_upload_leaves_nothing(
    zookeeper: Place, client: KazooClient, tmp_path: Path
) -> None:
    slow = Builder(tmp_path, zookeeper, "slow", upload_time=60.0)
    quick = Builder(tmp_path, zookeeper, "quick")
    quick.images = slow.images
    text = (quick.directory / "nodepool.yaml").read_text().replace(str(quick.directory), str(slow.directory))
    (quick.directory / "nodepool.yaml").write_text(text)
    try:
        slow.start()
        eventually(lambda: [state for state, _ in uploads(client)] == ["uploading"] and cloud(tmp_path))
        cut_off = cloud(tmp_path)
        slow.kill()
        quick.start()
        eventually(lambda: is_settled(client))
        eventually(lambda: cloud(tmp_path) == [external_id for _, external_id in uploads(client)])
        assert cloud(tmp_path) != cut_off
        assert len(builds(client, "ready")) == 1
    finally:
        slow.kill()
        quick.kill()


def test_a_build_outlives_the_session(zookeeper: Place, client: KazooClient, tmp_path: Path) -> None:
    with Proxy(int(zookeeper.hosts.rpartition(":")[2])) as proxy:
        builder = Builder(tmp_path, zookeeper, "nb1", hosts=proxy.hosts)
        builder.hold.touch()
        try:
            builder.start()
            eventually(lambda: builds(client, "building") and builder.files)
            (build,) = builds(client, "building")
            lock = f"{BUILDS}/lock"
            proxy.refuse()
            eventually(lambda: client.get_children(lock) == [])
            proxy.resume()
            eventually(lambda: client.get_children(lock))
            assert builds(client, "building") == [build]
            builder.hold.unlink()
            eventually(lambda: is_settled(client))
            assert builds(client, "ready") == [build]
            assert client.get_children(lock) == []
        finally:
            builder.kill()


def test_a_build_that_ends_while_zookeeper_is_away_counts(
    zookeeper: Place, client: KazooClient, tmp_path: Path
) -> None:
    with Proxy(int(zookeeper.hosts.rpartition(":")[2])) as proxy:
        builder = Builder(tmp_path, zookeeper, "nb1", hosts=proxy.hosts)
        builder.hold.touch()
        try:
            builder.start()
            eventually(lambda: builds(client, "building") and builder.files)
            (build,) = builds(client, "building")
            proxy.refuse()
            builder.hold.unlink()
            eventually(lambda: any(name.endswith(".qcow2") for name in builder.files))
            eventually(lambda: client.get_children(f"{BUILDS}/lock") == [])
            proxy.resume()
            eventually(lambda: is_settled(client))
            assert builds(client, "ready") == [build]
        finally:
            builder.kill()


def test_sigterm_ends_a_build_and_says_so(builders: list[Builder], client: KazooClient) -> None:
    builder = builders[0]
    builder.hold.touch()
    builder.start()
    eventually(lambda: builds(client, "building") and builder.files)
    assert builder.end(signal.SIGTERM) == 0
    (record,) = records(client, BUILDS).values()
    assert (record["state"], record["failures"]) == ("failed", 0)
    assert builder.files == []
    builder.hold.unlink()
    builder.start()
    eventually(lambda: is_settled(client))
