"""The OpenStack driver against a simulated cloud: a server's whole life, what it costs, lists, floating addresses.

The cloud speaks HTTP, and openstacksdk is the real one.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from nodepool.driver.adapter import NODE_TAG, ServerState
from nodepool.driver.errors import CloudError, NotFound, QuotaExceeded
from nodepool.driver.openstack.connection import CloudConnection
from nodepool.driver.openstack.driver import OpenStackDriver
from nodepool.model.resources import Resources
from tests.openstack_bench import DEADLINE, ENTRY, Bench, an_order, make
from tests.zookeeper import eventually
from tools.cloud.process import CloudProcess

LABEL = {"name": "small", "cloud-image": "base", "min-ram": 1024}
HUGE = {"name": "huge", "min-ram": 9999999}


# A server's life


def test_a_server_lives_and_dies_with_two_calls_beside_the_lists(bench: Bench) -> None:
    external_id = bench.create(az="az2")
    server = bench.active(external_id)
    assert (server.cloud, server.region, server.az) == ("simulated", None, "az2")
    assert server.public_ipv4 is not None
    assert server.public_ipv4.startswith("203.0.113.")
    assert server.interface_ip == server.public_ipv4
    assert server.host_id
    assert server.resources == Resources(instances=1, cores=1, ram=2048)
    assert server.tags == {**an_order("0000000001").tags, "groups": "prov,base,small"}
    assert bench.adapter.is_finished("main", server)
    bench.adapter.delete_server(external_id, DEADLINE)
    bench.gone(external_id)
    calls = bench.calls()
    del calls["compute.server.list"]
    assert calls == {"compute.server.create": 1, "compute.server.delete": 1}


def test_preparing_costs_few_calls(process: CloudProcess) -> None:
    bench = make(process)
    process.control.reset()
    bench.adapter.prepare(DEADLINE)
    assert sum(bench.calls().values()) <= 8
    assert bench.adapter.zones() == ("az1", "az2")
    assert bench.adapter.cost("main", "disk") == Resources(instances=1, cores=4, ram=8192)
    bench.adapter.stop()


def test_an_uploaded_image_and_a_volume(bench: Bench) -> None:
    images = {image["name"]: image["id"] for image in bench.control.resources()["images"]}
    external_id = bench.create("0000000001", label="disk", image_external_id=images["other"])
    volume_id = bench.create("0000000002", label="volume")
    assert bench.active(external_id).tags["groups"] == "prov,deb,disk"
    wanted = Resources({"instances": 1, "cores": 1, "ram": 512, "volumes": 1, "volume-gb": 7})
    assert bench.adapter.cost("main", "volume") == wanted
    assert bench.active(volume_id).resources == wanted
    bench.adapter.delete_server(volume_id, DEADLINE)
    bench.gone(volume_id)
    assert bench.control.resources()["volumes"] == []


def test_the_console_log(bench: Bench) -> None:
    external_id = bench.create()
    bench.active(external_id)
    assert bench.adapter.console_log(external_id, DEADLINE) == "np0000000001 login: "
    with pytest.raises(NotFound):
        bench.adapter.console_log("7f9b0b6c-0000-0000-0000-000000000000", DEADLINE)


def test_deleting_what_is_not_there(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.adapter.delete_server("7f9b0b6c-0000-0000-0000-000000000000", DEADLINE)


def test_limits(bench: Bench) -> None:
    bench.control.change(quota={"instances": 50, "cores": 100, "ram": -1, "volumes": 5, "gigabytes": 500})
    limits = {"instances": 50, "cores": 100, "volumes": 5, "volume-gb": 500}
    assert bench.adapter.limits(DEADLINE) == Resources.limit(limits)
    bench.control.change(quota={"instances": -1, "ports": 30})
    assert bench.adapter.limits(DEADLINE)["instances"] == 30


def test_the_provider_speaks_the_public_contract_too(process: CloudProcess) -> None:
    driver = OpenStackDriver()
    config = driver.getProviderConfig(ENTRY | {"pools": [{"name": "main", "labels": [LABEL, LABEL | HUGE]}]})
    config.load(SimpleNamespace(labels={}, diskimages={}, providers={}))
    provider = driver.getProvider(config)
    provider.adapter.prepare(DEADLINE)
    labels = config.pools["main"].labels
    assert [provider.labelReady(labels[name]) for name in ("small", "huge")] == [True, False]
    external_id = make(process).create()
    (node,) = provider.listNodes()
    assert (node.id, node.metadata[NODE_TAG]) == (external_id, "0000000001")
    provider.cleanupNode(external_id)
    eventually(lambda: provider.listNodes() == [])
    provider.adapter.stop()


# Lists


def test_most_lists_ask_for_changes_only(bench: Bench) -> None:
    ids = [bench.create(f"{number:010}") for number in range(5)]
    for external_id in ids:
        bench.active(external_id)
    bench.control.set_server(ids[0], "ERROR", "the hypervisor gave up")
    eventually(lambda: (server := bench.server(ids[0])) is not None and server.state is ServerState.ERROR)
    bench.control.set_server(ids[1], "DELETED")
    bench.gone(ids[1])
    assert {server.external_id for server in bench.adapter.list_servers(DEADLINE)} == {ids[0], *ids[2:]}


def test_many_servers_come_page_by_page(tmp_path: Path) -> None:
    with CloudProcess(tmp_path, {"region": {"page": 3, "boot": 0.0}}) as process:
        bench = make(process, pools=[ENTRY["pools"][1]])
        ids = {bench.create(f"{number:010}", pool="inside") for number in range(10)}
        assert {server.external_id for server in bench.adapter.list_servers(DEADLINE)} == ids
        other = make(process, pools=[ENTRY["pools"][1]])
        assert {server.external_id for server in other.adapter.list_servers(DEADLINE)} == ids
        bench.adapter.stop()
        other.adapter.stop()


def test_a_page_whose_last_server_has_gone_without_trace_still_leads_to_the_next(tmp_path: Path) -> None:
    """Nova forgets at once what is deleted before it has a host, and refuses it as a marker."""
    with CloudProcess(tmp_path, {"region": {"page": 3, "boot": 3600.0, "scheduling": 3600.0}}) as process:
        bench = make(process, pools=[ENTRY["pools"][1]])
        ids = [bench.create(f"{number:010}", pool="inside") for number in range(7)]
        cloud = CloudConnection("simulated")
        with cloud.within(DEADLINE):
            pages = cloud.pages("compute", "/servers/detail", "servers")
            first = [server["id"] for server in next(pages).body]
            bench.adapter.delete_server(first[-1], DEADLINE)
            rest = [server["id"] for page in pages for server in page.body]
        assert first + rest == list(reversed(ids))
        cloud.stop()
        bench.adapter.stop()


def test_a_server_whose_creation_is_not_listed_yet_is_known(tmp_path: Path) -> None:
    with CloudProcess(tmp_path, {"region": {"list_lag": 1.0, "boot": 0.0}}) as process:
        bench = make(process, pools=[ENTRY["pools"][1]])
        bench.adapter.list_servers(DEADLINE)
        external_id = bench.create(pool="inside")
        server = bench.server(external_id)
        assert server is not None
        assert server.state is ServerState.BUILDING
        assert server.tags[NODE_TAG] == "0000000001"
        assert bench.active(external_id).interface_ip is not None
        bench.adapter.stop()


# Floating addresses


def test_a_server_inside_gets_a_floating_address_and_leaves_none(bench: Bench) -> None:
    external_id = bench.create(pool="inside")
    server = bench.active(external_id)
    assert server.public_ipv4 is None
    assert not bench.adapter.is_finished("inside", server)
    finished = bench.adapter.finish_server("inside", server, DEADLINE)
    assert finished.public_ipv4 is not None
    assert finished.interface_ip == finished.public_ipv4
    assert finished.private_ipv4 == server.private_ipv4
    assert bench.adapter.is_finished("inside", finished)
    bench.adapter.delete_server(external_id, DEADLINE)
    bench.gone(external_id)
    assert bench.control.resources()["floating_ips"] == []
    calls = bench.calls()
    del calls["compute.server.list"]
    assert sum(calls.values()) == 5


def test_a_floating_address_that_an_earlier_process_gave_is_taken_back(bench: Bench) -> None:
    external_id = bench.create(pool="inside")
    bench.adapter.finish_server("inside", bench.active(external_id), DEADLINE)
    later = make(bench.process)
    assert later.active(external_id).public_ipv4 is not None
    later.adapter.delete_server(external_id, DEADLINE)
    assert bench.control.resources()["floating_ips"] == []
    later.adapter.stop()


def test_a_floating_address_that_another_server_has_by_now_is_left_to_it(bench: Bench) -> None:
    first = bench.create(pool="inside")
    given = bench.adapter.finish_server("inside", bench.active(first), DEADLINE)
    eventually(lambda: (server := bench.server(first)) is not None and server.public_ipv4 == given.public_ipv4)
    bench.control.add_faults(calls=[{"fault": "error-before", "calls": ["compute.server.delete"], "at_most": 1}])
    with pytest.raises(CloudError):
        bench.adapter.delete_server(first, DEADLINE)
    other = make(bench.process)
    other.adapter.prepare(DEADLINE)
    second = other.active(other.create("0000000002", pool="inside"))
    assert other.adapter.finish_server("inside", second, DEADLINE).public_ipv4 == given.public_ipv4
    # No list has told the first process that its server has lost the address.
    bench.adapter.delete_server(first, DEADLINE)
    assert [one["address"] for one in bench.control.resources()["floating_ips"]] == [given.public_ipv4]
    other.adapter.delete_server(second.external_id, DEADLINE)
    other.adapter.stop()


@pytest.mark.parametrize("fault", ["error-after", "cut-after"])
def test_a_floating_address_of_unknown_fate_is_found_again(bench: Bench, fault: str) -> None:
    server = bench.active(bench.create(pool="inside"))
    bench.control.add_faults(calls=[{"fault": fault, "calls": ["network.floatingip.create"], "at_most": 1}])
    assert bench.adapter.finish_server("inside", server, DEADLINE).public_ipv4 is not None
    assert len(bench.control.resources()["floating_ips"]) == 1


def test_no_floating_address_left(bench: Bench) -> None:
    server = bench.active(bench.create(pool="inside"))
    bench.control.change(quota={"floating_ips": 0})
    with pytest.raises(QuotaExceeded):
        bench.adapter.finish_server("inside", server, DEADLINE)
    bench.control.change(quota={"floating_ips": 100})


def test_the_quota_of_floating_addresses_limits_a_provider_whose_nodes_all_need_one(process: CloudProcess) -> None:
    made = make(process, pools=[ENTRY["pools"][1]])
    made.control.change(quota={"instances": 20, "floating_ips": 10})
    made.adapter.prepare(DEADLINE)
    assert made.adapter.limits(DEADLINE)["instances"] == 20, "no node has needed one yet"
    external_id = made.create(pool="inside")
    made.adapter.finish_server("inside", made.active(external_id), DEADLINE)
    assert made.adapter.limits(DEADLINE)["instances"] == 10
    made.adapter.delete_server(external_id, DEADLINE)
    made.control.change(quota={"instances": 1000, "floating_ips": 100})
    made.gone(external_id)
    made.adapter.stop()


def test_what_is_left_of_servers_is_found_and_removed(bench: Bench) -> None:
    bench.control.add_faults(servers=[{"fault": "leak-port"}])
    external_id = bench.create(pool="inside")
    bench.adapter.finish_server("inside", bench.active(external_id), DEADLINE)
    assert bench.adapter.leftovers(DEADLINE) == []
    bench.control.set_server(external_id, "DELETED")
    bench.gone(external_id)
    # That one service fails does not keep the others from being searched.
    bench.control.add_faults(calls=[{"fault": "error-before", "calls": ["image.*"]}])
    eventually(lambda: bench.adapter.leftovers(DEADLINE))
    found = bench.adapter.leftovers(DEADLINE)
    assert [leftover.kind for leftover in found] == ["ports", "floatingips"]
    for leftover in (*found, *found):
        bench.adapter.remove_leftover(leftover, DEADLINE)
    with pytest.raises(CloudError):
        bench.adapter.leftovers(DEADLINE)
    bench.control.clear_faults()
    left = bench.control.resources()
    assert (left["ports"], left["floating_ips"], bench.adapter.leftovers(DEADLINE)) == ([], [], [])
