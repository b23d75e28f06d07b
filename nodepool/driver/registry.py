"""Which drivers there are: those of this package, and those that other installed packages bring.

Another package names its driver in its own metadata, under the entry point group ``nodepool.drivers``; the name is what
``driver:`` in nodepool.yaml says and the value is the :class:`~nodepool.driver.contract.Driver` class. A driver is
imported when it is first asked for, so that one that is broken or lacks a library hurts nobody who does not use it.
Names of built-in drivers cannot be taken over. May be called from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from nodepool.driver.contract import Driver

ENTRY_POINT_GROUP = "nodepool.drivers"
DEFAULT_DRIVER = "openstack"
FAKE_DRIVER = "fake"

_BUILT_IN = {
    "fake": "nodepool.driver.fake.driver:FakeDriver",
    "local": "nodepool.driver.local.driver:LocalDriver",
    "openstack": "nodepool.driver.openstack.driver:OpenStackDriver",
    "static": "nodepool.driver.static.driver:StaticDriver",
}


class DriverError(Exception):
    """A driver cannot be had; the text says why and is meant for operators."""


class UnknownDriver(DriverError):
    """There is no driver of this name; ``known`` are the names that there are."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"there is no driver '{name}'; known drivers: {', '.join(known)}")
        self.name = name
        self.known = known


class BrokenDriver(DriverError):
    """The driver is installed but cannot be used; the error of its import is the cause of this one."""

    def __init__(self, name: str, where: str, why: str) -> None:
        super().__init__(f"the driver '{name}' ({where}) cannot be loaded: {why}")
        self.name = name


_drivers: dict[str, Driver] = {}
_lock = threading.Lock()


def driver_for_provider(provider: Mapping[str, Any]) -> str:
    """The driver's name for an entry of ``providers``: a name beginning with ``fake`` wins (spec config 7)."""
    if str(provider.get("name", "")).startswith(FAKE_DRIVER):
        return FAKE_DRIVER
    return str(provider.get("driver", DEFAULT_DRIVER))


def driver_names() -> tuple[str, ...]:
    """Names of all drivers, sorted; none is imported for it."""
    return tuple(sorted({*_BUILT_IN, *entry_points(group=ENTRY_POINT_GROUP).names}))


def get_driver(name: str) -> Driver:
    """The driver of this name; always the same object. Raises :class:`UnknownDriver` and :class:`BrokenDriver`."""
    with _lock:
        if name not in _drivers:
            _drivers[name] = _make(name)
        return _drivers[name]


def _make(name: str) -> Driver:
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        driver: Driver = getattr(import_module(module), attribute)()
    else:
        driver = _make_foreign(name)
    driver.name = name
    return driver


def _make_foreign(name: str) -> Driver:
    found = tuple(entry_points(group=ENTRY_POINT_GROUP, name=name))
    if not found:
        raise UnknownDriver(name, driver_names())
    where = _where(found[0])
    # Foreign code runs here: an import can fail in any way, and none of them may reach beyond this driver.
    try:
        driver = found[0].load()()
    except Exception as error:
        raise BrokenDriver(name, where, f"{type(error).__name__}: {error}") from error
    if not isinstance(driver, Driver):
        raise BrokenDriver(name, where, f"{type(driver).__name__} is not a nodepool.driver.contract.Driver")
    return driver


def _where(entry_point: EntryPoint) -> str:
    package = entry_point.dist.name if entry_point.dist else "unknown package"
    return f"{entry_point.value} of {package}"
