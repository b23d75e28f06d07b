"""The images of one region. Data are counted and checksummed by the caller, not kept. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tools.cloud.faults import FaultPlan, ImageFault
from tools.cloud.place import Place
from tools.cloud.records import Image, Refused
from tools.cloud.settings import UNLIMITED, ImageSettings

_OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Upload:
    """What arrived as data of an image: bytes, and hexadecimal digests."""

    size: int
    md5: str
    sha512: str


class Images:
    """What Glance knows. Calls raise :class:`tools.cloud.records.Refused`."""

    def __init__(self, place: Place, plan: FaultPlan) -> None:
        self._place = place
        self._plan = plan
        self._count = 0
        self.images: dict[str, Image] = {}
        self.uploaded_bytes = 0
        self.provide()

    def provide(self) -> None:
        """Have the images of the settings; those of earlier ones go."""
        wanted = [settings.name for settings in self._place.settings.images]
        known = {image.id: image.name for image in self.images.values() if image.owner == _OPERATOR}
        for identifier in [identifier for identifier, name in known.items() if name not in wanted]:
            del self.images[identifier]
        for settings in self._place.settings.images:
            if settings.name not in known.values():
                self._add(settings)

    def create(self, name: str, identifier: str = "", owner: str = "") -> Image:
        """A new image without data, ``queued``."""
        own = sum(image.owner != _OPERATOR for image in self.images.values())
        limit = self._place.settings.quota.images
        if owner != _OPERATOR and limit != UNLIMITED and own >= limit:
            raise Refused(413, f"image_count_total is over limit of {limit}")
        if identifier in self.images:
            raise Refused(409, f"Image ID {identifier} already exists!")
        self._count += 1
        identifier = identifier or self._place.identifier("image", name)
        now = self._place.now
        image = Image(identifier, name, owner or self._place.project_id, now, now, self._count)
        self.images[image.id] = image
        return image

    def _add(self, settings: ImageSettings) -> None:
        image = self.create(settings.name, settings.id, owner=_OPERATOR)
        image.disk_format, image.container_format, image.visibility = settings.disk_format, "bare", "public"
        image.properties, image.min_ram, image.min_disk = dict(settings.properties), settings.min_ram, settings.min_disk
        digest = hashlib.md5(settings.name.encode(), usedforsecurity=False).hexdigest()
        image.size, image.checksum, image.status = 1 << 20, digest, "active"

    def upload(self, image: Image, upload: Upload) -> None:
        """The data of an image have arrived."""
        if image.status != "queued":
            message = f"Image status transition from {image.status} to saving is not allowed"
            raise Refused(409, message)
        if not image.disk_format or not image.container_format:
            raise Refused(400, "Properties disk_format, container_format must be set prior to saving data.")
        fault = self._plan.for_image(image.name)
        self.uploaded_bytes += upload.size
        image.size, image.checksum, image.sha512 = upload.size, upload.md5, upload.sha512
        image.status, image.updated = "active", self._place.now
        match fault.fault if fault else None:
            case ImageFault.CORRUPT:
                image.checksum = hashlib.md5(upload.md5.encode(), usedforsecurity=False).hexdigest()
            case ImageFault.STUCK:
                image.status, image.checksum = "saving", None
            case ImageFault.KILLED:
                image.status = "killed"

    def delete(self, image: Image) -> None:
        """Remove an image."""
        if image.owner != self._place.project_id:
            raise Refused(403, "You are not authorized to complete delete_image action.")
        if image.protected:
            raise Refused(403, f"Image {image.id} is protected and cannot be deleted.")
        del self.images[image.id]
