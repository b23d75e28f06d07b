"""Runs the providers that take images, and tells the decision core what a configuration means.

Called from one thread, at start and at each reload. There is one connection per provider, for uploads and removals
alike, so that its rate limit holds for all of them. A provider whose text did not change keeps running untouched; an
old one ends when its calls have ended. Drivers may be foreign code: whatever they raise stays with their provider.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from nodepool.builder.files import ImageFiles
from nodepool.builder.image_calls import ImageCalls, Publish
from nodepool.builder.setup import ProviderSetup, Setup
from nodepool.config.settings import Config
from nodepool.driver.contract import Provider, ProviderConfig
from nodepool.driver.image_adapter import ImageAdapter
from nodepool.driver.image_bridge import builder_adapter

log = logging.getLogger("nodepool.ProviderManager")


@dataclass(frozen=True, slots=True)
class _Running:
    config: ProviderConfig
    provider: Provider
    adapter: ImageAdapter
    calls: ImageCalls


class Providers:
    """See the module's description. ``calls`` are the connections by provider name, for the executor."""

    def __init__(self, files: ImageFiles, upload_threads: int, publish: Publish) -> None:
        self._files = files
        self._upload_threads = upload_threads
        self._publish = publish
        self._running: dict[str, _Running] = {}
        self._told: dict[tuple[str, str], str] = {}
        """What was said to be wrong with an image of a provider."""
        self.calls: dict[str, ImageCalls] = {}
        self.failed: dict[str, str] = {}
        """Providers that did not start, with the reason; the next :meth:`apply` tries again."""

    def apply(self, config: Config) -> Setup:
        """Start, replace and keep providers as a configuration wants it."""
        self.failed = {}
        wanted = {name: provider for name, provider in config.providers.items() if provider.manage_images}
        for name in self._running.keys() - wanted.keys():
            self._end(name)
        return Setup(
            images=config.diskimages,
            providers={name: self._setup(name, provider) for name, provider in wanted.items()},
            images_dir=str(self._files.directory),
            elements_dir=config.elements_dir,
            build_log_dir=config.build_log_dir,
            build_log_retention=config.build_log_retention,
            free_space=config.images_min_free_space,
        )

    def stop(self) -> None:
        """End all providers; calls under way are not waited for."""
        for running in self._running.values():
            _quietly(running.config.name, running.provider.stop)

    def _setup(self, name: str, config: ProviderConfig) -> ProviderSetup:
        settings = config.image_settings()
        running = self._keep_or_start(name, config)
        formats = {}
        if running is not None:
            for image in settings.images:
                image_format = self._format(running, image)
                if image_format is not None:
                    formats[image] = image_format
        return ProviderSetup(name, settings, formats)

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

    def _keep_or_start(self, name: str, config: ProviderConfig) -> _Running | None:
        present = self._running.get(name)
        if present is not None and present.config == config:
            return present
        try:
            provider = config.driver.getProvider(config)
            provider.start(None)
            adapter = builder_adapter(provider, config)
        except Exception as error:  # a driver's own code: one provider that fails must not stop the others
            log.exception("Provider %s did not start; it is tried again", name)
            self.failed[name] = f"{type(error).__name__}: {error}"
            return None
        if present is not None:
            log.info("Provider %s has changed: new work uses a new connection", name)
            self._end(name)
        calls = ImageCalls(name, adapter, self._files, self._upload_threads, self._publish)
        self._running[name] = running = _Running(config, provider, adapter, calls)
        self.calls[name] = calls
        return running

    def _end(self, name: str) -> None:
        """End a provider as soon as its calls have ended."""
        running = self._running.pop(name)
        self.calls.pop(name, None)
        _quietly(name, running.provider.idle)
        running.calls.end(lambda: _quietly(name, running.provider.stop))


def _quietly(name: str, order: Callable[[], None]) -> None:
    try:
        order()
    except Exception:  # a driver's own code: its provider ends anyway
        log.exception("Provider %s did not end as it should", name)
