"""The life of a simulated server, and what lists tell of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.unit.cloud.desk import START, Desk
from tools.cloud.timeline import iso


def test_a_server_is_built_shown_and_deleted() -> None:
    desk = Desk()
    metadata = {"nodepool_node_id": "1"}
    server_id = desk.create("np1", availability_zone="az2", metadata=metadata, key_name="key", config_drive=True)
    building = desk.show(server_id)
    assert (building["status"], building["addresses"], building["hostId"]) == ("BUILD", {}, "")
    desk.move(5)
    active = desk.show(server_id)
    assert active["status"] == "ACTIVE"
    assert active["metadata"] == metadata
    assert active["OS-EXT-AZ:availability_zone"] == "az2"
    assert active["key_name"] == "key"
    assert active["config_drive"] == "True"
    assert active["flavor"]["original_name"] == "m1.tiny"
    assert [entry["addr"] for entry in active["addresses"]["private"]] == ["10.20.0.10"]
    assert len(active["hostId"]) == 56
    assert active["created"] == iso(START)
    assert active["updated"] == iso(START + 5)
    desk.delete(server_id)
    assert desk.show(server_id)["OS-EXT-STS:task_state"] == "deleting"
    desk.move(1.9)
    assert desk.exists(server_id)
    desk.move(0.1)
    assert not desk.exists(server_id)
    assert desk.listed() == []
    assert desk.accounting()["ports"] == 0


def test_a_server_can_be_deleted_while_it_is_built() -> None:
    desk = Desk({"delete": 10})
    server_id = desk.create()
    desk.delete(server_id)
    desk.move(6)
    assert desk.show(server_id)["status"] == "BUILD"
    desk.move(4)
    assert not desk.exists(server_id)


def test_a_server_that_no_host_was_given_goes_without_trace() -> None:
    desk = Desk({"scheduling": 1, "list_lag": 3})
    server_id = desk.create()
    desk.move(0.5)
    desk.delete(server_id)
    assert not desk.exists(server_id)
    for _ in range(10):
        desk.move(1)
        listed = desk.ask("GET", "/compute/v2.1/servers/detail?changes-since=2020-01-01T00:00:00Z")["servers"]
        assert {server["status"] for server in listed} <= {"BUILD"}
    assert listed == []


def test_old_clients_get_a_reference_to_the_flavor() -> None:
    desk = Desk()
    server_id = desk.create()
    answer = desk.ask("GET", f"/compute/v2.1/servers/{server_id}", openstack_api_version="compute 2.1")
    assert answer["server"]["flavor"].keys() == {"id", "links"}


def test_an_unknown_microversion_is_refused() -> None:
    status, message = Desk().refusal("GET", "/compute/v2.1/servers/detail", openstack_api_version="compute 2.999")
    assert status == 406
    assert "maximum is 2.96" in message


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"flavorRef": "x"}, 400, "Flavor x could not be found."),
        ({"imageRef": "x"}, 400, "Image x could not be found."),
        ({"imageRef": ""}, 400, "Invalid imageRef provided."),
        ({"networks": [{"uuid": "x"}]}, 400, "Network x could not be found."),
        ({"networks": [{"port": "x"}]}, 400, "Port x could not be found."),
        ({"networks": None}, 400, "'networks' is a required property"),
        ({"availability_zone": "x"}, 400, "The requested availability zone is not available"),
        ({"key_name": "x"}, 400, "Invalid key_name provided."),
        ({"security_groups": [{"name": "x"}]}, 400, "Security group x not found."),
        ({"metadata": {"a": 1}}, 400, "1 is not of type 'string'"),
        ({"metadata": {"a": "x" * 256}}, 400, "is too long"),
        ({"name": ""}, 400, "field/attribute name"),
        ({"max_count": 2}, 400, "one server per call"),
    ],
)
def test_a_bad_order_is_refused(change: dict[str, Any], status: int, message: str) -> None:
    desk = Desk()
    found = desk.refusal("POST", "/compute/v2.1/servers", desk.order(**change))
    assert found[0] == status
    assert message in found[1]
    assert desk.accounting()["servers"]["created"] == 0


def test_lists_are_paged_by_marker_newest_first() -> None:
    desk = Desk({"page": 3})
    names = [f"np{number}" for number in range(8)]
    for name in names:
        desk.create(name)
    seen: list[str] = []
    query = "?limit=2"
    sizes = []
    while query:
        page = desk.ask("GET", f"/compute/v2.1/servers/detail{query}")
        seen += [server["name"] for server in page["servers"]]
        sizes.append(len(page["servers"]))
        links = page.get("servers_links", [])
        query = f"?{urlsplit(links[0]['href']).query}" if links else ""
    assert seen == names[::-1]
    assert sizes == [2, 2, 2, 2, 0]
    assert len(desk.listed("?limit=100")) == 3
    assert desk.refusal("GET", "/compute/v2.1/servers/detail?marker=x") == (400, "marker [x] not found")


def test_a_page_goes_on_although_its_last_server_is_gone() -> None:
    desk = Desk()
    first, second, third = (desk.create(f"np{number}") for number in range(3))
    desk.delete(second)
    desk.move(2)
    assert [server["id"] for server in desk.listed(f"?marker={second}")] == [first]
    assert [server["id"] for server in desk.listed()] == [third, first]


def test_servers_are_found_by_name_and_status() -> None:
    desk = Desk()
    desk.create("np1")
    desk.move(5)
    desk.create("np10")
    assert [server["name"] for server in desk.listed("?name=%5Enp1%24")] == ["np1"]
    assert [server["name"] for server in desk.listed("?status=BUILD")] == ["np10"]
    assert desk.refusal("GET", "/compute/v2.1/servers/detail?name=(")[0] == 400
    assert desk.refusal("GET", "/compute/v2.1/servers/detail?all_tenants=True")[0] == 403


def test_changes_since_tells_what_changed_and_what_is_gone() -> None:
    desk = Desk()
    old, gone = desk.create("old"), desk.create("gone")
    desk.move(10)
    desk.delete(gone)
    desk.move(10)
    fresh = desk.create("fresh")
    changed = desk.listed(f"?changes-since={iso(START + 6)}")
    assert [(server["id"], server["status"]) for server in changed] == [(fresh, "BUILD"), (gone, "DELETED")]
    assert [server["id"] for server in desk.listed(f"?changes-since={iso(START)}")] == [fresh, gone, old]
    assert desk.refusal("GET", "/compute/v2.1/servers/detail?changes-since=x")[0] == 400
    desk.move(3600)
    assert gone not in [server["id"] for server in desk.listed(f"?changes-since={iso(START)}")]


def test_changes_since_counts_whole_seconds() -> None:
    desk = Desk()
    desk.move(0.9)
    server_id = desk.create()
    assert [server["id"] for server in desk.listed(f"?changes-since={iso(START)}")] == [server_id]
    moment = f"{iso(START)[:-1]}.500000Z"
    assert desk.listed(f"?changes-since={moment}") == []
    desk.move(1.3)
    desk.delete(server_id)
    moment = f"{iso(START + 2)[:-1]}.000000Z"
    assert [server["id"] for server in desk.listed(f"?changes-since={moment}")] == [server_id]
    assert desk.listed(f"?changes-since={iso(START + 3)}") == []


def test_lists_lag_and_a_single_server_does_not() -> None:
    desk = Desk({"list_lag": 3})
    server_id = desk.create()
    assert desk.listed() == []
    desk.move(3)
    assert desk.listed()[0]["status"] == "BUILD"
    desk.move(2)
    assert desk.show(server_id)["status"] == "ACTIVE"
    assert desk.listed()[0]["status"] == "BUILD"
    desk.move(3)
    assert desk.listed()[0]["addresses"] == desk.show(server_id)["addresses"]
    desk.delete(server_id)
    desk.move(4)
    assert not desk.exists(server_id)
    assert desk.listed()[0]["OS-EXT-STS:task_state"] == "deleting"
    desk.move(1)
    assert desk.listed() == []


def test_a_list_without_lag_is_not_overtaken_by_older_news() -> None:
    desk = Desk({"list_lag": 30})
    server_id = desk.create()
    desk.ask("POST", "/control/regions/RegionOne", {"list_lag": 0})
    desk.move(5)
    desk.move(60)
    assert desk.listed()[0]["status"] == "ACTIVE"
    desk.delete(server_id)
    desk.move(2)
    assert desk.listed() == []


def test_boot_times_are_drawn_for_each_server() -> None:
    desk = Desk({"boot": [1, 100]})
    for number in range(30):
        desk.create(f"np{number}")
    desk.move(50)
    statuses = [server["status"] for server in desk.listed()]
    assert 5 < statuses.count("ACTIVE") < 25


def test_console_and_metadata_and_power() -> None:
    desk = Desk({"console": "one\ntwo\n{name} login:"})
    server_id = desk.create("np1", metadata={"a": "1"})
    console = {"os-getConsoleOutput": {"length": 2}}
    assert desk.refusal("POST", f"/compute/v2.1/servers/{server_id}/action", console)[0] == 409
    desk.move(5)
    output = desk.ask("POST", f"/compute/v2.1/servers/{server_id}/action", console)["output"]
    assert output == "two\nnp1 login:"
    desk.ask("POST", f"/compute/v2.1/servers/{server_id}/metadata", {"metadata": {"b": "2"}})
    desk.ask("DELETE", f"/compute/v2.1/servers/{server_id}/metadata/a")
    assert desk.show(server_id)["metadata"] == {"b": "2"}
    desk.ask("POST", f"/compute/v2.1/servers/{server_id}/action", {"os-stop": None})
    assert desk.show(server_id)["status"] == "SHUTOFF"


def test_servers_may_fail_and_vanish_from_outside() -> None:
    desk = Desk()
    failing, vanishing = desk.create("np1"), desk.create("np2")
    desk.move(5)
    change = "/control/regions/RegionOne/servers/"
    desk.ask("POST", f"{change}{failing}", {"status": "ERROR", "message": "host died"})
    desk.ask("POST", f"{change}{vanishing}", {"status": "DELETED"})
    assert desk.show(failing)["fault"]["message"] == "host died"
    assert not desk.exists(vanishing)
    assert desk.accounting()["leftovers"]["ports"] == []
