"""What the driver assumes of Nova's lists of changes, checked on a real Nova; and Keystone stopped for a while."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from nodepool.driver.adapter import Server, ServerState
from nodepool.driver.errors import CloudError
from tests.openstack_bench import DEADLINE, AdapterBench
from tests.real_openstack import RealCloud, Service, bench, eventually, pool, provider


@pytest.fixture
def prov(cloud: RealCloud) -> Iterator[AdapterBench]:
    del cloud
    labels = ({"name": "small"}, {"name": "aborts", "instance-properties": {"fake-fault": "abort"}})
    with bench(provider(pools=[pool(*labels)])) as made:
        made.adapter.list_servers(DEADLINE)
        yield made


def states(prov: AdapterBench) -> dict[str, ServerState]:
    return {server.external_id: server.state for server in prov.adapter.list_servers(DEADLINE)}


def test_lists_of_changes_and_full_lists_agree_whatever_happens(prov: AdapterBench, cloud: RealCloud) -> None:
    """Nine servers are made, fail, and are deleted by us and by others, all at once; then the two must agree."""
    zones, labels = ("az1", "az2"), ("small", "small", "aborts")
    with ThreadPoolExecutor(4) as threads:
        ids = list(threads.map(lambda n: prov.create(f"{n:010}", az=zones[n % 2], label=labels[n % 3]), range(9)))
        eventually(lambda: ServerState.BUILDING not in states(prov).values())
        wanted = [ServerState.ERROR if number % 3 == 2 else ServerState.ACTIVE for number in range(9)]
        assert [states(prov)[external_id] for external_id in ids] == wanted
        list(threads.map(lambda external_id: prov.adapter.delete_server(external_id, DEADLINE), ids[:3]))
        list(threads.map(lambda external_id: cloud.user.compute.delete_server(external_id), ids[3:6]))
        eventually(lambda: states(prov).keys() == set(ids[6:]))
    with bench(provider()) as fresh:
        assert _known(fresh) == _known(prov)


def _known(prov: AdapterBench) -> dict[str, Server]:
    return {server.external_id: server for server in prov.adapter.list_servers(DEADLINE)}


def test_what_is_made_and_deleted_at_once_is_not_listed_for_long(prov: AdapterBench) -> None:
    """Nova forgets a server that no host was given: no list of changes ever says that it is deleted."""
    ids = []
    for number in range(4):
        ids.append(prov.create(f"{number:010}", az="az1"))
        prov.adapter.delete_server(ids[-1], DEADLINE)
    eventually(lambda: states(prov) == {})


def test_a_server_in_a_state_of_its_own(prov: AdapterBench, cloud: RealCloud) -> None:
    external_id = prov.create(az="az1")
    prov.active(external_id)
    cloud.user.compute.stop_server(external_id)
    eventually(lambda: cloud.servers()[external_id].status == "SHUTOFF")
    prov.reaches(external_id, ServerState.BUILDING)
    cloud.user.compute.start_server(external_id)
    prov.active(external_id)
    cloud.admin.compute.reset_server_state(external_id, "error")
    prov.reaches(external_id, ServerState.ERROR)
    prov.adapter.delete_server(external_id, DEADLINE)
    prov.gone(external_id)


def test_while_keystone_is_away_nothing_hangs_and_afterwards_all_goes_on(prov: AdapterBench) -> None:
    external_id = prov.create(az="az1")
    prov.active(external_id)
    with bench(provider(), prepare=False) as other:
        with Service("keystone").frozen(), pytest.raises(CloudError):
            other.adapter.prepare(2.0)
        other.adapter.prepare(DEADLINE)
        assert other.active(external_id).tags == prov.active(external_id).tags
    prov.adapter.delete_server(external_id, DEADLINE)
    prov.gone(external_id)


def test_a_restarted_keystone_is_not_noticed(prov: AdapterBench) -> None:
    # Active before: Nova itself loses a build whose services find no Keystone.
    external_id = prov.create(az="az1")
    prov.active(external_id)
    Service("keystone").restart()
    prov.active(external_id)
    prov.adapter.delete_server(external_id, DEADLINE)
    prov.gone(external_id)
