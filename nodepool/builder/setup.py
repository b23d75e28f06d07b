"""What a configuration means for the builder: images, and the providers that take them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodepool.config.settings import DiskImage
from nodepool.driver.image_adapter import ImageSettings, ProviderImage
from nodepool.model.record import NOTHING


@dataclass(frozen=True, slots=True)
class ProviderSetup:
    """A provider that manages images."""

    name: str
    settings: ImageSettings
    formats: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    """By image, the format in which the cloud wants it. Without an entry the provider cannot be used now."""
    connection: int = 0
    """Number of the connection to the cloud: a new one has another, whatever has changed of the provider."""

    def image(self, name: str) -> ProviderImage | None:
        """The entry of an image, None if the provider does not list it."""
        return self.settings.images.get(name)


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that a reload replaces."""

    images: Mapping[str, DiskImage] = field(default_factory=lambda: NOTHING)
    """In the order of the file."""
    providers: Mapping[str, ProviderSetup] = field(default_factory=lambda: NOTHING)
    """Those that manage images, in the order of the file."""
    images_dir: str = ""
    elements_dir: str | None = None
    build_log_dir: str | None = None
    build_log_retention: int = 7
    free_space: int = 0
    """Bytes that must be free before a build."""
    most_space: int = 0
    """Bytes that ``images_dir`` may hold before a build; 0: any number."""

    def listing(self, image: str) -> list[ProviderSetup]:
        """The providers that list an image."""
        return [provider for provider in self.providers.values() if provider.image(image) is not None]

    def formats(self, image: str) -> tuple[str, ...]:
        """All formats in which an image is to be built: its own, and those of the providers that list it."""
        own = set(self.images[image].formats) if image in self.images else set()
        theirs = {provider.formats[image] for provider in self.listing(image) if image in provider.formats}
        return tuple(sorted(own | theirs))
