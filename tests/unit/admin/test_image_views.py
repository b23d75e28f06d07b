"""Images, builds and uploads as rows: keys, types and order (spec launcher 6, cli 3 and 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nodepool.admin import image_views
from nodepool.admin.table import render
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Batch, Datum

NOW = 1718000200.0
OLD, NEW = "f" * 32, "0" * 32
CONTENDER = "0123456789abcdef0123456789abcdef__lock__0000000001"
BUILD = {
    "state": "ready",
    "state_time": NOW - 90_061.9,
    "builder": "nb1.example.org",
    "builder_id": "0f3a",
    "formats": "qcow2,raw",
    "username": "zuul",
    "python_path": "auto",
    "shell_type": None,
}
UPLOAD = {
    "state": "ready",
    "state_time": NOW - 60.5,
    "external_id": "b7e4",
    "external_name": "jammy-1718003700",
    "format": "qcow2",
}


def mirror_of(records: Mapping[str, Any], made: Mapping[str, float] | None = None) -> Mirror:
    """A mirror of znodes below the images' root; ``made`` is when a znode was created, if not at NOW."""
    mirror, entries = Mirror(), {}
    for name, value in records.items():
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        made_at = (made or {}).get(name, NOW)
        entries[f"/nodepool/images/{name}"] = Datum(data, 0, 1, 1, made_at, made_at, 0)
    mirror.apply(Batch(1, entries, True))
    return mirror


def uploads_of(build_id: str, provider: str, number: int) -> str:
    return f"jammy/builds/{build_id}/providers/{provider}/images/{number:010}"


def test_uploads_are_sorted_by_image_then_age_of_the_build() -> None:
    mirror = mirror_of(
        {
            f"jammy/builds/{NEW}": BUILD,
            f"jammy/builds/{OLD}": BUILD,
            uploads_of(NEW, "west", 1): UPLOAD,
            uploads_of(OLD, "west", 12): UPLOAD,
            uploads_of(OLD, "west", 2): {"state": "uploading"},
            uploads_of(OLD, "east", 9): UPLOAD,
            "alma/builds/b/providers/west/images/0000000001": UPLOAD,
        },
        {f"jammy/builds/{OLD}": NOW - 100},
    )
    rows = image_views.uploads(mirror)
    assert [(row["image"], row["id"], row["provider"], row["upload_id"]) for row in rows] == [
        ("alma", "b", "west", "0000000001"),
        ("jammy", OLD, "east", "0000000009"),
        ("jammy", OLD, "west", "0000000002"),
        ("jammy", OLD, "west", "0000000012"),
        ("jammy", NEW, "west", "0000000001"),
    ]
    assert rows[0] == {
        "id": "b",
        "upload_id": "0000000001",
        "provider": "west",
        "image": "alma",
        "external_name": "jammy-1718003700",
        "external_id": "b7e4",
        "state": "ready",
        "age": int(NOW - 60.5),
    }
    assert (rows[2]["external_id"], rows[2]["age"]) == (None, None)


def test_builds() -> None:
    mirror = mirror_of({f"jammy/builds/{OLD}": BUILD, f"jammy/builds/{NEW}": {"state": "building"}})
    rows = image_views.builds(mirror)
    assert [row["id"] for row in rows] == [f"jammy-{NEW}", f"jammy-{OLD}"]
    assert rows[1] == {
        "id": f"jammy-{OLD}",
        "image": "jammy",
        "builder": "nb1.example.org",
        "formats": ["qcow2", "raw"],
        "state": "ready",
        "age": int(NOW - 90_061.9),
    }


def test_builds_of_a_paused_image_are_shown_as_paused() -> None:
    mirror = mirror_of({"jammy/builds/b": BUILD, "jammy/pause": b"", "alma/builds/b": BUILD})
    assert [row["state"] for row in image_views.builds(mirror)] == ["ready", "paused"]


def test_tables_show_ages_and_json_times() -> None:
    rows = image_views.builds(mirror_of({"jammy/builds/b": BUILD}))
    table = render(image_views.BUILD_COLUMNS, image_views.with_ages(rows, NOW))
    assert table.splitlines()[1] == "| ID      | Image | Builder         | Formats   | State | Age         |"
    assert table.splitlines()[3] == "| jammy-b | jammy | nb1.example.org | qcow2,raw | ready | 01:01:01:02 |"


def test_headers() -> None:
    assert [column.header for column in image_views.UPLOAD_COLUMNS] == [
        "Build ID",
        "Upload ID",
        "Provider",
        "Image",
        "Provider Image Name",
        "Provider Image ID",
        "State",
        "Age",
    ]
    assert [column.header for column in image_views.STATUS_COLUMNS] == [
        "Image",
        "Paused",
        "Build Request",
        "Build Request Age",
    ]
    assert [column.header for column in image_views.ALIEN_COLUMNS] == ["Provider", "Name", "Image ID"]


def test_status() -> None:
    mirror = mirror_of(
        {
            "jammy": b"",
            "jammy/pause": b"",
            "alma": b"",
            "alma/request-build": b"",
            "noble": b"",
            "noble/builds": b"",
        },
        {"alma/request-build": NOW - 7.5},
    )
    assert image_views.images(mirror) == [
        {"image": "alma", "paused": False, "build_request": "pending", "build_request_age": int(NOW - 7.5)},
        {"image": "jammy", "paused": True, "build_request": None, "build_request_age": None},
        {"image": "noble", "paused": False, "build_request": None, "build_request_age": None},
    ]


def request_state(*, locked: bool, build_made: float, state: str = "building") -> str | None:
    records: dict[str, Any] = {"jammy/request-build": b"", "jammy/builds/b": {"state": state}, "jammy/builds/lock": b""}
    if locked:
        records[f"jammy/builds/lock/{CONTENDER}"] = b""
    return image_views.build_request(mirror_of(records, {"jammy/builds/b": build_made}), "jammy")


def test_a_request_is_building_only_while_a_later_build_runs() -> None:
    assert request_state(locked=True, build_made=NOW + 1) == "building"
    assert request_state(locked=True, build_made=NOW - 1) == "pending"
    assert request_state(locked=False, build_made=NOW + 1) == "pending"
    assert request_state(locked=True, build_made=NOW + 1, state="ready") == "pending"
    assert image_views.build_request(mirror_of({"jammy/builds/b": BUILD}), "jammy") is None


def test_what_is_put_off_after_failures() -> None:
    mirror = mirror_of(
        {
            "jammy/builds/b": {**BUILD, "state": "failed", "failures": 2, "retry_at": NOW + 90.5, "error": "no disk"},
            "alma/builds/b": {**BUILD, "state": "failed", "builder": "nb2"},
            "centos/builds/b": {"state": "failed", "failures": 0, "retry_at": 0.0, "error": "the builder stops"},
            "noble/builds/b": BUILD,
            "noble/builds/b/providers/west/images/0000000001": {
                "state": "failed",
                "failures": 3,
                "retry_at": NOW - 1,
                "error": "HTTP 503",
            },
            "noble/builds/b/providers/east/images/0000000001": {**UPLOAD, "failures": 1, "retry_at": NOW},
        }
    )
    rows = image_views.backoff(mirror)
    assert rows == [
        {
            "image": "jammy",
            "provider": None,
            "builder": "nb1.example.org",
            "state": "failed",
            "failures": 2,
            "retry_at": int(NOW + 90),
            "reason": "no disk",
        },
        {
            "image": "noble",
            "provider": "west",
            "builder": "nb1.example.org",
            "state": "failed",
            "failures": 3,
            "retry_at": int(NOW - 1),
            "reason": "HTTP 503",
        },
    ]
    assert [row["retry_at"] for row in image_views.with_ages(rows, NOW)] == ["00:00:01:30", "00:00:00:00"]


def test_records_that_cannot_be_read_hide_no_others() -> None:
    mirror = mirror_of(
        {
            "jammy/builds/a": b"",
            "jammy/builds/b": BUILD,
            uploads_of("b", "west", 1): b"{",
            uploads_of("b", "x", 1): UPLOAD,
        }
    )
    assert [row["id"] for row in image_views.builds(mirror)] == ["jammy-b"]
    assert [row["provider"] for row in image_views.uploads(mirror)] == ["x"]
    assert [line.partition(":")[0] for line in image_views.problems(mirror)] == [
        "build jammy-a",
        "upload 0000000001 of jammy-b to west",
    ]
