"""Images in the clouds that Nodepool has made and knows nothing of any more (``alien-image-list``, spec cli 2)."""

from __future__ import annotations

from dataclasses import dataclass

from nodepool.admin.cloud import CALL_DEADLINE
from nodepool.admin.failure import CommandFailed
from nodepool.admin.table import Row, printable
from nodepool.config.settings import Config
from nodepool.driver.contract import ProviderConfig
from nodepool.driver.errors import CloudError
from nodepool.driver.image_adapter import BUILD_TAG, UploadedImage
from nodepool.zk.mirror import Mirror


@dataclass(frozen=True, slots=True)
class Search:
    """What was found in one provider, or why nothing could be."""

    provider: str
    images: tuple[UploadedImage, ...] = ()
    problem: str = ""
    can_list: bool = True
    """Whether its driver can list images at all."""


def search(config: Config, provider: str | None) -> list[Search]:
    """The images of one provider, or of all that have images, in the order of the file. Asks their clouds.

    Raises :class:`CommandFailed` if the provider is not in the configuration, or has no images of ours.
    """
    if provider is None:
        return [_ask(entry) for entry in config.providers.values() if entry.manage_images]
    if provider not in config.providers:
        known = ", ".join(config.providers) or "none"
        raise CommandFailed(f"Provider {printable(provider)} is not in this configuration; there are: {known}")
    if not config.providers[provider].manage_images:
        raise CommandFailed(f"Provider {provider} lists no diskimages: Nodepool uploads nothing to it")
    return [_ask(config.providers[provider])]


def aliens(found: Search, mirror: Mirror) -> list[Row]:
    """Those of a provider's images that no upload record knows, in whatever state.

    What builders still have to remove has a record.
    """
    uploads = [
        (key, entry.record) for key, entry in mirror.uploads.items() if key[2] == found.provider and entry.record
    ]
    ids = {upload.external_id for _, upload in uploads}
    return [
        {"provider": found.provider, "name": image.name, "image_id": image.external_id}
        for image in sorted(found.images, key=lambda image: (image.name, image.external_id))
        if BUILD_TAG in image.tags
        and image.external_id not in ids
        and not any(image.is_upload(key[1], key[3]) for key, _ in uploads)
    ]


def _ask(entry: ProviderConfig) -> Search:
    try:
        running = entry.driver.getProvider(entry)
        adapter = running.image_adapter
        if adapter is None:
            return Search(entry.name, problem="its driver cannot list images", can_list=False)
        running.start(None)
        found = tuple(adapter.find(CALL_DEADLINE))
        adapter.stop()
        running.stop()
    except CloudError as error:
        return Search(entry.name, problem=str(error))
    # A driver from outside this package may fail in any way.
    except Exception as error:
        raise CommandFailed(f"provider {entry.name}: {type(error).__name__}: {error}") from error
    return Search(entry.name, found)
