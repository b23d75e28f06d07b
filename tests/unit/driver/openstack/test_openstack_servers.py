"""Servers as the Compute API reference shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nodepool.driver.adapter import NODE_TAG, POOL_TAG, PROVIDER_TAG, ServerState
from nodepool.driver.errors import CloudError, NoCapacity, QuotaExceeded
from nodepool.driver.openstack.networks import NetworkRules, Networks
from nodepool.driver.openstack.servers import ServerReader, state_of
from nodepool.model.resources import Resources

ACTIVE: dict[str, Any] = json.loads("""
{
  "accessIPv4": "", "accessIPv6": "",
  "OS-DCF:diskConfig": "AUTO",
  "OS-EXT-AZ:availability_zone": "us-west",
  "OS-EXT-STS:power_state": 1, "OS-EXT-STS:task_state": null, "OS-EXT-STS:vm_state": "active",
  "addresses": {"private": [
    {"OS-EXT-IPS-MAC:mac_addr": "00:0c:29:0d:11:74", "OS-EXT-IPS:type": "fixed", "addr": "192.168.1.30", "version": 4}
  ]},
  "created": "2019-04-23T15:19:14Z", "updated": "2019-04-23T15:19:15Z",
  "flavor": {"disk": 1, "ephemeral": 0, "extra_specs": {}, "original_name": "m1.small", "ram": 2048, "swap": 0,
             "vcpus": 1},
  "hostId": "2091634baaccdc4c5a1d57069c833e402921df696b7f970791b12ec6",
  "id": "569f39f9-7c76-42a1-9c2d-8394e2638a6d",
  "image": {"id": "70a599e0-31e7-49b7-b260-868f441e862b", "links": []},
  "key_name": null, "locked": false,
  "metadata": {"groups": "prov,deb12,small", "nodepool_node_id": "0000000012", "nodepool_pool_name": "main",
               "nodepool_provider_name": "prov"},
  "name": "np0000000012", "os-extended-volumes:volumes_attached": [], "progress": 0,
  "security_groups": [{"name": "default"}], "status": "ACTIVE",
  "tenant_id": "6f70656e737461636b20342065766572", "user_id": "admin"
}
""")
READER = ServerReader("my-cloud", "west", Networks(internal_ipv4=("private",)), NetworkRules())


def test_an_active_server() -> None:
    server = READER.read(ACTIVE)
    assert (server.external_id, server.state) == ("569f39f9-7c76-42a1-9c2d-8394e2638a6d", ServerState.ACTIVE)
    assert (server.fault, server.fault_text) == (None, "")
    assert (server.cloud, server.region, server.az) == ("my-cloud", "west", "us-west")
    assert server.host_id == "2091634baaccdc4c5a1d57069c833e402921df696b7f970791b12ec6"
    assert server.tags[NODE_TAG] == "0000000012"
    assert server.tags[PROVIDER_TAG] == "prov"
    assert (server.interface_ip, server.private_ipv4, server.public_ipv4) == ("192.168.1.30", "192.168.1.30", None)
    assert server.resources == Resources(instances=1, cores=1, ram=2048)
    assert server.record == {}


def test_an_active_server_without_an_address_is_not_up_yet() -> None:
    server = READER.read(ACTIVE | {"addresses": {}})
    assert (server.state, server.interface_ip) == (ServerState.BUILDING, None)


@pytest.mark.parametrize(
    ("status", "task", "state"),
    [
        ("BUILD", "spawning", ServerState.BUILDING),
        ("BUILD", "deleting", ServerState.DELETING),
        ("ACTIVE", None, ServerState.ACTIVE),
        ("ACTIVE", "deleting", ServerState.DELETING),
        ("ERROR", None, ServerState.ERROR),
        ("ERROR", "deleting", ServerState.DELETING),
        ("SHUTOFF", None, ServerState.BUILDING),
        ("REBUILD", None, ServerState.BUILDING),
        ("UNKNOWN", None, ServerState.BUILDING),
    ],
)
def test_the_state_of_a_server(status: str, task: str | None, state: ServerState) -> None:
    assert state_of({"status": status, "OS-EXT-STS:task_state": task}) is state


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        ({"code": 500, "message": "No valid host was found. "}, NoCapacity, "No valid host was found."),
        ({"code": 500, "message": "Quota exceeded"}, QuotaExceeded, "Quota exceeded"),
        ({"code": 500, "message": "Build aborted"}, CloudError, "Build aborted"),
        (None, CloudError, "the cloud gives no reason"),
    ],
)
def test_a_server_that_failed_says_why(fault: dict[str, Any] | None, kind: type[Exception], text: str) -> None:
    server = READER.read(ACTIVE | {"status": "ERROR"} | ({"fault": fault} if fault else {}))
    assert (server.state, server.fault, server.fault_text) == (ServerState.ERROR, kind, text)


def test_a_server_of_a_cell_that_does_not_answer_is_still_there() -> None:
    entry = {
        "created": "2018-12-03T21:06:18Z",
        "id": "b6b0410f-b65f-4473-855e-5d82a71759e0",
        "status": "UNKNOWN",
        "tenant_id": "6f70656e737461636b20342065766572",
        "links": [],
    }
    server = READER.read(entry)
    assert (server.external_id, server.state) == ("b6b0410f-b65f-4473-855e-5d82a71759e0", ServerState.BUILDING)
    assert server.tags == {}
    assert server.interface_ip is None
    assert server.resources == Resources(instances=1)


def test_before_nova_2_47_the_flavor_says_the_size() -> None:
    sizes = {"f1": Resources(instances=1, cores=2, ram=4096)}
    reader = ServerReader("c", None, Networks(), NetworkRules(), flavor=sizes.get)
    assert reader.read(ACTIVE | {"flavor": {"id": "f1", "links": []}}).resources == sizes["f1"]
    assert reader.read(ACTIVE | {"flavor": {"id": "f2", "links": []}}).resources == Resources(instances=1)


def test_volumes_count_with_the_size_that_is_known_or_that_the_label_asks_for() -> None:
    sizes = {("main", "small"): 80}
    reader = ServerReader(
        "c", None, Networks(), NetworkRules(), volume_size=lambda *key: sizes.get(key), volume_sizes={"v1": 100}
    )
    attached = {"os-extended-volumes:volumes_attached": [{"id": "v1"}, {"id": "v2"}]}
    wanted = Resources({"instances": 1, "cores": 1, "ram": 2048, "volumes": 2, "volume-gb": 180})
    assert reader.read(ACTIVE | attached).resources == wanted
    foreign = ACTIVE | attached | {"metadata": {}}
    assert reader.read(foreign).resources == Resources(
        {"instances": 1, "cores": 1, "ram": 2048, "volumes": 2, "volume-gb": 100}
    )


@pytest.mark.parametrize("missing", ["hostId", "OS-EXT-AZ:availability_zone"])
def test_what_is_not_known_yet_is_none(missing: str) -> None:
    server = READER.read(ACTIVE | {missing: ""})
    assert None in (server.host_id, server.az)
    assert POOL_TAG in server.tags
