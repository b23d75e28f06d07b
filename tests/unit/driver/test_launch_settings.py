"""The keys ``ready-check`` and ``keep-failed``: what they mean, and what a label takes over from its pool."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nodepool.driver.adapter import KeepFailed, LabelSettings, ReadyCheck
from nodepool.driver.fake.driver import FakeDriver
from nodepool.driver.launch_settings import keep_failed, ready_check
from nodepool.driver.openstack.driver import OpenStackDriver

TOP = SimpleNamespace(labels={}, diskimages={}, providers={})


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (False, None),
        ("true", ReadyCheck(("true",))),
        (["true", "df -h /"], ReadyCheck(("true", "df -h /"))),
        ({"commands": "true"}, ReadyCheck(("true",), timeout=60.0)),
        (
            {"commands": ["a", "b"], "key-file": "~/.ssh/ci", "username": "root", "timeout": 5},
            ReadyCheck(("a", "b"), "~/.ssh/ci", "root", 5.0),
        ),
    ],
)
def test_the_forms_of_ready_check(value: Any, meaning: ReadyCheck | None) -> None:
    assert ready_check(value) == meaning


def test_the_forms_of_keep_failed() -> None:
    assert keep_failed(False) is None
    assert keep_failed({"count": 2, "seconds": 3600}) == KeepFailed(2, 3600.0)


def label(
    driver: OpenStackDriver | FakeDriver, pool: dict[str, Any], keys: dict[str, Any], **more: Any
) -> LabelSettings:
    entry = {
        "name": "prov",
        "cloud": "c",
        "cloud-images": [{"name": "i", "username": "ci"}],
        "pools": [{"name": "main", "labels": [{"name": "a", "cloud-image": "i", "min-ram": 1, **keys}], **pool}],
        **more,
    }
    made = driver.getProviderConfig(entry)
    made.getSchema()(entry)
    made.load(TOP)
    return made.settings().pools["main"].labels["a"]


POOL = {"ready-check": {"commands": "pool", "timeout": 5}, "keep-failed": {"count": 2, "seconds": 60}}


@pytest.mark.parametrize(
    ("pool", "keys", "check", "keep"),
    [
        ({}, {}, None, None),
        (POOL, {}, ReadyCheck(("pool",), timeout=5.0), KeepFailed(2, 60.0)),
        (POOL, {"ready-check": "label"}, ReadyCheck(("label",)), KeepFailed(2, 60.0)),
        (POOL, {"ready-check": False, "keep-failed": False}, None, None),
        ({}, {"keep-failed": {"count": 1, "seconds": 1.5}}, None, KeepFailed(1, 1.5)),
    ],
)
def test_a_label_has_its_own_or_that_of_its_pool(
    pool: dict[str, Any], keys: dict[str, Any], check: ReadyCheck | None, keep: KeepFailed | None
) -> None:
    of_openstack = label(OpenStackDriver(), pool, keys)
    of_fake = label(FakeDriver(), pool, keys, fake={"address": "127.0.0.1"})
    assert (of_openstack.ready_check, of_openstack.keep_failed) == (check, keep)
    assert (of_fake.ready_check, of_fake.keep_failed) == (check, keep)


def test_servers_at_no_address_are_not_checked() -> None:
    settings = label(FakeDriver(), POOL, {})
    assert (settings.ready_check, settings.keep_failed) == (None, KeepFailed(2, 60.0))
