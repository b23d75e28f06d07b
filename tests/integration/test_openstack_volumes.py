"""Volumes that servers boot from, on a simulated cloud that loses some of them: each is found, whoever looks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nodepool.driver.adapter import ATTEMPT_TAG, NODE_TAG, POOL_TAG, PROVIDER_TAG, Leftover, ServerState
from nodepool.driver.errors import CloudError, NotFound
from nodepool.driver.openstack import volumes
from nodepool.driver.openstack.volumes import SIGHTING_AGE, VOLUMES
from tests.openstack_bench import DEADLINE, ENTRY, Bench, make
from tests.zookeeper import eventually
from tools.cloud.process import CloudProcess

LOSES = {"fault": "leak-volume"}


@pytest.fixture
def other(process: CloudProcess) -> Iterator[Bench]:
    """The same provider in a process that has seen nothing of what the first one did."""
    made = make(process)
    made.adapter.prepare(DEADLINE)
    yield made
    made.adapter.stop()


def lose_volume(bench: Bench, node_id: str = "0000000001") -> str:
    """Make a server that boots from a volume, and delete it; returns the volume, which stays."""
    bench.control.add_faults(servers=[LOSES])
    external_id = bench.create(node_id, label="volume")
    bench.active(external_id)
    bench.adapter.delete_server(external_id, DEADLINE)
    eventually(lambda: not bench.control.resources()["servers"])
    (volume,) = bench.control.resources()["volumes"]
    return str(volume["id"])


def test_a_lost_volume_is_found_by_a_process_that_never_saw_its_server(bench: Bench, other: Bench) -> None:
    volume_id = lose_volume(bench)
    wanted = Leftover(VOLUMES, volume_id, SIGHTING_AGE)
    assert other.adapter.leftovers(DEADLINE) == [wanted]
    (volume,) = bench.control.resources()["volumes"]
    tags = {PROVIDER_TAG: "prov", POOL_TAG: "main", NODE_TAG: "0000000001", ATTEMPT_TAG: "1"}
    assert volume["metadata"] == tags
    other.adapter.remove_leftover(wanted, DEADLINE)
    other.adapter.remove_leftover(wanted, DEADLINE)
    assert bench.control.resources()["volumes"] == []
    assert other.adapter.leftovers(DEADLINE) == []


def test_a_server_that_no_list_has_shown_has_its_volume_marked_too(bench: Bench, other: Bench) -> None:
    bench.control.add_faults(servers=[LOSES])
    external_id = bench.create(label="volume")
    other.adapter.delete_server(external_id, DEADLINE)
    eventually(lambda: not bench.control.resources()["servers"])
    (volume,) = bench.control.resources()["volumes"]
    assert volume["metadata"][NODE_TAG] == "0000000001"
    with pytest.raises(NotFound):
        other.adapter.delete_server(external_id, DEADLINE)


def test_a_server_without_volumes_costs_no_call_more(bench: Bench) -> None:
    external_id = bench.create()
    bench.active(external_id)
    bench.control.reset()
    bench.adapter.delete_server(external_id, DEADLINE)
    assert bench.calls() == {"compute.server.delete": 1}


def test_volumes_of_others_are_left_alone_and_so_is_one_in_use(bench: Bench, process: CloudProcess) -> None:
    volume_id = lose_volume(bench)
    stranger = make(process, name="stranger")
    stranger.adapter.prepare(DEADLINE)
    assert stranger.adapter.leftovers(DEADLINE) == []
    stranger.adapter.stop()
    bench.control.clear_faults()
    bench.active(bench.create("0000000002", label="volume"))
    assert [leftover.external_id for leftover in bench.adapter.leftovers(DEADLINE)] == [volume_id]


def test_a_server_does_not_go_before_its_volume_is_marked(bench: Bench) -> None:
    bench.control.add_faults(calls=[{"fault": "error-before", "calls": ["volume.metadata.create"], "at_most": 2}])
    external_id = bench.create(label="volume")
    bench.active(external_id)
    for _ in range(2):
        with pytest.raises(CloudError, match="cannot be marked"):
            bench.adapter.delete_server(external_id, DEADLINE)
    server = bench.server(external_id)
    assert server is not None
    assert server.state is ServerState.ACTIVE
    bench.adapter.delete_server(external_id, DEADLINE)
    bench.gone(external_id)


def test_a_volume_is_marked_once_however_often_its_server_is_asked_to_go(bench: Bench) -> None:
    bench.control.add_faults(calls=[{"fault": "error-before", "calls": ["compute.server.delete"], "at_most": 2}])
    external_id = bench.create(label="volume")
    bench.active(external_id)
    bench.control.reset()
    for _ in range(2):
        with pytest.raises(CloudError):
            bench.adapter.delete_server(external_id, DEADLINE)
    bench.adapter.delete_server(external_id, DEADLINE)
    assert bench.calls() == {"volume.metadata.create": 1, "compute.server.delete": 3}


def test_a_server_goes_in_the_end_though_cinder_does_not_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "PATIENCE", 0.0)
    bench.control.add_faults(calls=[{"fault": "error-before", "calls": ["volume.metadata.create"]}])
    volume_id = lose_volume(bench)
    # What could not be marked is known to this process at least.
    assert [leftover.external_id for leftover in bench.adapter.leftovers(DEADLINE)] == [volume_id]


def test_a_cloud_that_lets_nobody_mark_volumes_can_be_used(bench: Bench) -> None:
    rule = {"fault": "error-before", "calls": ["volume.metadata.create"], "status": 403, "message": "Policy says no."}
    bench.control.add_faults(calls=[rule])
    external_id = bench.create(label="volume")
    bench.active(external_id)
    bench.adapter.delete_server(external_id, DEADLINE)
    bench.gone(external_id)


def test_where_nothing_boots_from_volumes_cinder_is_asked_once(process: CloudProcess) -> None:
    made = make(process, pools=[ENTRY["pools"][1]])
    made.adapter.prepare(DEADLINE)
    process.control.reset()
    for _ in range(3):
        assert made.adapter.leftovers(DEADLINE) == []
    assert made.calls()["volume.volume.list"] == 1
    made.adapter.stop()
