"""Floating addresses and ports: which port gets one, and what may have been left behind."""

from __future__ import annotations

from typing import Any

from nodepool.driver.adapter import Leftover
from nodepool.driver.openstack.floating import choose_port
from nodepool.driver.openstack.leftovers import describe, down_ports, is_ours, unused_floating_addresses


def test_the_newest_port_with_ipv4_gets_the_floating_address() -> None:
    old = {"id": "p1", "created_at": "2026-01-01T00:00:00Z", "fixed_ips": [{"ip_address": "10.0.0.4"}]}
    new = {
        "id": "p2",
        "created_at": "2026-01-01T00:00:01Z",
        "fixed_ips": [{"ip_address": "2001:db8::4"}, {"ip_address": "10.1.0.4"}],
    }
    six = {"id": "p3", "created_at": "2026-01-01T00:00:02Z", "fixed_ips": [{"ip_address": "2001:db8::5"}]}
    assert choose_port([old, new, six]) == ("p2", "10.1.0.4")
    assert choose_port([six]) is None
    assert choose_port([{"id": "p4", "fixed_ips": []}]) is None
    assert choose_port([]) is None


def test_a_floating_address_says_whose_it_is() -> None:
    text = describe("cloud one", "0000000012")
    assert is_ours(text, "cloud one")
    assert not is_ours(text, "cloud")
    assert not is_ours("by hand", "cloud one")


def test_ports_of_servers_and_of_nobody_are_leftovers_when_down() -> None:
    ports: list[dict[str, Any]] = [
        {"id": "a", "status": "DOWN", "device_owner": "compute:az1"},
        {"id": "b", "status": "DOWN", "device_owner": ""},
        {"id": "c", "status": "ACTIVE", "device_owner": "compute:az1"},
        {"id": "d", "status": "DOWN", "device_owner": "network:router_interface"},
        {"id": "e", "status": "DOWN", "device_owner": None},
        {"id": "f", "status": "DOWN", "device_owner": "compute:az1", "device_id": "booting"},
    ]
    assert list(down_ports(ports, 600.0, lambda server_id: server_id == "booting")) == [
        Leftover("ports", one, 600.0) for one in "abe"
    ]


def test_only_our_own_floating_addresses_are_leftovers_unless_told_otherwise() -> None:
    dead = {"device_owner": "compute:az1", "device_id": "dead"}
    router = {"device_owner": "network:router_interface", "device_id": "r"}
    addresses: list[dict[str, Any]] = [
        {"id": "a", "port_id": None, "description": describe("prov", "1")},
        {"id": "b", "port_id": "p", "description": describe("prov", "2")},
        {"id": "c", "port_id": None, "description": describe("other", "3")},
        {"id": "d", "port_id": None},
        {"id": "e", "port_id": "p", "description": describe("prov", "5"), "port_details": dead},
        {"id": "f", "port_id": "p", "description": describe("prov", "6"), "port_details": dead | {"device_id": "up"}},
        {"id": "g", "port_id": "p", "description": describe("prov", "7"), "port_details": router},
        {"id": "h", "port_id": "p", "description": "", "port_details": dead},
    ]

    def found(everybodys: bool) -> list[Leftover]:
        return list(unused_floating_addresses(addresses, "prov", everybodys, lambda server_id: server_id == "up"))

    assert found(everybodys=False) == [Leftover("floatingips", one, 60.0) for one in "ae"]
    assert [one.external_id for one in found(everybodys=True)] == ["a", "c", "d", "e"]
