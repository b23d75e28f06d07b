"""Presents a driver that knows only the public contract as an image adapter, so that the builder has one way to work.

Foreign code runs behind every call: any error that is not one of :mod:`nodepool.driver.errors` becomes UnknownOutcome.
The contract has no list of images: what an upload of unknown outcome left, nobody can find.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nodepool.driver.bridge import foreign
from nodepool.driver.contract import Provider, ProviderConfig
from nodepool.driver.errors import Misconfigured
from nodepool.driver.image_adapter import ImageAdapter, ImageOrder, Progress, UploadedImage


class ContractImages(ImageAdapter):
    """The images of a provider of an out-of-tree driver."""

    def __init__(self, provider: Provider, config: ProviderConfig) -> None:
        self._provider = provider
        self._config = config

    def disk_format(self, image: str) -> str:
        """``image_type`` of the provider's entry of the image, or of the provider."""
        for owner in (self._entry(image), self._config):
            image_type = getattr(owner, "image_type", None)
            if image_type:
                return str(image_type)
        raise Misconfigured(f"the driver of provider '{self._config.name}' names no image_type for '{image}'")

    def upload(self, order: ImageOrder, deadline: float, progress: Progress | None = None) -> str:  # noqa: ARG002
        """Have the driver upload; how long it takes is its own affair."""
        meta = {**order.properties, **order.tags(self._config.name)}
        with foreign("uploadImage"):
            external_id = self._provider.uploadImage(
                self._entry(order.image),
                order.name,
                order.path,
                image_type=order.disk_format,
                meta=meta,
                md5=order.md5,
                sha256=order.sha256,
            )
        return str(external_id)

    def delete(self, external_id: str, deadline: float) -> None:  # noqa: ARG002
        """Have the driver delete."""
        with foreign("deleteImage"):
            self._provider.deleteImage(external_id)

    def find(self, deadline: float) -> Sequence[UploadedImage]:  # noqa: ARG002
        """Nothing: the contract has no way to ask."""
        return ()

    def stop(self) -> None:
        """Have the provider end."""
        self._provider.stop()

    def _entry(self, image: str) -> Any:
        return (getattr(self._config, "diskimages", None) or {}).get(image)


def builder_adapter(provider: Provider, provider_config: ProviderConfig) -> ImageAdapter:
    """The adapter by which the builder drives a provider that manages images."""
    return provider.image_adapter or ContractImages(provider, provider_config)
