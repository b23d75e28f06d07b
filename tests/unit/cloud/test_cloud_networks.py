"""Addresses, ports, floating addresses and security groups of a simulated cloud."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cloud.desk import Desk
from tools.cloud.addresses import AddressPool
from tools.cloud.settings import AddressReuse

PORTS, FLOATING = "/network/v2.0/ports", "/network/v2.0/floatingips"


def _network(desk: Desk, name: str) -> str:
    network = desk.region.networking.network(name)
    assert network is not None
    return network.id


def _addresses(desk: Desk, server_id: str) -> list[tuple[str, str]]:
    networks = desk.show(server_id)["addresses"].values()
    return [(entry["OS-EXT-IPS:type"], entry["addr"]) for entries in networks for entry in entries]


def test_addresses_are_used_again_soon_or_late() -> None:
    for reuse, following in ((AddressReuse.SOON, "10.0.0.10"), (AddressReuse.LATE, "10.0.0.11")):
        pool = AddressPool("10.0.0.0/28", (), reuse)
        first = pool.take()
        assert first == "10.0.0.10"
        pool.give_back(first)
        assert pool.take() == following


@pytest.mark.parametrize("reuse", AddressReuse)
def test_a_pool_gives_each_address_once_and_ends(reuse: AddressReuse) -> None:
    pool = AddressPool("10.0.0.0/28", (), reuse)
    given = [pool.take() for _ in range(5)]
    assert given == [f"10.0.0.{last}" for last in range(10, 15)]
    assert pool.take() is None
    pool.give_back("10.0.0.12")
    assert pool.take("10.0.0.11") is None
    assert pool.take() == "10.0.0.12"
    assert pool.take() is None


def test_a_wanted_address_is_given_if_it_is_free() -> None:
    pool = AddressPool("10.0.0.0/28", (), AddressReuse.SOON)
    assert pool.take("10.0.0.10") == "10.0.0.10"
    assert pool.take("10.0.0.10") is None
    assert pool.take("10.1.0.1") is None
    assert pool.take() == "10.0.0.11"


@pytest.mark.parametrize("reuse", AddressReuse)
def test_an_address_that_came_back_and_was_wanted_is_not_given_twice(reuse: AddressReuse) -> None:
    pool = AddressPool("10.0.0.0/28", (), reuse)
    given = [pool.take() for _ in range(5)]
    for address in given[:2]:
        pool.give_back(str(address))
    assert pool.take(str(given[0])) == given[0]
    assert pool.take(str(given[1])) == given[1]
    assert pool.take() is None


def test_a_small_network_serves_many_servers_one_after_the_other() -> None:
    desk = Desk({"networks": [{"name": "private", "cidr": "10.1.0.0/28"}]})
    for number in range(20):
        server_id = desk.create(f"np{number}")
        desk.move(5)
        assert desk.show(server_id)["status"] == "ACTIVE"
        desk.delete(server_id)
        desk.move(2)


def test_given_addresses_go_round() -> None:
    desk = Desk({"networks": [{"name": "private", "addresses": ["127.0.0.2", "127.0.0.3"]}]})
    servers = [desk.create(f"np{number}") for number in range(4)]
    desk.move(5)
    found = [_addresses(desk, server_id)[0][1] for server_id in servers]
    assert sorted(found) == ["127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"]


def test_a_server_has_an_address_of_each_family() -> None:
    desk = Desk({"networks": [{"name": "private", "cidr": "10.1.0.0/24", "cidr6": "fd00:1::/64"}]})
    server_id = desk.create()
    desk.move(5)
    assert _addresses(desk, server_id) == [("fixed", "10.1.0.10"), ("fixed", "fd00:1::a")]


def test_a_full_network_fails_the_build() -> None:
    desk = Desk({"networks": [{"name": "private", "cidr": "10.1.0.0/28"}]})
    servers = [desk.create(f"np{number}") for number in range(6)]
    desk.move(5)
    assert [desk.show(server_id)["status"] for server_id in servers] == ["ACTIVE"] * 5 + ["ERROR"]
    assert "No more IP addresses" in desk.show(servers[5])["fault"]["message"]


def test_without_a_network_the_only_one_is_taken() -> None:
    desk = Desk({"networks": [{"name": "one", "cidr": "10.1.0.0/24"}]})
    desk.create(networks="auto")
    two = Desk({"networks": [{"name": "one", "cidr": "10.1.0.0/24"}, {"name": "two", "cidr": "10.2.0.0/24"}]})
    status, message = two.refusal("POST", "/compute/v2.1/servers", two.order(networks="auto"))
    assert (status, "Multiple possible networks" in message) == (409, True)


def test_an_external_network_is_for_floating_addresses_only() -> None:
    desk = Desk()
    order = desk.order(networks=[{"uuid": _network(desk, "public")}])
    assert desk.refusal("POST", "/compute/v2.1/servers", order)[0] == 403


def test_ports_follow_their_server() -> None:
    desk = Desk()
    server_id = desk.create(availability_zone="az1")
    port = desk.ask("GET", f"{PORTS}?device_id={server_id}")["ports"][0]
    assert (port["status"], port["device_owner"]) == ("DOWN", "compute:az1")
    desk.move(5)
    assert desk.ask("GET", f"{PORTS}/{port['id']}")["port"]["status"] == "ACTIVE"
    assert desk.ask("GET", f"{PORTS}?status=DOWN")["ports"] == []
    assert desk.ask("GET", f"{PORTS}?fields=id")["ports"] == [{"id": port["id"]}]
    desk.delete(server_id)
    desk.move(2)
    assert desk.call("GET", f"{PORTS}/{port['id']}").status == 404


def test_a_port_made_before_outlives_the_server() -> None:
    desk = Desk()
    wanted = {"port": {"network_id": _network(desk, "private"), "name": "mine"}}
    port_id = desk.ask("POST", PORTS, wanted)["port"]["id"]
    server_id = desk.create(networks=[{"port": port_id}])
    assert desk.refusal("POST", "/compute/v2.1/servers", desk.order(networks=[{"port": port_id}]))[0] == 409
    desk.move(5)
    assert _addresses(desk, server_id)
    desk.delete(server_id)
    desk.move(2)
    port = desk.ask("GET", f"{PORTS}/{port_id}")["port"]
    assert (port["device_id"], port["status"]) == ("", "DOWN")


def test_lists_of_ports_are_paged() -> None:
    desk = Desk()
    for number in range(5):
        desk.create(f"np{number}")
    first = desk.ask("GET", f"{PORTS}?limit=2")
    assert first["ports_links"][0]["rel"] == "next"
    marker = first["ports"][-1]["id"]
    second = desk.ask("GET", f"{PORTS}?limit=2&marker={marker}")
    third = desk.ask("GET", f"{PORTS}?limit=2&marker={second['ports'][-1]['id']}")
    assert [len(page["ports"]) for page in (first, second, third)] == [2, 2, 1]
    assert "ports_links" not in third


class _Floating:
    def __init__(self, **region: Any) -> None:
        self.desk = Desk(region)
        self.server_id = self.desk.create()
        self.desk.move(5)
        self.port_id = self.desk.ask("GET", f"{PORTS}?device_id={self.server_id}")["ports"][0]["id"]
        wanted = {"floating_network_id": _network(self.desk, "public"), "port_id": self.port_id}
        self.entry = self.desk.ask("POST", FLOATING, {"floatingip": wanted})["floatingip"]
        self.path = f"{FLOATING}/{self.entry['id']}"


def test_a_floating_address_is_attached_shown_and_left_when_the_server_goes() -> None:
    place = _Floating()
    desk, address = place.desk, place.entry["floating_ip_address"]
    assert (place.entry["status"], place.entry["fixed_ip_address"]) == ("ACTIVE", "10.20.0.10")
    assert _addresses(desk, place.server_id) == [("fixed", "10.20.0.10"), ("floating", address)]
    desk.delete(place.server_id)
    desk.move(2)
    left = desk.ask("GET", place.path)["floatingip"]
    assert (left["status"], left["port_id"]) == ("DOWN", None)
    assert desk.accounting()["leftovers"]["floating_ips"] == [place.entry["id"]]
    desk.ask("DELETE", place.path)
    assert desk.ask("GET", FLOATING)["floatingips"] == []


def test_a_floating_address_takes_its_time() -> None:
    place = _Floating(floating_ip=7)
    assert place.entry["status"] == "DOWN"
    place.desk.move(7)
    assert place.desk.ask("GET", place.path)["floatingip"]["status"] == "ACTIVE"


def test_a_floating_address_moves_and_goes() -> None:
    place = _Floating()
    desk = place.desk
    other = desk.create("np2")
    desk.move(5)
    port_id = desk.ask("GET", f"{PORTS}?device_id={other}")["ports"][0]["id"]
    desk.ask("PUT", place.path, {"floatingip": {"port_id": port_id}})
    assert [kind for kind, _ in _addresses(desk, place.server_id)] == ["fixed"]
    assert [kind for kind, _ in _addresses(desk, other)] == ["fixed", "floating"]
    desk.ask("DELETE", place.path)
    assert [kind for kind, _ in _addresses(desk, other)] == ["fixed"]


def test_security_groups_and_quota() -> None:
    desk = Desk({"security_groups": ["ssh"]})
    created = desk.ask("POST", "/network/v2.0/security-groups", {"security_group": {"name": "web"}})["security_group"]
    listed = desk.ask("GET", "/network/v2.0/security-groups")["security_groups"]
    assert [group["name"] for group in listed] == ["default", "ssh", "web"]
    server_id = desk.create(security_groups=[{"name": "web"}])
    path = f"/network/v2.0/security-groups/{created['id']}"
    assert desk.refusal("DELETE", path)[0] == 409
    desk.delete(server_id)
    desk.move(2)
    desk.ask("DELETE", path)
    quota = desk.ask("GET", "/network/v2.0/quotas/x")["quota"]
    details = desk.ask("GET", "/network/v2.0/quotas/x/details")["quota"]
    assert quota["port"] == details["port"]["limit"] == 5000
    assert details["port"]["used"] == 0
