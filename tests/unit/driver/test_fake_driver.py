"""The fake driver from nodepool.yaml to its adapter."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from nodepool.driver.adapter import LabelSettings
from nodepool.driver.errors import BadLabel, UnknownOutcome
from nodepool.driver.fake.config import FakeProviderConfig
from nodepool.driver.fake.driver import FakeDriver, FakeProvider
from nodepool.model.resources import Resources

IMAGES = {
    "diskimages": [{"name": "deb", "connection-type": "winrm"}],
    "cloud-images": [{"name": "i", "username": "debian", "python-path": "/usr/bin/python3", "connection-port": 2222}],
}
TOP = SimpleNamespace(labels={}, diskimages={}, providers={})


def provider(driver: FakeDriver | None = None, labels: list[dict[str, Any]] | None = None, **keys: Any) -> FakeProvider:
    return driver_provider(driver or FakeDriver(), labels or [{"name": "a", "cloud-image": "i", "min-ram": 1}], **keys)


def driver_provider(driver: FakeDriver, labels: list[dict[str, Any]], **keys: Any) -> FakeProvider:
    return driver.getProvider(config(driver, labels, **keys))


def config(driver: FakeDriver, labels: list[dict[str, Any]], **keys: Any) -> FakeProviderConfig:
    entry = {"name": "fake", **IMAGES, "pools": [{"name": "main", "labels": labels, **keys.pop("pool", {})}], **keys}
    made = driver.getProviderConfig(entry)
    made.getSchema()(entry)
    made.load(TOP)
    return made


def test_labels_know_how_to_connect_from_their_image() -> None:
    labels = [
        {"name": "a", "cloud-image": "i", "min-ram": 1, "console-log": True},
        {"name": "b", "diskimage": "deb", "min-ram": 1, "host-key-checking": True},
    ]
    made = config(FakeDriver(), labels, pool={"host-key-checking": False}, fake={"address": "127.0.0.1"})
    assert made.settings().pools["main"].labels == {
        "a": LabelSettings(
            "a",
            cloud_image="i",
            username="debian",
            connection_port=2222,
            python_path="/usr/bin/python3",
            host_key_checking=False,
            console_log=True,
        ),
        "b": LabelSettings("b", diskimage="deb", username=None, connection_type="winrm", connection_port=5986),
    }
    assert made.manage_images


def test_servers_at_no_address_are_not_checked() -> None:
    labels = [{"name": "a", "cloud-image": "i", "min-ram": 1, "host-key-checking": True}]
    assert not config(FakeDriver(), labels).settings().pools["main"].labels["a"].host_key_checking


def test_limits_and_times_reach_the_launcher() -> None:
    pool = {"max-servers": 2, "max-cores": 8, "max-ram": 4096, "max-volume-gb": 10, "availability-zones": ["az2"]}
    keys = {"launch-retries": 1, "launch-timeout": 2, "boot-timeout": 3, "max-concurrency": 4, "priority": 5}
    settings = config(FakeDriver(), [], pool=pool, **keys).settings()
    assert (settings.launch_retries, settings.launch_timeout, settings.boot_timeout) == (1, 2.0, 3.0)
    assert settings.max_concurrency == 4
    main = settings.pools["main"]
    assert main.limits == Resources.limit({"instances": 2, "cores": 8, "ram": 4096, "volume-gb": 10})
    assert (main.priority, main.availability_zones) == (5, ("az2",))


@pytest.mark.parametrize(
    ("label", "cost"),
    [
        ({"min-ram": 4096}, Resources(instances=1, cores=4, ram=8192)),
        ({"flavor-name": "Unreal Flavor"}, Resources(instances=1, cores=4, ram=8192)),
        ({"min-ram": 1, "flavor-name": "Unreal"}, Resources(instances=1, cores=4, ram=8192)),
        (
            {"min-ram": 1, "boot-from-volume": True},
            Resources({"instances": 1, "cores": 4, "ram": 8192, "volumes": 1, "volume-gb": 50}),
        ),
    ],
)
def test_a_node_costs_its_flavor(label: dict[str, Any], cost: Resources) -> None:
    made = provider(labels=[{"name": "a", "cloud-image": "i", **label}])
    assert made.adapter.cost("main", "a") == cost


@pytest.mark.parametrize("label", [{"min-ram": 8193}, {"flavor-name": "Unreal"}])
def test_a_label_that_no_flavor_fits_is_bad(label: dict[str, Any]) -> None:
    made = provider(labels=[{"name": "a", "cloud-image": "i", **label}])
    with pytest.raises(BadLabel):
        made.adapter.cost("main", "a")


def test_the_servers_outlive_a_reload() -> None:
    driver = FakeDriver()
    old, new = provider(driver), provider(driver, fake={"instances": 5})
    assert old.adapter.cloud is new.adapter.cloud
    assert new.adapter.limits(1.0)["instances"] == 5


def test_a_call_slower_than_its_deadline_ends_with_an_unknown_outcome() -> None:
    with pytest.raises(UnknownOutcome):
        provider(fake={"latency": 3600}).adapter.list_servers(0.01)


def test_a_stop_ends_a_call_under_way() -> None:
    adapter = provider(fake={"latency": 3600}).adapter
    ended: list[UnknownOutcome] = []

    def call() -> None:
        try:
            adapter.list_servers(3600.0)
        except UnknownOutcome as error:
            ended.append(error)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    adapter.stop()
    caller.join(10.0)
    assert len(ended) == 1
