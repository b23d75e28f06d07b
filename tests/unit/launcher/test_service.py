"""What the main thread of a launcher does between two looks at its configuration; nothing is started here."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodepool.config.files import ConfigurationFiles
from nodepool.config.settings import Config, ZooKeeperSettings
from nodepool.launcher import service as service_module
from nodepool.launcher.events import Configured, Event
from nodepool.launcher.service import LauncherService
from tests.unit.launcher.toy_driver import ToyDriver


def made(tmp_path: Path, config: Config) -> LauncherService:
    """A service that is not started, for a file that does not change."""
    path = tmp_path / "nodepool.yaml"
    path.write_text("zookeeper-servers: [{host: 127.0.0.1}]\n")
    files = ConfigurationFiles(str(path), None)
    files.load()
    return LauncherService(files, config)


def told(service: LauncherService) -> list[Event | None]:
    """What the decision thread would be told."""
    return [service._inbox.get_nowait() for _ in range(service._inbox.qsize())]


def test_a_provider_that_did_not_start_is_tried_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = ToyDriver()
    driver.fails = {"start"}
    zookeeper = ZooKeeperSettings(servers=(("127.0.0.1", 1),))
    config = driver.config({"name": "x"}, zookeeper=zookeeper)
    service = made(tmp_path, config)
    service._use(config)
    assert [isinstance(event, Configured) and not event.setup.pools for event in told(service)] == [True]
    driver.fails = set()
    service._look_at_configuration()
    assert driver.notes == ["x  start"]
    monkeypatch.setattr(service_module, "PROVIDER_RETRY_INTERVAL", 0.0)
    driver.fails = {"start"}
    service._use(config)
    service._look_at_configuration()
    assert told(service) == []
    driver.fails = set()
    service._look_at_configuration()
    (event,) = told(service)
    assert isinstance(event, Configured)
    assert [pool.provider.name for pool in event.setup.pools.values()] == ["x"]
    count = len(driver.notes)
    service._look_at_configuration()
    assert (len(driver.notes), told(service)) == (count, [])
    service._providers.stop()


def test_orders_come_from_anywhere_and_in_order(tmp_path: Path) -> None:
    service = made(tmp_path, Config(zookeeper=ZooKeeperSettings(servers=(("127.0.0.1", 1),))))
    assert service._next_order(0.0) is None
    service.stop()
    service.stop_now()
    orders = [service._next_order(0.0) for _ in range(2)]
    assert [order.name for order in orders if order] == ["STOP", "STOP_NOW"]
    assert not service.ready
