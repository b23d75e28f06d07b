"""Which image a label boots from: the newest ready upload, or an image that the cloud has (spec builder 10).

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from nodepool.driver.adapter import LabelSettings
from nodepool.model.image import ImageUpload
from nodepool.model.states import UploadState
from nodepool.zk import paths
from nodepool.zk.mirror import Mirror, UploadKey


@dataclass(frozen=True, slots=True)
class Image:
    """An image to boot from."""

    node_image_id: str | None
    """What the node record stores."""
    external_id: str | None
    """The cloud's id of an upload; None for an image that the driver finds by itself."""
    upload: UploadKey | None = None
    """Of which record it is, if it is an upload."""


def of_label(mirror: Mirror, provider: str, label: LabelSettings) -> Image | None:
    """The image for the next node of a label, None while there is none."""
    if label.diskimage is None:
        return Image(label.cloud_image, None)
    records = (mirror.uploads[key].record for key in mirror.uploads_to.get((label.diskimage, provider), ()))
    ready = [upload for upload in records if upload is not None and upload.state is UploadState.READY]
    if not ready:
        return None
    newest = max(ready, key=_age)
    key = newest.image, newest.build_id, newest.provider, newest.id
    return Image(paths.upload(*key), newest.external_id, key)


def is_offered(mirror: Mirror, image: Image) -> bool:
    """Whether an image may still be booted from: an upload may have been taken back since it was chosen."""
    if image.upload is None:
        return True
    entry = mirror.uploads.get(image.upload)
    return entry is not None and entry.record is not None and entry.record.state is UploadState.READY


def _age(upload: ImageUpload) -> tuple[float, str, str]:
    """Larger for the newer one; the ids decide between those of one time, as they do for the builder."""
    return upload.state_time or 0.0, upload.build_id, upload.id
