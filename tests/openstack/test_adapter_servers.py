"""The OpenStack driver on a real cloud: a server's life, lists of changes, zones, refusals, failures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG, ServerState
from nodepool.driver.errors import CloudError, NoCapacity, NotFound, QuotaExceeded
from nodepool.driver.openstack.errors import Conflict
from nodepool.model.resources import Resources
from tests.openstack_bench import DEADLINE, AdapterBench, an_order
from tests.real_openstack import FAULT, RealCloud, bench, eventually, pool, provider

NOBODY = "7f9b0b6c-0000-0000-0000-000000000000"
TINY = Resources(instances=1, cores=1, ram=256)


def properties(name: str, **values: str) -> dict[str, object]:
    """A label whose servers behave as these metadata say."""
    return {"name": name, "instance-properties": {key.replace("_", "-"): value for key, value in values.items()}}


LABELS = (
    {"name": "small"},
    {"name": "by-ram", "flavor-name": "m1", "min-ram": 300},
    properties("slow", fake_delay="6"),
    properties("lingers", fake_delete_delay="6"),
    properties("talks", fake_console="kernel panic: no such luck"),
    properties("aborts", **FAULT["abort"]),
    properties("wanders", **FAULT["reschedule"]),
)


@pytest.fixture
def prov(cloud: RealCloud) -> Iterator[AdapterBench]:
    del cloud
    with bench(provider(pools=[pool(*LABELS)])) as made:
        yield made


@pytest.mark.parametrize("zone", ["az1", "az2"])
def test_a_server_lives_and_dies(prov: AdapterBench, cloud: RealCloud, zone: str) -> None:
    external_id = prov.create(az=zone)
    first = prov.server(external_id)
    assert first is not None, "what we made is known at once"
    assert (first.state, first.tags[NODE_TAG], first.az) == (ServerState.BUILDING, "0000000001", zone)
    server = prov.active(external_id)
    assert server.tags == {**an_order("0000000001").tags, "groups": "prov,base,small"}
    assert (server.cloud, server.region, server.az, server.resources) == ("nodepool", None, zone, TINY)
    assert server.host_id
    assert server.private_ipv4 is not None
    assert server.private_ipv4.startswith("10.20.")
    assert (server.public_ipv4, server.interface_ip) == (None, server.private_ipv4)
    (seen,) = cloud.servers().values()
    assert (seen.name, seen.status, seen.metadata) == ("np0000000001", "ACTIVE", dict(server.tags))
    prov.adapter.delete_server(external_id, DEADLINE)
    prov.gone(external_id)
    eventually(lambda: cloud.remains() == [])


def test_what_the_cloud_offers(prov: AdapterBench) -> None:
    assert prov.adapter.cost("main", "small") == TINY
    assert prov.adapter.cost("main", "by-ram") == Resources(instances=1, cores=1, ram=1024)
    assert {"az1", "az2"} <= set(prov.adapter.zones())
    assert prov.active(prov.create(label="by-ram", az="az1")).resources == prov.adapter.cost("main", "by-ram")


def test_a_second_adapter_knows_a_server_by_its_tags(prov: AdapterBench) -> None:
    external_id = prov.create(az="az1")
    with bench(provider(pools=[pool({"name": "small"})])) as other:
        server = other.active(external_id)
        assert (server.tags[NODE_TAG], server.tags[PROVIDER_TAG]) == ("0000000001", "prov")
        other.adapter.delete_server(external_id, DEADLINE)
        other.gone(external_id)
    prov.gone(external_id)


def test_a_slow_build_is_building_until_it_is_active(prov: AdapterBench, cloud: RealCloud) -> None:
    external_id = prov.create(label="slow", az="az1")
    eventually(lambda: cloud.servers()[external_id].task_state == "spawning")
    server = prov.server(external_id)
    assert server is not None
    assert (server.state, server.interface_ip) == (ServerState.BUILDING, None)
    assert prov.active(external_id).interface_ip is not None


def test_a_server_may_be_deleted_while_it_is_built(prov: AdapterBench, cloud: RealCloud) -> None:
    external_id = prov.create(label="slow", az="az1")
    prov.adapter.delete_server(external_id, DEADLINE)
    prov.gone(external_id)
    eventually(lambda: cloud.remains() == [])


def test_a_slow_deletion_is_seen_and_may_be_ordered_again(prov: AdapterBench, cloud: RealCloud) -> None:
    external_id = prov.create(label="lingers", az="az1")
    prov.active(external_id)
    prov.adapter.delete_server(external_id, DEADLINE)
    prov.reaches(external_id, ServerState.DELETING)
    prov.adapter.delete_server(external_id, DEADLINE)
    assert external_id in cloud.servers()
    prov.gone(external_id)


def test_the_console_log(prov: AdapterBench) -> None:
    external_id = prov.create(label="talks", az="az1")
    prov.active(external_id)
    assert prov.adapter.console_log(external_id, DEADLINE) == "kernel panic: no such luck"
    with pytest.raises(NotFound):
        prov.adapter.console_log(NOBODY, DEADLINE)
    with pytest.raises(NotFound):
        prov.adapter.delete_server(NOBODY, DEADLINE)


def test_the_console_log_of_a_server_that_was_never_built(prov: AdapterBench) -> None:
    external_id = prov.create(label="aborts", az="az1")
    prov.reaches(external_id, ServerState.ERROR)
    with pytest.raises(Conflict, match="not ready"):
        prov.adapter.console_log(external_id, DEADLINE)


def test_a_build_that_fails_is_an_error_of_the_cloud(prov: AdapterBench, cloud: RealCloud) -> None:
    external_id = prov.create(label="aborts", az="az1")
    server = prov.reaches(external_id, ServerState.ERROR)
    assert server.fault is CloudError
    assert "fake-fault" in server.fault_text
    prov.adapter.delete_server(external_id, DEADLINE)
    prov.gone(external_id)
    eventually(lambda: cloud.remains() == [])


def test_a_build_for_which_no_host_is_left_is_a_lack_of_capacity(prov: AdapterBench) -> None:
    external_id = prov.create(label="wanders", az="az2")
    server = prov.reaches(external_id, ServerState.ERROR)
    assert server.fault is NoCapacity, server.fault_text
    prov.adapter.delete_server(external_id, DEADLINE)
    prov.gone(external_id)


def test_a_full_quota(prov: AdapterBench, cloud: RealCloud) -> None:
    cloud.quota(instances=1)
    assert prov.adapter.limits(DEADLINE)["instances"] == 1
    external_id = prov.create(az="az1")
    prov.active(external_id)
    with pytest.raises(QuotaExceeded, match="instances"):
        prov.create("0000000002", az="az1")
    prov.adapter.delete_server(external_id, DEADLINE)
    prov.gone(external_id)
    prov.active(prov.create("0000000003", az="az1"))


def test_a_full_quota_of_ports(prov: AdapterBench, cloud: RealCloud) -> None:
    used = len(list(cloud.user.network.ports()))
    cloud.quota(ports=used)
    assert prov.adapter.limits(DEADLINE)["instances"] == used
    with pytest.raises(QuotaExceeded, match=r"[Pp]orts"):
        prov.create(az="az1")


def test_limits(prov: AdapterBench, cloud: RealCloud) -> None:
    assert prov.adapter.limits(DEADLINE) == Resources.limit({"instances": 200, "cores": 400, "ram": 1 << 20})
    cloud.quota(cores=7, instances=-1)
    limits = prov.adapter.limits(DEADLINE)
    assert (limits["cores"], limits["instances"]) == (7, 2000)
