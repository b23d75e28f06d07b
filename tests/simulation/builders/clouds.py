"""Where simulated builders upload to: a cloud that has images, and that fails at times."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from nodepool.driver.errors import CloudError, NotFound, UnknownOutcome
from tests.simulation.clock import Clock


@dataclass(slots=True)
class CloudImage:
    """An image of the cloud, with the tags that say whose it is."""

    provider: str
    image: str
    build_id: str
    upload_id: str
    ready: bool = False
    touched: float = 0.0
    """When anything of it was last seen to (epoch)."""


@dataclass(slots=True)
class CloudManners:
    """How often what goes wrong, and how long uploads take at least and most (seconds)."""

    refused: float = 0.0
    unknown: float = 0.0
    delete_fails: float = 0.0
    find_fails: float = 0.0
    shortest: float = 2.0
    longest: float = 20.0
    late: bool = False
    """Whether an image can be seen only when all of it is there."""


class ImageCloud:
    """The images of one cloud."""

    def __init__(self, clock: Clock, chance: random.Random) -> None:
        self.clock = clock
        self.chance = chance
        self.manners = CloudManners()
        self.images: dict[str, CloudImage] = {}
        self.deleting: Callable[[str, str, CloudImage], None] = lambda _who, _id, _image: None
        """Told before an image is deleted: by whom, which."""
        self.in_use: Callable[[str], bool] = lambda _id: False
        """Whether an image cannot be deleted, because a server needs it."""
        self._arriving: dict[str, CloudImage] = {}
        self._count = 0

    def begin_upload(
        self, provider: str, image: str, build_id: str, upload_id: str
    ) -> tuple[CloudError | None, str, float]:
        """Error or id of the image, and how long it takes."""
        seconds = self.chance.uniform(self.manners.shortest, self.manners.longest)
        if self.chance.random() < self.manners.refused:
            return CloudError("refused"), "", seconds
        self._count += 1
        external_id = f"img-{provider}-{self._count}"
        images = self._arriving if self.manners.late else self.images
        images[external_id] = CloudImage(provider, image, build_id, upload_id, touched=self.clock.now)
        return None, external_id, seconds

    def finish_upload(self, external_id: str) -> CloudError | None:
        """The last byte."""
        if external_id in self._arriving:
            self.images[external_id] = self._arriving.pop(external_id)
        image = self.images.get(external_id)
        if image is None:
            return NotFound("somebody has deleted it")
        image.ready, image.touched = True, self.clock.now
        if self.chance.random() < self.manners.unknown:
            return UnknownOutcome("time-out")
        return None

    def delete(self, who: str, external_id: str) -> None:
        """Delete an image."""
        if self.chance.random() < self.manners.delete_fails:
            raise CloudError("simulated")
        image = self.images.get(external_id)
        if image is None:
            raise NotFound("none")
        if self.in_use(external_id):
            raise CloudError("the image is in use")
        self.deleting(who, external_id, image)
        del self.images[external_id]

    def find(self, provider: str, build_id: str, upload_id: str) -> list[str]:
        """Ids of the images of an upload."""
        if self.chance.random() < self.manners.find_fails:
            raise UnknownOutcome("simulated")
        wanted = (provider, build_id, upload_id)
        return [
            external_id
            for external_id, image in self.images.items()
            if (image.provider, image.build_id, image.upload_id) == wanted
        ]
