"""What this host can bear: addresses and ports of machines, and what they may use."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Network

import pytest

from nodepool.driver.errors import CloudError, NoCapacity
from nodepool.driver.local import host
from tests.sshd import free_port

NETWORK = IPv4Network("127.83.0.0/24")
TINY = IPv4Network("127.83.1.0/30")


def test_each_machine_has_an_address_of_its_own() -> None:
    port = free_port("127.83.0.1")
    taken: set[host.Endpoint] = set()
    for number in (1, 1, 7, 2):
        taken.add(host.choose_endpoint(NETWORK, port, taken, number))
    assert taken == {(f"127.83.0.{last}", port) for last in (1, 2, 7, 3)}


def test_numbers_beyond_the_network_begin_anew() -> None:
    port = free_port("127.83.1.1")
    assert host.choose_endpoint(TINY, port, set(), 3) == ("127.83.1.1", port)
    assert host.choose_endpoint(TINY, port, set(), 4) == ("127.83.1.2", port)


def test_an_address_on_which_somebody_listens_is_left_alone() -> None:
    with socket.create_server(("127.83.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        assert host.choose_endpoint(NETWORK, port, set(), 1) == ("127.83.0.2", port)


def test_without_a_port_the_usual_one_is_tried_first_and_another_one_next() -> None:
    address, port = host.choose_endpoint(NETWORK, None, set(), 9)
    assert (address, port) in {("127.83.0.9", host.SSH_PORT), ("127.83.0.9", host.UNPRIVILEGED_PORT)}


def test_machines_on_one_address_have_ports_of_their_own() -> None:
    one = IPv4Network("127.83.2.1/32")
    first = free_port("127.83.2.1")
    taken = {("127.83.2.1", first)}
    address, port = host.choose_endpoint(one, first, taken, 1)
    assert address == "127.83.2.1"
    assert first < port < first + host.PORTS


def test_a_network_that_is_full_says_so() -> None:
    taken = {("127.83.1.1", 2222), ("127.83.1.2", 2222)}
    with pytest.raises(NoCapacity, match=r"all addresses of the network 127\.83\.1\.0/30 are in use"):
        host.choose_endpoint(TINY, 2222, taken, 1)


def test_a_port_that_is_taken_everywhere_says_what_to_do() -> None:
    with socket.create_server(("0.0.0.0", 0)) as somebody:
        port = somebody.getsockname()[1]
        with pytest.raises(CloudError, match=f"port {port}: somebody else listens there; set 'port'"):
            host.choose_endpoint(TINY, port, set(), 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may listen anywhere")
def test_a_port_that_only_root_may_have_says_so() -> None:
    with pytest.raises(CloudError, match="only root may listen there"):
        host.choose_endpoint(TINY, 1, set(), 1)


def test_limits_are_those_of_the_host_unless_somebody_sets_them() -> None:
    found = host.limits(None, None)
    assert found["cores"] == (os.cpu_count() or 1) * host.CORE_SHARE
    assert found["ram"] > 64
    assert (host.limits(3, 1000)["cores"], host.limits(3, 1000)["ram"]) == (3, 1000)


def test_memory_that_nobody_has_is_refused() -> None:
    assert host.has_memory(1)
    assert not host.has_memory(1 << 30)
