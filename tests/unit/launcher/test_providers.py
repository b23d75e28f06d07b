"""Providers over reloads: unchanged ones are not touched, and what a driver raises stays with its provider."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nodepool.config.settings import Config, Label
from nodepool.launcher.events import Event
from nodepool.launcher.providers import Providers
from nodepool.model.resources import Resources
from tests.unit.launcher.toy_driver import NO_STOCK, ToyDriver
from tests.zookeeper import eventually


@pytest.fixture
def driver() -> ToyDriver:
    return ToyDriver()


@pytest.fixture
def providers() -> Iterator[Providers]:
    events: list[Event] = []
    providers = Providers("nl1.example.org", events.append)
    yield providers
    providers.stop()


def test_pools_get_ids_that_last(driver: ToyDriver, providers: Providers) -> None:
    first = providers.apply(driver.config({"name": "x", "pools": ["main", "second"]}, {"name": "y"}))
    names = [(pool.provider.name, pool.settings.name) for pool in first.pools.values()]
    assert names == [("x", "main"), ("x", "second"), ("y", "main")]
    assert all(key == pool.launcher_id for key, pool in first.pools.items())
    assert all(
        key.startswith(f"nl1.example.org-PoolWorker.{provider}-{pool}-")
        for key, (provider, pool) in zip(first.pools, names, strict=True)
    )
    without = providers.apply(driver.config({"name": "x", "mark": 2}))
    assert set(without.pools) == set(list(first.pools)[:1])
    again = providers.apply(driver.config({"name": "x", "pools": ["main", "second"]}, {"name": "y"}))
    assert list(again.pools) == list(first.pools)


def test_an_unchanged_provider_is_not_touched(driver: ToyDriver, providers: Providers) -> None:
    first = providers.apply(driver.config({"name": "x"}, {"name": "y"}))
    link = providers.links["x"]
    second = providers.apply(driver.config({"name": "x"}, {"name": "y", "mark": 2}))
    assert second.providers["x"] is first.providers["x"]
    assert second.providers["y"] is not first.providers["y"]
    assert providers.links["x"] is link
    assert [note for note in driver.notes if note.startswith("x")] == ["x  start"]


def test_a_changed_provider_is_started_before_the_old_one_ends(driver: ToyDriver, providers: Providers) -> None:
    providers.apply(driver.config({"name": "x", "mark": 1}))
    old = providers.links["x"]
    providers.apply(driver.config({"name": "x", "mark": 2}))
    assert providers.links["x"] is not old
    eventually(lambda: len(driver.notes) == 4)
    assert driver.notes == ["x 1 start", "x 2 start", "x 1 idle", "x 1 stop"]


def test_a_removed_provider_keeps_its_connection_and_loses_its_pools(driver: ToyDriver, providers: Providers) -> None:
    first = providers.apply(driver.config({"name": "x"}, {"name": "y"}))
    setup = providers.apply(driver.config({"name": "y"}))
    assert setup.providers["x"] is first.providers["x"]
    assert [pool.provider.name for pool in setup.pools.values()] == ["y"]
    back = providers.apply(driver.config({"name": "x"}, {"name": "y"}))
    assert back.providers["x"] is first.providers["x"]
    assert driver.notes == ["x  start", "y  start"]


def test_a_provider_that_does_not_start_is_left_out_and_tried_again(driver: ToyDriver, providers: Providers) -> None:
    driver.fails = {"start"}
    config = driver.config({"name": "x"})
    setup = providers.apply(config)
    assert (dict(setup.pools), dict(setup.providers)) == ({}, {})
    assert providers.failed == {"x": "ZeroDivisionError: start fails"}
    driver.fails = set()
    setup = providers.apply(config)
    assert [pool.provider.name for pool in setup.pools.values()] == ["x"]
    assert providers.failed == {}


def test_one_that_fails_does_not_stop_the_others(driver: ToyDriver, providers: Providers) -> None:
    good, bad = ToyDriver(), driver
    bad.fails = {"start"}
    config = good.config({"name": "x"}, {"name": "z"})
    broken = bad.config({"name": "y"}).providers
    setup = providers.apply(Config(providers={"x": config.providers["x"], **broken, "z": config.providers["z"]}))
    assert [pool.provider.name for pool in setup.pools.values()] == ["x", "z"]


def test_a_changed_provider_that_does_not_start_leaves_the_old_connection(
    driver: ToyDriver, providers: Providers
) -> None:
    """Its pools go, as what they say is not wanted any more, but its nodes can still be removed."""
    first = providers.apply(driver.config({"name": "x", "mark": 1}))
    driver.fails = {"start"}
    setup = providers.apply(driver.config({"name": "x", "mark": 2}))
    assert not setup.pools
    assert setup.providers["x"] is first.providers["x"]
    back = providers.apply(driver.config({"name": "x", "mark": 1}))
    assert list(back.pools) == list(first.pools)
    assert providers.failed == {}


def test_what_a_driver_raises_at_its_end_stops_nobody(
    driver: ToyDriver, providers: Providers, caplog: pytest.LogCaptureFixture
) -> None:
    driver.fails = {"idle", "stop"}
    providers.apply(driver.config({"name": "x", "mark": 1}, {"name": "s", "stock": True}))
    setup = providers.apply(driver.config({"name": "x", "mark": 2}, {"name": "s", "stock": True, "mark": 2}))
    assert [pool.provider.name for pool in setup.pools.values()] == ["x", "s"]
    eventually(lambda: driver.notes.count("x 1 stop") == 1)
    assert "s  stop" in driver.notes
    assert "Provider x did not end as it should" in caplog.text


def test_a_stock_has_no_connection(driver: ToyDriver, providers: Providers) -> None:
    setup = providers.apply(driver.config({"name": "x"}))
    assert setup.providers["x"].stock is None
    setup = providers.apply(driver.config({"name": "x", "stock": True}))
    assert setup.providers["x"].stock is NO_STOCK
    assert setup.providers["x"].cost("main", "a") == Resources(instances=1)
    assert dict(providers.links) == {}
    providers.apply(driver.config({"name": "x"}))
    assert list(providers.links) == ["x"]


def test_settings_beside_the_providers(driver: ToyDriver, providers: Providers) -> None:
    labels = {"a": Label("a", min_ready=2, max_ready_age=60), "b": Label("b", min_ready=-1)}
    limits = {"acme": {"instances": 3, "cores": -1}}
    setup = providers.apply(driver.config({"name": "x"}, labels=labels, max_hold_age=99, tenant_limits=limits))
    assert (setup.labels["a"].min_ready, setup.labels["a"].max_ready_age, setup.max_hold_age) == (2, 60, 99)
    assert [setup.labels[name].disabled for name in "ab"] == [False, True]
    assert setup.tenant_limits == {"acme": Resources.limit({"instances": 3})}
