"""Which image a label boots from."""

from __future__ import annotations

import pytest

from nodepool.driver.adapter import LabelSettings
from nodepool.launcher.images import Image, is_offered, of_label
from nodepool.model.image import ImageUpload
from nodepool.model.states import UploadState
from nodepool.zk import paths
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Datum

LABEL = LabelSettings("a", diskimage="debian")
Upload = tuple[str, bytes]
"""A path and its data."""


def upload(
    build: str,
    time: float | None,
    state: UploadState = UploadState.READY,
    provider: str = "p",
    image: str = "debian",
    number: str = "0000000001",
) -> Upload:
    record = ImageUpload(
        image=image, build_id=build, provider=provider, id=number, state=state, state_time=time, external_id=f"e{build}"
    )
    return paths.upload(image, build, provider, number), record.to_json()


def mirror_of(*uploads: Upload) -> Mirror:
    mirror = Mirror()
    mirror.apply_own({path: Datum(data, 0, 1, 1, 0.0, 0.0, 0) for path, data in uploads})
    return mirror


def found(*uploads: Upload) -> str | None:
    """External id of the image of :data:`LABEL`."""
    image = of_label(mirror_of(*uploads), "p", LABEL)
    return image.external_id if image else None


def test_a_cloud_image_needs_no_upload() -> None:
    label = LabelSettings("a", cloud_image="Debian 12")
    assert of_label(Mirror(), "p", label) == Image("Debian 12", None)


def test_without_an_upload_there_is_no_image() -> None:
    assert of_label(Mirror(), "p", LABEL) is None


def test_the_record_names_the_upload_by_its_path() -> None:
    one = upload("0000000001", 5.0)
    key = "debian", "0000000001", "p", "0000000001"
    assert of_label(mirror_of(one), "p", LABEL) == Image(one[0], "e0000000001", key)


def test_an_image_is_offered_until_its_upload_is_taken_back() -> None:
    chosen = of_label(mirror_of(upload("0000000001", 5.0)), "p", LABEL)
    assert chosen is not None
    assert is_offered(mirror_of(upload("0000000001", 5.0), upload("0000000002", 6.0)), chosen)
    assert not is_offered(mirror_of(upload("0000000001", 7.0, UploadState.DELETING)), chosen)
    assert not is_offered(Mirror(), chosen)
    assert is_offered(Mirror(), Image("Debian 12", None))


@pytest.mark.parametrize("times", [(1.0, 3.0, 2.0), (None, 3.0, 2.0)])
def test_the_newest_upload_wins_wherever_it_stands(times: tuple[float | None, ...]) -> None:
    uploads = [upload(f"000000000{number}", time) for number, time in enumerate(times)]
    assert found(*uploads) == "e0000000001"
    assert found(*reversed(uploads)) == "e0000000001"


@pytest.mark.parametrize("state", [state for state in UploadState if state is not UploadState.READY])
def test_only_ready_uploads_count(state: UploadState) -> None:
    assert found(upload("0000000001", 9.0, state)) is None
    assert found(upload("0000000001", 9.0, state), upload("0000000002", 1.0)) == "e0000000002"


def test_uploads_of_other_providers_and_images_do_not_count() -> None:
    others = (upload("0000000001", 9.0, provider="q"), upload("0000000002", 9.0, image="fedora"))
    assert found(*others) is None
    assert found(*others, upload("0000000003", 1.0)) == "e0000000003"


def test_an_upload_that_cannot_be_read_does_not_count() -> None:
    broken = (upload("0000000002", 9.0)[0], b"{")
    assert found(broken) is None
    assert found(broken, upload("0000000001", 1.0)) == "e0000000001"
