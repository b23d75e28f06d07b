"""Limits of a project."""

from __future__ import annotations

from nodepool.driver.openstack.limits import compute_limits, network_limits, volume_limits
from nodepool.model.resources import Resources

COMPUTE = {
    "limits": {
        "rate": [],
        "absolute": {
            "maxServerMeta": 128,
            "maxTotalInstances": 10,
            "maxTotalCores": 20,
            "maxTotalRAMSize": 51200,
            "totalInstancesUsed": 3,
        },
    }
}
VOLUME = {
    "limits": {
        "rate": [],
        "absolute": {"maxTotalVolumes": 10, "maxTotalVolumeGigabytes": 1000, "totalVolumesUsed": 4},
    }
}


def test_compute_limits_are_those_of_the_project() -> None:
    assert compute_limits(COMPUTE) == Resources.limit({"instances": 10, "cores": 20, "ram": 51200})


def test_minus_one_is_no_limit() -> None:
    absolute = {"maxTotalInstances": -1, "maxTotalCores": 0, "maxTotalRAMSize": -1}
    limits = compute_limits({"limits": {"absolute": absolute}})
    assert limits.names() == ("cores",)
    assert limits["cores"] == 0


def test_volumes_without_a_server_take_room() -> None:
    volumes = [
        {"id": "a", "size": 100, "status": "in-use", "attachments": [{"server_id": "s"}]},
        {"id": "b", "size": 30, "status": "available", "attachments": []},
        {"id": "c", "size": 20, "status": "error", "attachments": []},
        {"id": "d", "size": 50, "status": "downloading", "attachments": []},
        {"id": "e", "size": 50, "status": "deleting", "attachments": []},
    ]
    assert volume_limits(VOLUME, volumes) == Resources.limit({"volumes": 8, "volume-gb": 950})


def test_more_loose_volumes_than_the_limit_leave_nothing() -> None:
    volumes = [{"id": "b", "size": 3000, "status": "available", "attachments": []}]
    assert volume_limits(VOLUME, volumes)["volume-gb"] == 0
    assert "volume-gb" in volume_limits(VOLUME, volumes)


def test_ports_limit_servers() -> None:
    assert network_limits({"quota": {"port": 51, "floatingip": 10}}, 2, None) == Resources.limit({"instances": 25})
    assert network_limits({"quota": {"port": -1}}, 1, None) == Resources.limit({})
    assert network_limits({"quota": {}}, 1, 0) == Resources.limit({})


def test_floating_addresses_limit_servers_that_need_one_each() -> None:
    quota = {"quota": {"port": 51, "floatingip": 10}}
    assert network_limits(quota, 1, 0)["instances"] == 10
    assert network_limits(quota, 1, 3)["instances"] == 13, "three servers of others have none, and are taken off later"
    assert network_limits(quota, 1, -20) == Resources.limit({"instances": 0})
    assert network_limits(quota, 2, 30)["instances"] == 25
    assert network_limits({"quota": {"floatingip": -1}}, 1, 0) == Resources.limit({})
