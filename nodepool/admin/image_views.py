"""Images, their builds and uploads as the rows that operators and scripts see (spec launcher 6, cli 3 and 4).

Pure. The keys ``age``, ``build_request_age`` and ``retry_at`` hold a time in epoch seconds, as the web interface always
had it; :func:`with_ages` turns it into what tables show.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nodepool.admin.table import Column, Row, printable
from nodepool.admin.views import age
from nodepool.model.image import ImageBuild, ImageUpload
from nodepool.model.states import BuildState
from nodepool.zk.contenders import queue
from nodepool.zk.mirror import Entry, Mirror

UPLOAD_COLUMNS = (
    Column("id", "Build ID"),
    Column("upload_id", "Upload ID"),
    Column("provider", "Provider"),
    Column("image", "Image"),
    Column("external_name", "Provider Image Name"),
    Column("external_id", "Provider Image ID"),
    Column("state", "State"),
    Column("age", "Age"),
)
"""Columns of ``nodepool image-list`` and of the web server's ``/image-list``."""

BUILD_COLUMNS = (
    Column("id", "ID"),
    Column("image", "Image"),
    Column("builder", "Builder"),
    Column("formats", "Formats"),
    Column("state", "State"),
    Column("age", "Age"),
)
"""Columns of ``nodepool dib-image-list`` and of the web server's ``/dib-image-list``."""

STATUS_COLUMNS = (
    Column("image", "Image"),
    Column("paused", "Paused"),
    Column("build_request", "Build Request"),
    Column("build_request_age", "Build Request Age"),
)
"""Columns of ``nodepool image-status`` and of the web server's ``/image-status``."""

BACKOFF_COLUMNS = (
    Column("image", "Image"),
    Column("provider", "Provider"),
    Column("builder", "Builder"),
    Column("state", "State"),
    Column("failures", "Failures"),
    Column("retry_at", "Next Try In"),
    Column("reason", "Reason"),
)
"""Columns of the second table of ``nodepool image-status --detail``: what failed and is tried again later."""

ALIEN_COLUMNS = (Column("provider", "Provider"), Column("name", "Name"), Column("image_id", "Image ID"))
"""Columns of ``nodepool alien-image-list``."""

PAUSED = "paused"
"""What is shown as the state of a build of an image that was paused by command (spec cli 4)."""
_PUT_OFF = ("failed", "deleting")
_TO_COME = "retry_at"
_TIMES = ("age", "build_request_age", _TO_COME)


def uploads(mirror: Mirror) -> list[Row]:
    """All uploads by image, age of the build, provider and number."""
    readable = (
        (image, _made(mirror, image, build_id), build_id, provider, upload_id, entry.record)
        for (image, build_id, provider, upload_id), entry in mirror.uploads.items()
        if entry.record is not None
    )
    return [
        {
            "id": build_id,
            "upload_id": upload_id,
            "provider": provider,
            "image": image,
            "external_name": upload.external_name,
            "external_id": upload.external_id,
            "state": upload.state.value,
            "age": _whole(upload.state_time),
        }
        for image, _, build_id, provider, upload_id, upload in sorted(readable, key=lambda found: found[:5])
    ]


def builds(mirror: Mirror) -> list[Row]:
    """All builds by image and age. A build of an image that is paused by command is shown as ``paused``."""
    readable = (
        (image, entry.ctime, build_id, entry.record)
        for (image, build_id), entry in mirror.builds.items()
        if entry.record is not None
    )
    return [
        {
            "id": f"{image}-{build_id}",
            "image": image,
            "builder": build.builder,
            "formats": list(build.formats),
            "state": PAUSED if image in mirror.paused_images else build.state.value,
            "age": _whole(build.state_time),
        }
        for image, _, build_id, build in sorted(readable, key=lambda found: found[:3])
    ]


def images(mirror: Mirror) -> list[Row]:
    """All images that ZooKeeper knows of, by name."""
    return [
        {
            "image": image,
            "paused": image in mirror.paused_images,
            "build_request": build_request(mirror, image),
            "build_request_age": _whole(mirror.build_requests.get(image)),
        }
        for image in sorted(mirror.images)
    ]


def build_request(mirror: Mirror, image: str) -> str | None:
    """What became of a build that was asked for by hand: ``pending``, ``building``, or None if none was.

    It is ``building`` while a build runs that began after it was asked for (spec zookeeper 4.5).
    """
    asked = mirror.build_requests.get(image)
    if asked is None:
        return None
    locked = bool(queue(mirror.image_locks.get(image, ())))
    running = (
        entry
        for (name, _), entry in mirror.builds.items()
        if name == image and entry.record is not None and entry.record.state is BuildState.BUILDING
    )
    return "building" if locked and any(entry.ctime >= asked for entry in running) else "pending"


def backoff(mirror: Mirror) -> list[Row]:
    """Builds and uploads that failed, or whose removal did, and when they are tried again; by image and provider.

    A row without provider is about the build. The builder keeps all this in the record that failed.
    """
    records: list[ImageBuild | ImageUpload] = [entry.record for entry in mirror.builds.values() if entry.record]
    records += [entry.record for entry in mirror.uploads.values() if entry.record]
    rows = [_backoff_row(mirror, record) for record in records if record.state.value in _PUT_OFF]
    waiting = [row for row in rows if row["failures"] and row["retry_at"] is not None]
    return sorted(waiting, key=lambda row: (row["image"], row["provider"] or "", row["retry_at"]))


def with_ages(rows: Iterable[Row], now: float) -> list[Row]:
    """The rows as tables show them: instead of times the seconds since or until then as ``DD:HH:MM:SS``.

    ``now`` is in epoch seconds.
    """
    return [{key: _shown(key, value, now) for key, value in row.items()} for row in rows]


def problems(mirror: Mirror) -> list[str]:
    """One line for each build and upload that cannot be read."""
    found: list[tuple[str, Entry[Any]]]
    found = [(f"build {image}-{build_id}", entry) for (image, build_id), entry in sorted(mirror.builds.items())]
    found += [
        (f"upload {upload_id} of {image}-{build_id} to {provider}", entry)
        for (image, build_id, provider, upload_id), entry in sorted(mirror.uploads.items())
    ]
    return [_problem(name, entry) for name, entry in found if entry.problem]


def _problem(name: str, entry: Entry[Any]) -> str:
    return f"{printable(name)}: cannot be read: {printable(entry.problem)}; it is left alone"


def _made(mirror: Mirror, image: str, build_id: str) -> float:
    entry = mirror.builds.get((image, build_id))
    return entry.ctime if entry else 0.0


def _whole(time: float | None) -> int | None:
    return None if time is None else int(time)


def _shown(key: str, value: Any, now: float) -> Any:
    if value is None or key not in _TIMES:
        return value
    return age(value - now if key == _TO_COME else now - value)


def _backoff_row(mirror: Mirror, record: ImageBuild | ImageUpload) -> Row:
    told = record.to_mapping()
    retry_at = told.get("retry_at")
    if isinstance(record, ImageUpload):
        provider, build = record.provider, mirror.builds.get((record.image, record.build_id))
        builder = build.record.builder if build and build.record else None
    else:
        provider, builder = None, record.builder
    return {
        "image": record.image,
        "provider": provider,
        "builder": builder,
        "state": record.state.value,
        "failures": told.get("failures"),
        "retry_at": int(retry_at) if isinstance(retry_at, int | float) else None,
        "reason": told.get("error"),
    }
