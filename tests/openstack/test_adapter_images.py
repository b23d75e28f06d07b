"""The OpenStack driver on a real cloud: images are uploaded, found, used and deleted."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodepool.driver.errors import CloudError, NotFound
from nodepool.driver.image_adapter import ImageOrder
from tests.openstack_bench import DEADLINE, AdapterBench
from tests.real_openstack import RealCloud, bench, pool, provider

ENTRY = provider(
    diskimages=[{"name": "deb"}],
    pools=[pool({"name": "disk", "diskimage": "deb", "flavor-name": "m1.tiny"})],
)
for _label in ENTRY["pools"][0]["labels"]:
    del _label["cloud-image"]


@pytest.fixture
def prov(cloud: RealCloud) -> Iterator[AdapterBench]:
    del cloud
    with bench(ENTRY) as made:
        yield made


def order(path: Path, disk_format: str, **further: object) -> ImageOrder:
    return ImageOrder(f"deb-{disk_format}", str(path), disk_format, "build1", "0000000001", **further)  # type: ignore[arg-type]


def a_raw_image(directory: Path) -> Path:
    path = directory / "image.raw"
    path.write_bytes(os.urandom(3 << 20))
    return path


def a_qcow2_image(directory: Path) -> Path:
    """An empty disk of a megabyte in version 3 of the format (QEMU, docs/interop/qcow2.rst)."""
    cluster = 1 << 16
    header = struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        *(b"QFI\xfb", 3, 0, 0, 16, 1 << 20, 0, 1, 3 * cluster, cluster, 1, 0, 0, 0, 0, 0, 4, 104),
    )
    counts = struct.pack(">Q", 2 * cluster), struct.pack(">HHHH", 1, 1, 1, 1)
    path = directory / "image.qcow2"
    path.write_bytes(b"".join(part.ljust(cluster, b"\0") for part in (header, *counts, b"")))
    return path


@pytest.mark.parametrize(("disk_format", "make"), [("raw", a_raw_image), ("qcow2", a_qcow2_image)])
def test_an_image_is_uploaded_and_used(
    prov: AdapterBench, cloud: RealCloud, tmp_path: Path, disk_format: str, make: object
) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    content = path.read_bytes()
    further = {"properties": {"os_distro": "debian", "hw_rng_model": "virtio"}, "md5": hashlib.md5(content).hexdigest()}
    further["sha256"] = hashlib.sha256(content).hexdigest()
    image_id = prov.adapter.images.upload(order(path, disk_format, **further), DEADLINE)
    (image,) = cloud.uploads()
    assert (image.id, image.status, image.visibility, image.disk_format) == (image_id, "active", "private", disk_format)
    assert (image.size, image.checksum) == (len(content), further["md5"])
    assert (image.os_distro, image.hw_rng_model) == ("debian", "virtio")
    (found,) = prov.adapter.images.find(DEADLINE)
    assert (found.external_id, found.name, found.state) == (image_id, f"deb-{disk_format}", "active")
    assert found.tags == {
        "nodepool_build_id": "build1",
        "nodepool_upload_id": "0000000001",
        "nodepool_provider_name": "prov",
    }
    server = prov.active(prov.create(label="disk", az="az1", image_external_id=image_id))
    assert server.tags["groups"] == "prov,deb,disk"
    prov.adapter.delete_server(server.external_id, DEADLINE)
    prov.gone(server.external_id)
    prov.adapter.images.delete(image_id, DEADLINE)
    assert prov.adapter.images.find(DEADLINE) == ()
    with pytest.raises(NotFound):
        prov.adapter.images.delete(image_id, DEADLINE)


def test_images_of_others_are_not_ours(prov: AdapterBench, tmp_path: Path) -> None:
    with bench(ENTRY | {"name": "other"}) as other:
        image_id = other.adapter.images.upload(order(a_raw_image(tmp_path), "raw"), DEADLINE)
        assert prov.adapter.images.find(DEADLINE) == ()
        assert [image.external_id for image in other.adapter.images.find(DEADLINE)] == [image_id]


def test_content_that_is_not_of_its_format_is_refused_and_leaves_nothing(
    prov: AdapterBench, cloud: RealCloud, tmp_path: Path
) -> None:
    with pytest.raises(CloudError, match=r"415|[Ff]ormat"):
        prov.adapter.images.upload(order(a_raw_image(tmp_path), "qcow2"), DEADLINE)
    assert cloud.uploads() == []


def test_an_upload_that_takes_too_long_leaves_nothing(prov: AdapterBench, cloud: RealCloud, tmp_path: Path) -> None:
    path = tmp_path / "image.raw"
    with path.open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(CloudError):
        prov.adapter.images.upload(order(path, "raw", md5="0" * 32, sha256="0" * 64), 0.5)
    assert cloud.uploads() == []


def test_an_image_that_is_gone_is_no_label_of_the_future(prov: AdapterBench, tmp_path: Path) -> None:
    image_id = prov.adapter.images.upload(order(a_raw_image(tmp_path), "raw"), DEADLINE)
    prov.adapter.images.delete(image_id, DEADLINE)
    with pytest.raises(CloudError, match="image"):
        prov.create(label="disk", az="az1", image_external_id=image_id)


def test_our_images_without_a_record_are_leftovers(prov: AdapterBench, cloud: RealCloud, tmp_path: Path) -> None:
    image_id = prov.adapter.images.upload(order(a_raw_image(tmp_path), "raw"), DEADLINE)
    (leftover,) = prov.adapter.leftovers(DEADLINE)
    assert (leftover.kind, leftover.external_id, leftover.upload) == ("images", image_id, ("build1", "0000000001"))
    prov.adapter.remove_leftover(leftover, DEADLINE)
    prov.adapter.remove_leftover(leftover, DEADLINE)
    assert cloud.uploads() == []
