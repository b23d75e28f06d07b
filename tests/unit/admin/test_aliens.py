"""Which images of a cloud nobody knows any more."""

from __future__ import annotations

import json

from nodepool.admin.aliens import Search, aliens
from nodepool.driver.image_adapter import BUILD_TAG, UPLOAD_TAG, UploadedImage
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Batch, Datum


def image(external_id: str, build_id: str = "", upload_id: str = "", name: str = "jammy-1") -> UploadedImage:
    tags = {BUILD_TAG: build_id, UPLOAD_TAG: upload_id} if build_id else {}
    return UploadedImage(external_id, name, "active", ready=True, tags=tags)


def known(*uploads: tuple[str, str, str, str, str | None]) -> Mirror:
    """Records of uploads: build, provider, number, state, external id."""
    entries = {}
    for build, provider, number, state, external_id in uploads:
        path = f"/nodepool/images/jammy/builds/{build}/providers/{provider}/images/{number}"
        data = json.dumps({"state": state, "external_id": external_id}).encode()
        entries[path] = Datum(data, 0, 1, 1, 0.0, 0.0, 0)
    mirror = Mirror()
    mirror.apply(Batch(1, entries, True))
    return mirror


def ids(found: Search, mirror: Mirror) -> list[str]:
    return [row["image_id"] for row in aliens(found, mirror)]


def test_images_with_a_record_are_no_aliens_in_whatever_state() -> None:
    found = Search("west", (image("a", "b1", "0000000001"), image("b", "b1", "0000000002"), image("c", "b1", "x")))
    mirror = known(
        ("b1", "west", "0000000001", "ready", "a"),
        ("b1", "west", "0000000002", "uploading", None),
        ("b1", "west", "0000000003", "deleting", "c"),
    )
    assert ids(found, mirror) == []


def test_images_without_a_record_are_shown_by_name() -> None:
    found = Search("west", (image("b", "b1", "1", "noble-1"), image("a", "b1", "1", "jammy-1")))
    assert aliens(found, known()) == [
        {"provider": "west", "name": "jammy-1", "image_id": "a"},
        {"provider": "west", "name": "noble-1", "image_id": "b"},
    ]


def test_records_of_other_providers_do_not_count() -> None:
    mirror = known(("b1", "east", "0000000001", "ready", "a"))
    assert ids(Search("west", (image("a", "b1", "0000000001"),)), mirror) == ["a"]


def test_images_that_are_not_ours_are_no_aliens() -> None:
    assert ids(Search("west", (image("a"),)), known()) == []


def test_an_upload_without_an_id_is_not_every_image() -> None:
    mirror = known(("b1", "west", "0000000001", "failed", None))
    assert ids(Search("west", (image("a", "b2", "0000000001"),)), mirror) == ["a"]
