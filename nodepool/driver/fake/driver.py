"""The fake driver as the registry knows it: where the fake cloud meets the real clock."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

from nodepool.driver.adapter_provider import AdapterProvider
from nodepool.driver.contract import Driver, ProviderConfig
from nodepool.driver.fake.adapter import FakeAdapter
from nodepool.driver.fake.cloud import FakeCloud
from nodepool.driver.fake.config import FakeProviderConfig
from nodepool.driver.fake.images import FakeImages


class FakeDriver(Driver):
    """Clouds in memory; each provider name has one for as long as the process lives, whatever is reloaded."""

    def __init__(self) -> None:
        self._clouds: dict[str, tuple[FakeCloud, threading.Lock]] = {}

    def getProviderConfig(self, provider: dict[str, Any]) -> FakeProviderConfig:
        """The configuration object for one provider."""
        return FakeProviderConfig(self, provider)

    def getProvider(self, provider_config: ProviderConfig) -> FakeProvider:
        """The provider of a loaded configuration. Its servers are still there after a reload."""
        assert isinstance(provider_config, FakeProviderConfig)
        name = provider_config.name
        if name not in self._clouds:
            chance = random.Random(provider_config.fake.seed)
            region = provider_config.provider.get("region-name")
            self._clouds[name] = FakeCloud(time.monotonic, chance, region=region), threading.Lock()
        cloud, lock = self._clouds[name]
        cloud.settings = provider_config.fake.cloud
        return FakeProvider(provider_config, cloud, lock)


class FakeProvider(AdapterProvider):
    """A fake cloud's provider; the launcher uses its ``adapter``, the builder its ``image_adapter``."""

    adapter: FakeAdapter
    image_adapter: FakeImages

    def __init__(self, config: FakeProviderConfig, cloud: FakeCloud, lock: threading.Lock) -> None:
        fake = config.fake
        self.image_adapter = FakeImages(
            config.name,
            Path(fake.images_dir),
            fake.image_format,
            fake.upload_time,
            fake.cloud.faults,
            random.Random(fake.seed),
        )
        images = self.image_adapter if config.manage_images else None
        self.adapter = FakeAdapter(cloud, config.pools, fake.latency, fake.poll_interval, lock, images)
