"""Quotas of a simulated cloud: where they are enforced, what is told, what is counted."""

from __future__ import annotations

import json

from tests.unit.cloud.desk import Desk


def test_a_create_call_beyond_the_quota_is_refused_as_nova_does() -> None:
    desk = Desk({"quota": {"instances": 2, "cores": 8}})
    desk.create("np1")
    desk.create("np2")
    status, message = desk.refusal("POST", "/compute/v2.1/servers", desk.order("np3"))
    assert status == 403
    assert message == "Quota exceeded for instances: Requested 1, but already used 2 of 2 instances"
    servers = desk.accounting()["servers"]
    assert (servers["refused"], servers["peak"]["instances"], servers["over_quota"]["instances"]) == (1, 2, 0)


def test_all_resources_beyond_the_quota_are_named() -> None:
    desk = Desk({"quota": {"cores": 3, "ram": 9000}})
    status, message = desk.refusal("POST", "/compute/v2.1/servers", desk.order(flavor="m1.large"))
    assert (status, message.split(":")[0]) == (403, "Quota exceeded for cores")
    desk.ask("POST", "/control/regions/RegionOne", {"quota": {"ram": 100}})
    message = desk.refusal("POST", "/compute/v2.1/servers", desk.order(flavor="m1.large"))[1]
    assert message == "Quota exceeded for cores, ram: Requested 4, 8192, but already used 0, 0 of 3, 100 cores, ram"


def test_room_is_free_when_the_server_is_gone_not_before() -> None:
    desk = Desk({"quota": {"instances": 1}})
    server_id = desk.create()
    desk.delete(server_id)
    assert desk.refusal("POST", "/compute/v2.1/servers", desk.order())[0] == 403
    desk.move(2)
    desk.create()


def test_limits_tell_quota_and_use() -> None:
    desk = Desk({"quota": {"instances": 10, "cores": -1, "ram": 5000}})
    desk.create(flavor="m1.medium")
    absolute = desk.ask("GET", "/compute/v2.1/limits")["limits"]["absolute"]
    assert (absolute["maxTotalInstances"], absolute["maxTotalCores"], absolute["maxTotalRAMSize"]) == (10, -1, 5000)
    assert (absolute["totalInstancesUsed"], absolute["totalCoresUsed"], absolute["totalRAMUsed"]) == (1, 2, 4096)


def test_the_scheduler_finds_out_late_that_there_is_no_room() -> None:
    desk = Desk({"quota": {"instances": 2}, "quota_check": "scheduler"})
    servers = [desk.create(f"np{number}") for number in range(5)]
    desk.move(5)
    found = [desk.show(server_id) for server_id in servers]
    assert sorted(server["status"] for server in found) == ["ACTIVE", "ACTIVE", "ERROR", "ERROR", "ERROR"]
    messages = {server["fault"]["message"] for server in found if server["status"] == "ERROR"}
    assert messages == {"Quota exceeded for instances: Requested 1, but already used 2 of 2 instances"}
    assert desk.refusal("POST", "/compute/v2.1/servers", desk.order())[0] == 403
    assert desk.accounting()["servers"]["over_quota"]["instances"] == 3
    desk.delete(next(server["id"] for server in found if server["status"] == "ACTIVE"))
    desk.move(2)
    desk.create()


def test_without_a_check_the_peak_over_quota_is_counted() -> None:
    desk = Desk({"quota": {"instances": 2}, "quota_check": "none"})
    servers = [desk.create(f"np{number}") for number in range(5)]
    for server_id in servers:
        desk.delete(server_id)
    desk.move(2)
    found = desk.accounting()["servers"]
    assert (found["alive"]["instances"], found["peak"]["instances"], found["over_quota"]["instances"]) == (0, 5, 3)


def test_ports_volumes_and_floating_addresses_have_quotas_of_their_own() -> None:
    desk = Desk({"quota": {"ports": 1, "floating_ips": 1, "volumes": 1, "gigabytes": 10}})
    desk.create()
    assert desk.refusal("POST", "/compute/v2.1/servers", desk.order()) == (403, "Maximum number of ports exceeded")
    public = desk.region.networking.network("public")
    assert public is not None
    floating = {"floatingip": {"floating_network_id": public.id}}
    desk.ask("POST", "/network/v2.0/floatingips", floating)
    refused = desk.call("POST", "/network/v2.0/floatingips", floating)
    assert refused.status == 409
    assert json.loads(refused.body)["NeutronError"]["type"] == "OverQuota"
    assert "gigabytes" in desk.refusal("POST", "/volume/v3/volumes", {"volume": {"size": 11}})[1]
    desk.ask("POST", "/volume/v3/volumes", {"volume": {"size": 10}})
    assert desk.refusal("POST", "/volume/v3/volumes", {"volume": {"size": 1}})[0] == 413


def test_two_living_servers_with_one_tag_are_told_of() -> None:
    desk = Desk()
    tag = {"nodepool_node_id": "0000000007"}
    first = desk.create("np7", metadata=tag)
    desk.delete(first)
    desk.create("np7", metadata=tag)
    assert desk.accounting()["servers"]["doubles"] == {}
    desk.create("np7", metadata=tag)
    assert desk.accounting()["servers"]["doubles"] == {"0000000007": 2}
