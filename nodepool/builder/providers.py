"""Runs the providers that take images, and tells the decision core what a configuration means.

There is one connection per provider, for uploads and removals alike, so that its rate limit holds for all of them.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass

from nodepool.builder.files import ImageFiles
from nodepool.builder.image_calls import ImageCalls, Publish
from nodepool.builder.setup import ProviderSetup, Setup
from nodepool.config.settings import Config
from nodepool.daemon.providers import RunningProvider, RunningProviders, quietly
from nodepool.driver.contract import ProviderConfig
from nodepool.driver.image_adapter import ImageAdapter
from nodepool.driver.image_bridge import builder_adapter

log = logging.getLogger("nodepool.ProviderManager")


@dataclass(frozen=True, slots=True)
class _Running(RunningProvider):
    adapter: ImageAdapter
    calls: ImageCalls
    number: int


class Providers(RunningProviders[_Running]):
    """See the module's description. ``calls`` are the connections by provider name, for the executor."""

    def __init__(self, files: ImageFiles, upload_threads: int, publish: Publish) -> None:
        super().__init__()
        self._files = files
        self._upload_threads = upload_threads
        self._publish = publish
        self._numbers = itertools.count(1)
        self._told: dict[tuple[str, str], str] = {}
        """What was said to be wrong with an image of a provider."""
        self.calls: dict[str, ImageCalls] = {}

    def apply(self, config: Config) -> Setup:
        """Start, replace and keep providers as a configuration wants it."""
        self.failed = {}
        wanted = {name: provider for name, provider in config.providers.items() if provider.manage_images}
        for name in self._running.keys() - wanted.keys():
            del self.calls[name]
            self._end(name, self._running.pop(name), None)
        return Setup(
            images=config.diskimages,
            providers={name: self._setup(name, provider) for name, provider in wanted.items()},
            images_dir=str(self._files.directory),
            elements_dir=config.elements_dir,
            build_log_dir=config.build_log_dir,
            build_log_retention=config.build_log_retention,
            free_space=config.images_min_free_space,
            most_space=config.images_max_space,
        )

    def stop(self) -> None:
        """End all providers; calls under way are not waited for."""
        for running in self._running.values():
            quietly(running.config.name, running.provider.stop)

    def _setup(self, name: str, config: ProviderConfig) -> ProviderSetup:
        settings = config.image_settings()
        running = self._keep_or_start(name, config)
        formats = {}
        if running is not None:
            for image in settings.images:
                image_format = self._format(running, image)
                if image_format is not None:
                    formats[image] = image_format
        return ProviderSetup(name, settings, formats, running.number if running is not None else 0)

    def _format(self, running: _Running, image: str) -> str | None:
        """The format in which a provider wants an image, None if it cannot say so."""
        name = running.config.name
        try:
            image_format = running.adapter.disk_format(image)
        except Exception as error:  # noqa: BLE001 - a driver's own code: its provider alone suffers
            self.failed[name] = str(error)
            if self._told.get((name, image)) != str(error):
                self._told[name, image] = str(error)
                log.error("Provider %s cannot say in which format it takes image %s: %s", name, image, error)
            return None
        self._told.pop((name, image), None)
        return image_format

    def _start(self, name: str, config: ProviderConfig) -> _Running:
        provider = config.driver.getProvider(config)
        provider.start(None)
        adapter = builder_adapter(provider, config)
        self.calls[name] = calls = ImageCalls(name, adapter, self._files, self._upload_threads, self._publish)
        return _Running(config, provider, adapter, calls, next(self._numbers))

    def _end(self, name: str, running: _Running, successor: _Running | None) -> None:  # noqa: ARG002 - nothing waits
        quietly(name, running.provider.idle)
        running.calls.end(lambda: quietly(name, running.provider.stop))
