"""What every image adapter must do, whatever driver it belongs to."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from nodepool.driver.adapter import PROVIDER_TAG
from nodepool.driver.contract import ConfigPool, Driver, NodeRequestHandler, Provider, ProviderConfig
from nodepool.driver.errors import CloudError, NotFound, UnknownOutcome
from nodepool.driver.fake.driver import FakeDriver, FakeProvider
from nodepool.driver.image_adapter import BUILD_TAG, UPLOAD_TAG, ImageAdapter, ImageOrder
from nodepool.driver.image_bridge import builder_adapter
from tests import local_host, openstack_bench
from tools.cloud.process import CloudProcess

DEADLINE = 20.0
SIZE = 3 << 20
TOP = SimpleNamespace(labels={}, diskimages={}, providers={})


@dataclass(frozen=True)
class Bench:
    """An adapter, a second one for a provider of another name on the same cloud, and a file."""

    adapter: ImageAdapter
    provider: str
    other: ImageAdapter
    file: Path

    def order(self, upload_id: str = "0000000001", **changes: Any) -> ImageOrder:
        order = ImageOrder(
            "deb-17",
            str(self.file),
            "raw",
            "build1",
            upload_id,
            {"os_distro": "debian", UPLOAD_TAG: "mine"},
            image="deb",
        )
        return replace(order, **changes)


def fake(request: pytest.FixtureRequest) -> Iterator[Bench]:
    directory: Path = request.getfixturevalue("tmp_path")
    adapters = [_fake_provider(name, directory).image_adapter for name in ("fake-a", "fake-b")]
    yield Bench(adapters[0], "fake-a", adapters[1], _file(directory))


def openstack(request: pytest.FixtureRequest) -> Iterator[Bench]:
    cloud: CloudProcess = request.getfixturevalue("cloud")
    made = openstack_bench.make(cloud)
    other = openstack_bench.make(cloud, name="other")
    yield Bench(made.adapter.images, "prov", other.adapter.images, _file(request.getfixturevalue("tmp_path")))
    for images in (made.adapter.images, other.adapter.images):
        for image in images.find(DEADLINE):
            images.delete(image.external_id, DEADLINE)
        images.stop()


def _fake_provider(name: str, directory: Path, **keys: Any) -> FakeProvider:
    driver = FakeDriver()
    entry = {"name": name, "diskimages": [{"name": "deb"}], "pools": [], "fake": {"images-dir": str(directory), **keys}}
    config = driver.getProviderConfig(entry)
    config.getSchema()(entry)
    config.load(TOP)
    return driver.getProvider(config)


def _file(directory: Path) -> Path:
    path = directory / "deb.raw"
    path.write_bytes(os.urandom(SIZE))
    return path


def local(request: pytest.FixtureRequest) -> Iterator[Bench]:
    directory: Path = request.getfixturevalue("tmp_path")
    adapters = [_local_images(name, directory) for name in ("here", "there")]
    yield Bench(adapters[0], "here", adapters[1], _file(directory))


def _local_images(name: str, directory: Path) -> ImageAdapter:
    keys: dict[str, Any] = {"name": name, "network_access": "none", "diskimages": [{"name": "deb"}]}
    return local_host.make(directory, {"diskimage": "deb"}, **keys).adapter.images


BENCHES: dict[str, Callable[[pytest.FixtureRequest], Iterator[Bench]]] = {
    "fake": fake,
    "openstack": openstack,
    "local": local,
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    yield from openstack_bench.run_cloud(tmp_path_factory.mktemp("cloud"))


@pytest.fixture(params=sorted(BENCHES))
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    yield from BENCHES[request.param](request)


def test_an_upload_is_found_by_its_tags_and_deleted(bench: Bench) -> None:
    order = bench.order()
    external_id = bench.adapter.upload(order, DEADLINE)
    (image,) = bench.adapter.find(DEADLINE)
    assert (image.external_id, image.name, image.ready) == (external_id, "deb-17", True)
    assert image.tags == {BUILD_TAG: "build1", UPLOAD_TAG: "0000000001", PROVIDER_TAG: bench.provider}
    assert image.is_upload("build1", "0000000001")
    assert not image.is_upload("build1", "0000000002")
    bench.adapter.delete(external_id, DEADLINE)
    assert list(bench.adapter.find(DEADLINE)) == []
    with pytest.raises(NotFound):
        bench.adapter.delete(external_id, DEADLINE)


def test_images_of_other_providers_are_not_found(bench: Bench) -> None:
    external_id = bench.other.upload(bench.order(), DEADLINE)
    assert list(bench.adapter.find(DEADLINE)) == []
    assert [image.external_id for image in bench.other.find(DEADLINE)] == [external_id]


def test_progress_is_told_in_bytes(bench: Bench) -> None:
    told: list[tuple[int, int]] = []
    bench.adapter.upload(bench.order(), DEADLINE, lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {SIZE}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (SIZE, SIZE)


def test_a_file_that_is_not_there_is_an_error_and_leaves_nothing(bench: Bench) -> None:
    with pytest.raises(CloudError, match="missing"):
        bench.adapter.upload(bench.order(path=str(bench.file.with_name("missing"))), DEADLINE)
    assert list(bench.adapter.find(DEADLINE)) == []


def test_uploads_may_come_from_several_threads(bench: Bench) -> None:
    made: list[str] = []
    orders = [bench.order(f"{number:010d}") for number in range(4)]
    threads = [
        threading.Thread(target=lambda order=order: made.append(bench.adapter.upload(order, DEADLINE)))
        for order in orders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert len(set(made)) == 4
    found = {image.tags[UPLOAD_TAG]: image.external_id for image in bench.adapter.find(DEADLINE)}
    assert set(found) == {order.upload_id for order in orders}
    assert set(found.values()) == set(made)


def test_the_format_is_known_without_the_cloud(bench: Bench) -> None:
    assert bench.adapter.disk_format("deb") == "qcow2"


# The fake cloud's own


def test_the_fake_cloud_keeps_every_byte(tmp_path: Path) -> None:
    images = _fake_provider("fake-a", tmp_path).image_adapter
    file = _file(tmp_path)
    external_id = images.upload(ImageOrder("n", str(file), "raw", "b", "1"), DEADLINE)
    assert images.content(external_id).read_bytes() == file.read_bytes()
    again = _fake_provider("fake-a", tmp_path).image_adapter
    assert [image.external_id for image in again.find(DEADLINE)] == [external_id]


@pytest.mark.parametrize(
    ("fault", "error", "left"),
    [
        ("upload-refused", CloudError, 0),
        ("upload-unknown-undone", UnknownOutcome, 0),
        ("upload-unknown-done", UnknownOutcome, 1),
    ],
)
def test_faults_of_fake_uploads(tmp_path: Path, fault: str, error: type[CloudError], left: int) -> None:
    images = _fake_provider("fake-a", tmp_path, faults={fault: 1}).image_adapter
    with pytest.raises(error) as raised:
        images.upload(ImageOrder("n", str(_file(tmp_path)), "raw", "b", "1"), DEADLINE)
    assert raised.type is error
    assert len(images.find(DEADLINE)) == left


def test_an_image_can_be_made_to_fail(tmp_path: Path) -> None:
    images = _fake_provider("fake-a", tmp_path).image_adapter
    with pytest.raises(CloudError, match="refused"):
        images.upload(ImageOrder("n", str(_file(tmp_path)), "raw", "b", "1", {"SHOULD_FAIL": "true"}), DEADLINE)


def test_a_fake_upload_that_is_cut_off_leaves_an_image_that_is_not_ready(tmp_path: Path) -> None:
    images = _fake_provider("fake-a", tmp_path, **{"upload-time": 60}).image_adapter
    file = _file(tmp_path)

    def stop(done: int, total: int) -> None:
        if done == total:
            images.stop()

    with pytest.raises(UnknownOutcome):
        images.upload(ImageOrder("n", str(file), "raw", "b", "1"), DEADLINE, stop)
    (image,) = images.find(DEADLINE)
    assert (image.state, image.ready) == ("saving", False)
    assert image.is_upload("b", "1")


def test_fake_images_without_a_record_are_leftovers(tmp_path: Path) -> None:
    provider = _fake_provider("fake-a", tmp_path)
    external_id = provider.image_adapter.upload(ImageOrder("n", str(_file(tmp_path)), "raw", "b", "1"), DEADLINE)
    (leftover,) = provider.adapter.leftovers(DEADLINE)
    assert (leftover.kind, leftover.external_id, leftover.upload) == ("images", external_id, ("b", "1"))
    provider.adapter.remove_leftover(leftover, DEADLINE)
    provider.adapter.remove_leftover(leftover, DEADLINE)
    assert provider.adapter.leftovers(DEADLINE) == ()


# A driver that knows only the contract


class ForeignConfig(ProviderConfig):
    pools: Mapping[str, ConfigPool] = MappingProxyType({})
    manage_images = True
    diskimages: ClassVar = {"deb": SimpleNamespace(pause=True, meta={"a": "b"}, image_type="vhd")}
    image_name_format = "{image_name}!"
    image_upload_timeout = 5

    def getSchema(self) -> dict[Any, Any]:
        return {}

    def load(self, config: Any) -> None:
        pass


class ForeignProvider(Provider):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def listNodes(self) -> list[Any]:
        return []

    def cleanupNode(self, node_id: Any) -> None:
        raise NotImplementedError

    def getRequestHandler(self, poolworker: Any, request: Any) -> NodeRequestHandler:
        raise NotImplementedError

    def uploadImage(
        self,
        provider_image: Any,
        image_name: str,
        filename: str,
        image_type: str | None = None,
        meta: dict[str, Any] | None = None,
        md5: str | None = None,
        sha256: str | None = None,
    ) -> str:
        if image_name == "broken":
            raise KeyError("what")
        self.calls.append((provider_image.image_type, image_name, filename, image_type, meta, md5, sha256))
        return "id-1"

    def deleteImage(self, external_id: str) -> None:
        self.calls.append(external_id)


class ForeignDriver(Driver):
    def getProviderConfig(self, provider: dict[str, Any]) -> ForeignConfig:
        return ForeignConfig(self, provider)

    def getProvider(self, provider_config: ProviderConfig) -> ForeignProvider:  # noqa: ARG002
        return ForeignProvider()


def test_a_foreign_driver_is_driven_by_the_contract() -> None:
    config = ForeignDriver().getProviderConfig({"name": "prov"})
    provider = ForeignProvider()
    adapter = builder_adapter(provider, config)
    assert adapter.disk_format("deb") == "vhd"
    order = ImageOrder("deb!", "/deb.vhd", "vhd", "b", "1", {"a": "b"}, "m", "s", "deb")
    assert adapter.upload(order, DEADLINE) == "id-1"
    adapter.delete("id-1", DEADLINE)
    meta = {"a": "b", BUILD_TAG: "b", UPLOAD_TAG: "1", PROVIDER_TAG: "prov"}
    assert provider.calls == [("vhd", "deb!", "/deb.vhd", "vhd", meta, "m", "s"), "id-1"]
    with pytest.raises(UnknownOutcome, match="uploadImage of the driver failed: KeyError"):
        adapter.upload(replace(order, name="broken"), DEADLINE)
    assert adapter.find(DEADLINE) == ()


def test_a_foreign_configuration_is_read_by_its_attributes() -> None:
    settings = ForeignDriver().getProviderConfig({"name": "prov"}).image_settings()
    assert (settings.images["deb"].pause, settings.images["deb"].properties) == (True, {"a": "b"})
    assert settings.external_name("deb", "0000000001", 17.9) == "deb!"
    assert (settings.upload_timeout, settings.post_upload_hook) == (5, None)
