"""Which image a label boots from: the newest ready upload, or an image that the cloud has (spec builder 10).

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from nodepool.driver.adapter import LabelSettings
from nodepool.model.image import ImageUpload
from nodepool.model.states import UploadState
from nodepool.zk import paths
from nodepool.zk.mirror import Mirror


@dataclass(frozen=True, slots=True)
class Image:
    """An image to boot from."""

    node_image_id: str | None
    """What the node record stores."""
    external_id: str | None
    """The cloud's id of an upload; None for an image that the driver finds by itself."""


def of_label(mirror: Mirror, provider: str, label: LabelSettings) -> Image | None:
    """The image for the next node of a label, None while there is none."""
    if label.diskimage is None:
        return Image(label.cloud_image, None)
    newest: ImageUpload | None = None
    for (image, _, of_provider, _), entry in mirror.uploads.items():
        upload = entry.record
        if image != label.diskimage or of_provider != provider or upload is None:
            continue
        if upload.state is UploadState.READY and (newest is None or _time(upload) > _time(newest)):
            newest = upload
    if newest is None:
        return None
    path = paths.upload(newest.image, newest.build_id, newest.provider, newest.id)
    return Image(path, newest.external_id)


def _time(upload: ImageUpload) -> float:
    return upload.state_time or 0.0
