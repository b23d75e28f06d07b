"""Addresses of servers, compared with what openstacksdk itself would choose."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openstack.cloud import meta

from nodepool.driver.openstack.addresses import Addresses, choose_addresses, floating_addresses
from nodepool.driver.openstack.networks import NetworkRules, Networks, networks_with_gateway, sort_networks

NETWORKS = [
    {"id": "n-priv", "name": "private", "router:external": False},
    {"id": "n-pub", "name": "public", "router:external": True},
    {"id": "n-inside", "name": "inside", "router:external": False},
    {"id": "n-flat", "name": "flat", "router:external": False, "provider:physical_network": "physnet1"},
]
KEYS = ["private", "public", "inside", "flat", "elsewhere"]


def entry(address: str, kind: str = "fixed", mac: str = "aa") -> dict[str, Any]:
    return {
        "addr": address,
        "version": 6 if ":" in address else 4,
        "OS-EXT-IPS:type": kind,
        "OS-EXT-IPS-MAC:mac_addr": mac,
    }


def choose(addresses: dict[str, list[dict[str, Any]]], rules: NetworkRules | None = None, **server: str) -> Addresses:
    rules = rules or NetworkRules()
    return choose_addresses({"addresses": addresses, **server}, sort_networks(NETWORKS, rules), rules)


def test_a_server_without_addresses_has_none() -> None:
    assert choose({}) == Addresses()


def test_a_private_address_alone_is_where_the_server_is_reached() -> None:
    assert choose({"private": [entry("10.0.0.4")]}) == Addresses(interface_ip="10.0.0.4", private_ipv4="10.0.0.4")


def test_a_floating_address_is_the_public_one() -> None:
    found = choose({"private": [entry("10.0.0.4"), entry("198.51.100.7", "floating")]})
    assert found == Addresses("198.51.100.7", "198.51.100.7", private_ipv4="10.0.0.4")


def test_a_public_network_gives_the_public_address() -> None:
    found = choose({"public": [entry("203.0.113.5")]})
    assert found == Addresses("203.0.113.5", "203.0.113.5", private_ipv4="203.0.113.5")


def test_any_global_address_is_public_if_nothing_else_is() -> None:
    assert choose({"inside": [entry("93.184.216.34")]}).public_ipv4 == "93.184.216.34"


def test_ipv6_is_chosen_where_this_host_has_it() -> None:
    both = {"public": [entry("203.0.113.5"), entry("2001:db8::5")]}
    assert choose(both).interface_ip == "203.0.113.5"
    assert choose(both, NetworkRules(prefer_ipv6=True)).interface_ip == "2001:db8::5"
    assert choose(both, NetworkRules(force_ipv4=True)).public_ipv6 is None


def test_a_server_with_ipv6_only_is_reached_by_it() -> None:
    assert choose({"public": [entry("2606:4700::5")]}).interface_ip == "2606:4700::5"


def test_a_private_ipv6_address_is_known_as_such() -> None:
    found = choose({"private": [entry("fd00::5"), entry("2606:4700::5")]})
    assert found.private_ipv6 == "fd00::5"


def test_the_network_that_clouds_yaml_names_wins() -> None:
    rules = NetworkRules(default="inside")
    assert choose({"public": [entry("203.0.113.5")], "inside": [entry("10.1.0.4")]}, rules).interface_ip == "10.1.0.4"


def test_the_floating_addresses_are_known() -> None:
    addresses = {"private": [entry("10.0.0.4"), entry("198.51.100.7", "floating")]}
    assert floating_addresses({"addresses": addresses}) == ("198.51.100.7",)
    assert floating_addresses({}) == ()


def test_networks_are_sorted_by_what_they_are_good_for() -> None:
    networks = sort_networks(NETWORKS, NetworkRules())
    assert networks.external_ipv4 == ("public", "flat")
    assert networks.internal_ipv4 == ("private", "inside")
    assert (networks.nat_source, networks.nat_destination, networks.default) == ("n-pub", None, None)
    assert networks.ids["private"] == networks.ids["n-priv"] == "n-priv"


def test_clouds_yaml_overrules_what_the_cloud_says_of_networks() -> None:
    rules = NetworkRules(
        external_ipv4=frozenset({"inside"}),
        internal_ipv4=frozenset({"n-flat"}),
        nat_source="flat",
        nat_destination="private",
        default="n-inside",
    )
    networks = sort_networks(NETWORKS, rules)
    assert networks.external_ipv4 == ("public", "inside")
    assert networks.internal_ipv4 == ("private", "flat")
    assert (networks.nat_source, networks.nat_destination) == ("n-flat", "n-priv")
    assert (networks.default, networks.default_id) == ("inside", "n-inside")


def test_a_name_of_several_networks_stands_for_none() -> None:
    networks = sort_networks([*NETWORKS, {"id": "n-2", "name": "private"}], NetworkRules())
    assert networks.ambiguous == {"private"}
    assert "private" not in networks.ids
    assert networks.ids["n-2"] == "n-2"


def test_networks_with_a_gateway_can_be_reached_by_floating_addresses() -> None:
    subnets: list[dict[str, Any]] = [
        {"network_id": "a", "gateway_ip": "10.0.0.1"},
        {"network_id": "b", "gateway_ip": None},
    ]
    assert networks_with_gateway(subnets) == {"a"}


class SdkCloud:
    """As much of a connection as the SDK's own choice of addresses needs."""

    def __init__(self, networks: Networks, rules: NetworkRules) -> None:
        self.private, self.force_ipv4, self._local_ipv6 = rules.private, rules.force_ipv4, rules.prefer_ipv6
        self._networks, self._rules = networks, rules

    def use_external_network(self) -> bool:
        return self._rules.use_external

    def use_internal_network(self) -> bool:
        return self._rules.use_internal

    def get_external_ipv4_networks(self) -> list[dict[str, str]]:
        return [{"name": name} for name in self._networks.external_ipv4]

    def get_internal_ipv4_networks(self) -> list[dict[str, str]]:
        return [{"name": name} for name in self._networks.internal_ipv4]

    def get_default_network(self) -> dict[str, str] | None:
        return {"name": self._networks.default} if self._networks.default else None


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, Any], Networks, NetworkRules]:
    """A server that has at most one address of each kind in a network: with more, the SDK tries to connect."""
    names: list[str] = draw(st.lists(st.sampled_from(KEYS), unique=True))
    addresses: dict[str, list[dict[str, Any]]] = {}
    for number, name in enumerate(names):
        first = draw(st.sampled_from(["10.0.0.", "93.184.216."]))
        addresses[name] = [entry(f"{first}{number}", draw(st.sampled_from(["fixed", "floating"])), mac=f"m{number}")]
    kinds = [one["OS-EXT-IPS:type"] for entries in addresses.values() for one in entries]
    if kinds.count("floating") > 1:
        for entries in addresses.values():
            entries[0]["OS-EXT-IPS:type"] = "fixed"
    has_ipv6: bool = draw(st.booleans())
    if names and has_ipv6:
        addresses[names[0]].append(entry("2606:4700::1", mac="m0"))
    force: bool = draw(st.booleans())
    rules = NetworkRules(
        external_ipv4=frozenset(draw(st.sets(st.sampled_from(["inside", "n-priv"])))),
        internal_ipv4=frozenset(draw(st.sets(st.sampled_from(["public", "n-flat"])))),
        default=draw(st.sampled_from([None, "inside", "n-pub"])),
        use_external=draw(st.booleans()),
        use_internal=draw(st.booleans()),
        private=draw(st.booleans()),
        prefer_ipv6=not force and draw(st.booleans()),
        force_ipv4=force,
    )
    access = draw(st.sampled_from(["", "198.51.100.1"]))
    server = {"addresses": addresses, "accessIPv4": access, "accessIPv6": ""}
    return server, sort_networks(NETWORKS, rules), rules


@given(worlds())
def test_the_choice_is_that_of_openstacksdk(world: tuple[dict[str, Any], Networks, NetworkRules]) -> None:
    server, networks, rules = world
    ours = choose_addresses(server, networks, rules)
    cloud: Any = SdkCloud(networks, rules)
    theirs: Any = dict(server)
    theirs["public_v4"] = meta.get_server_external_ipv4(cloud, theirs) or ""
    theirs["public_v6"] = "" if rules.force_ipv4 else meta.get_server_external_ipv6(theirs) or ""
    theirs["private_v4"] = meta.get_server_private_ip(theirs, cloud) or ""
    assert ours.public_ipv4 == (theirs["public_v4"] or None)
    assert ours.public_ipv6 == (theirs["public_v6"] or None)
    assert ours.private_ipv4 == (theirs["private_v4"] or theirs["public_v4"] or None)
    interface_ip = meta._get_interface_ip(cloud, theirs)
    if interface_ip:
        assert ours.interface_ip == interface_ip
