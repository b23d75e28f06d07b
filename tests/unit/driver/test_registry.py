"""Drivers by name: built in, and from other installed packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodepool.driver.fake.driver import FakeDriver
from nodepool.driver.registry import BrokenDriver, UnknownDriver, driver_for_provider, driver_names, get_driver
from nodepool.driver.static.driver import StaticDriver

ENTRY_POINTS = """\
[nodepool.drivers]
demo = tests.contract.demo_driver:DemoDriver
absent = no_such_module_here:Driver
syntax = broken_syntax_here:Driver
stranger = builtins:dict
static = tests.contract.demo_driver:DemoDriver
"""


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that brings drivers: its metadata is on the path."""
    metadata = tmp_path / "demo_drivers-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: demo-drivers\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "broken_syntax_here.py").write_text("def")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_built_in_drivers_have_names() -> None:
    assert driver_names() == ("fake", "local", "openstack", "static")
    assert isinstance(get_driver("fake"), FakeDriver)
    assert isinstance(get_driver("static"), StaticDriver)
    assert get_driver("static").name == "static"
    assert get_driver("static") is get_driver("static")


def test_an_unknown_driver_is_reported_with_those_that_there_are() -> None:
    with pytest.raises(UnknownDriver, match="known drivers: fake, local, openstack, static") as caught:
        get_driver("nova")
    assert caught.value.known == ("fake", "local", "openstack", "static")


@pytest.mark.usefixtures("other_package")
def test_another_package_may_bring_a_driver() -> None:
    assert driver_names() == ("absent", "demo", "fake", "local", "openstack", "static", "stranger", "syntax")
    assert type(get_driver("demo")).__name__ == "DemoDriver"
    assert get_driver("demo").name == "demo"


@pytest.mark.usefixtures("other_package")
def test_a_built_in_driver_cannot_be_taken_over() -> None:
    assert isinstance(get_driver("static"), StaticDriver)


@pytest.mark.usefixtures("other_package")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "absent",
            "the driver 'absent' (no_such_module_here:Driver of demo-drivers) cannot be loaded: "
            "ModuleNotFoundError: No module named 'no_such_module_here'",
        ),
        (
            "syntax",
            "the driver 'syntax' (broken_syntax_here:Driver of demo-drivers) cannot be loaded: "
            "SyntaxError: invalid syntax (broken_syntax_here.py, line 1)",
        ),
        (
            "stranger",
            "the driver 'stranger' (builtins:dict of demo-drivers) cannot be loaded: "
            "dict is not a nodepool.driver.contract.Driver",
        ),
    ],
)
def test_a_broken_driver_says_why_and_hurts_no_other(name: str, message: str) -> None:
    with pytest.raises(BrokenDriver) as caught:
        get_driver(name)
    assert str(caught.value) == message
    assert isinstance(get_driver("fake"), FakeDriver)


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ({"name": "cloud"}, "openstack"),
        ({"name": "rack", "driver": "static"}, "static"),
        ({"name": "fake-rack", "driver": "static"}, "fake"),
        ({"name": "fakery"}, "fake"),
        ({"name": "my-fake", "driver": "aws"}, "aws"),
        ({}, "openstack"),
    ],
)
def test_the_name_of_a_provider_may_decide(provider: dict[str, str], name: str) -> None:
    assert driver_for_provider(provider) == name
