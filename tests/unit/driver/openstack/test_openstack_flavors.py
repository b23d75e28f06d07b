"""Which flavor a label means."""

from __future__ import annotations

import pytest

from nodepool.driver.openstack.flavors import choose_flavor, embedded_resources, read_flavors
from nodepool.model.resources import Resources

FLAVORS = read_flavors(
    [
        {"id": "4", "name": "m1.large", "ram": 8192, "vcpus": 4, "disk": 80},
        {"id": "1", "name": "m1.tiny", "ram": 512, "vcpus": 1, "disk": 1},
        {"id": "7", "name": "ci.large", "ram": 8192, "vcpus": 8, "disk": 80},
        {"id": "8", "name": "ci.huge", "ram": 16384, "vcpus": 8, "disk": 80},
        {"id": "m1.huge", "name": "odd", "ram": 4096, "vcpus": 2, "disk": 80},
    ]
)


def test_flavors_are_ordered_by_ram_and_name() -> None:
    assert [flavor.name for flavor in FLAVORS] == ["m1.tiny", "odd", "ci.large", "m1.large", "ci.huge"]


@pytest.mark.parametrize(
    ("name", "min_ram", "chosen"),
    [
        ("m1.large", None, "m1.large"),
        ("large", None, None),
        ("8", None, "ci.huge"),
        ("m1.huge", None, "odd"),
        (None, 4096, "odd"),
        (None, 8192, "ci.large"),
        (None, 0, "m1.tiny"),
        (None, 99999, None),
        ("large", 1, "ci.large"),
        ("m1", 1024, "m1.large"),
        ("m1", 16384, None),
        ("large", 0, None),
        ("ci.huge", 0, "ci.huge"),
    ],
)
def test_a_label_chooses_by_name_ram_or_both(name: str | None, min_ram: int | None, chosen: str | None) -> None:
    flavor = choose_flavor(FLAVORS, name, min_ram)
    assert (flavor.name if flavor else None) == chosen


def test_a_server_tells_its_size_since_nova_2_47() -> None:
    embedded = {"vcpus": 2, "ram": 4096, "disk": 10, "original_name": "x", "extra_specs": {}}
    assert embedded_resources(embedded) == Resources(instances=1, cores=2, ram=4096)
    assert embedded_resources({"id": "1", "links": []}) is None
