"""The OpenStack driver on a real cloud: floating addresses, and what servers leave behind in the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from nodepool.driver.errors import QuotaExceeded
from tests.openstack_bench import DEADLINE, AdapterBench
from tests.real_openstack import RealCloud, bench, eventually, pool, provider

ENTRY = provider(pools=[pool({"name": "small"}, auto_floating_ip=True)])


@pytest.fixture
def prov(cloud: RealCloud) -> Iterator[AdapterBench]:
    del cloud
    with bench(ENTRY) as made:
        yield made


def test_a_floating_address_comes_and_goes_with_its_server(prov: AdapterBench, cloud: RealCloud) -> None:
    external_id = prov.create(az="az1")
    server = prov.active(external_id)
    assert server.public_ipv4 is None
    assert not prov.adapter.is_finished("main", server)
    finished = prov.adapter.finish_server("main", server, DEADLINE)
    (address,) = cloud.floating_addresses()
    assert (address.floating_ip_address, address.fixed_ip_address) == (finished.public_ipv4, server.private_ipv4)
    assert address.description == "nodepool_provider_name=prov nodepool_node_id=0000000001"
    assert finished.interface_ip == finished.public_ipv4
    assert finished.private_ipv4 == server.private_ipv4
    assert prov.adapter.is_finished("main", finished)
    prov.adapter.delete_server(external_id, DEADLINE)
    assert cloud.floating_addresses() == []
    prov.gone(external_id)
    eventually(lambda: cloud.remains() == [])


def test_nova_shows_a_floating_address_to_others(prov: AdapterBench, cloud: RealCloud) -> None:
    external_id = prov.create(az="az2")
    finished = prov.adapter.finish_server("main", prov.active(external_id), DEADLINE)
    with bench(ENTRY) as later:
        eventually(lambda: _public_address(later, external_id) == finished.public_ipv4)
        server = later.server(external_id)
        assert server is not None
        assert later.adapter.is_finished("main", server)
        assert (server.interface_ip, server.private_ipv4) == (finished.public_ipv4, finished.private_ipv4)
        later.adapter.delete_server(external_id, DEADLINE)
        assert cloud.floating_addresses() == []
        later.gone(external_id)


def _public_address(prov: AdapterBench, external_id: str) -> str | None:
    server = prov.server(external_id)
    return server.public_ipv4 if server else None


def test_asking_twice_gives_the_same_address(prov: AdapterBench, cloud: RealCloud) -> None:
    server = prov.active(prov.create(az="az1"))
    first = prov.adapter.finish_server("main", server, DEADLINE)
    assert prov.adapter.finish_server("main", server, DEADLINE).public_ipv4 == first.public_ipv4
    assert len(cloud.floating_addresses()) == 1


def test_no_floating_address_left(prov: AdapterBench, cloud: RealCloud) -> None:
    server = prov.active(prov.create(az="az1"))
    cloud.quota(floating_ips=0)
    with pytest.raises(QuotaExceeded):
        prov.adapter.finish_server("main", server, DEADLINE)


def _kinds(prov: AdapterBench) -> list[str]:
    return sorted(leftover.kind for leftover in prov.adapter.leftovers(DEADLINE))


def test_what_is_in_use_is_no_leftover(prov: AdapterBench) -> None:
    external_id = prov.create(az="az1")
    prov.adapter.finish_server("main", prov.active(external_id), DEADLINE)
    assert _kinds(prov) == []
    prov.adapter.delete_server(external_id, DEADLINE)
    prov.gone(external_id)
    assert _kinds(prov) == []


def test_a_leaked_port_and_address_are_found_and_removed(prov: AdapterBench, cloud: RealCloud) -> None:
    _leak_port(cloud)
    external_id = prov.create(az="az1")
    prov.adapter.finish_server("main", prov.active(external_id), DEADLINE)
    cloud.user.network.create_ip(floating_network_id=cloud.network_id("public"), description="somebody else's")
    cloud.user.compute.delete_server(external_id)
    prov.gone(external_id)
    eventually(lambda: _kinds(prov) == ["floatingips", "ports"])
    for leftover in prov.adapter.leftovers(DEADLINE):
        prov.adapter.remove_leftover(leftover, DEADLINE)
        prov.adapter.remove_leftover(leftover, DEADLINE)
    assert _kinds(prov) == []
    assert [address.description for address in cloud.floating_addresses()] == ["somebody else's"]


def test_all_unused_addresses_of_a_project_that_is_ours_alone(cloud: RealCloud) -> None:
    cloud.user.network.create_ip(floating_network_id=cloud.network_id("public"))
    with bench(ENTRY | {"clean-floating-ips": True}) as prov:
        (leftover,) = prov.adapter.leftovers(DEADLINE)
        assert leftover.kind == "floatingips"
        prov.adapter.remove_leftover(leftover, DEADLINE)
    assert cloud.floating_addresses() == []


def _leak_port(cloud: RealCloud) -> Any:
    """A port as a server that is gone leaves it."""
    return cloud.user.network.create_port(network_id=cloud.network_id("private"), device_owner="compute:az1")
