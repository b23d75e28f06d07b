"""Registration of static hosts: plain calls of the pure plan."""

from __future__ import annotations

import dataclasses

import pytest

from nodepool.driver.nodescan import ScanRequest
from nodepool.driver.static.config import StaticHost
from nodepool.driver.stock import Deregister, Register, Scan, Update
from nodepool.model.node import Node
from nodepool.model.states import NodeState
from tests.unit.driver.static_world import KEY, OTHER_KEY, PROVIDER, StaticWorld

HOST = StaticHost("h1", ("bare", "big"), pool="main")


def changed(**changes: object) -> StaticHost:
    return dataclasses.replace(HOST, **changes)  # type: ignore[arg-type]


def world(*hosts: StaticHost) -> StaticWorld:
    settled = StaticWorld(hosts or (HOST,))
    settled.settle()
    return settled


def test_a_new_host_is_looked_at_before_anything_else() -> None:
    plan = StaticWorld([HOST]).plan()
    assert plan.actions == (
        Scan(
            ScanRequest(
                key=(PROVIDER, "h1", "zuul", 22, "ssh"),
                host="h1",
                port=22,
                connection_type="ssh",
                timeout=30.0,
                attempt_timeout=5.0,
                retry=False,
                group=PROVIDER,
            )
        ),
    )


def test_the_record_says_all_that_a_client_needs() -> None:
    host = changed(attributes={"zone": "eu"}, shell_type="sh")
    assert world(host).only() == Node(
        id="0000000001",
        state=NodeState.READY,
        state_time=1000.0,
        created_time=1000.0,
        provider=PROVIDER,
        pool="main",
        type=("bare", "big"),
        external_id="h1",
        hostname="h1",
        interface_ip="h1",
        public_ipv4="192.0.2.1",
        connection_type="ssh",
        connection_port=22,
        username="zuul",
        python_path="auto",
        shell_type="sh",
        host_keys=(KEY,),
        launcher="static driver",
        slot=0,
        attributes={"zone": "eu"},
    )


@pytest.mark.parametrize(
    ("name", "public_ipv4", "public_ipv6"), [("192.0.2.9", "192.0.2.9", None), ("2001:db8::1", None, "2001:db8::1")]
)
def test_an_address_as_name_is_the_public_address(name: str, public_ipv4: str | None, public_ipv6: str | None) -> None:
    node = world(changed(name=name)).only()
    assert (node.public_ipv4, node.public_ipv6) == (public_ipv4, public_ipv6)


def test_each_slot_gets_a_record_of_its_own_after_one_look() -> None:
    registered = world(changed(slots=3))
    assert registered.slots() == [("h1", 0), ("h1", 1), ("h1", 2)]
    assert len(registered.looks) == 1


def test_a_host_without_slots_is_left_alone() -> None:
    registered = world(changed(slots=0))
    assert (registered.nodes, registered.looks) == ({}, [])


def test_an_unchecked_host_is_never_contacted_and_its_configured_keys_are_given_on() -> None:
    registered = world(changed(checked=False, host_keys=(OTHER_KEY,)))
    assert registered.looks == []
    assert registered.only().host_keys == (OTHER_KEY,)
    assert registered.stock.check_before_use(registered.only()) is None


@pytest.mark.parametrize(("failures", "pause"), [(1, 1.0), (2, 2.0), (4, 8.0), (7, 60.0), (100, 60.0), (0, 60.0)])
def test_a_host_that_does_not_answer_is_tried_again_soon_and_then_less_often(failures: int, pause: float) -> None:
    down = StaticWorld([HOST])
    down.keys["h1"] = None
    down.settle()
    down.scans = {key: dataclasses.replace(scanned, failures=failures) for key, scanned in down.scans.items()}
    assert down.plan().wake == down.now + pause


def test_a_host_that_is_down_is_tried_again_after_a_minute() -> None:
    down = StaticWorld([HOST])
    down.keys["h1"] = None
    plan = down.settle()
    assert dict(plan.unregistered) == {"h1 port 22": "The host refuses connections to the port. connect: no"}
    assert plan.wake == 1060.0
    down.now = 1059.0
    down.settle()
    assert down.looks == [("h1", 1000.0)]
    down.now, down.keys["h1"] = 1060.0, (KEY,)
    assert down.settle().unregistered == {}
    assert down.slots() == [("h1", 0)]


def test_a_host_with_another_key_than_configured_is_not_registered() -> None:
    wrong = world(changed(host_keys=(OTHER_KEY,)))
    assert wrong.nodes == {}
    assert wrong.plan().unregistered == {
        "h1 port 22": "The host does not have the configured host-key of type ssh-ed25519."
    }


def test_configured_keys_may_be_some_of_those_found_and_all_found_are_recorded() -> None:
    both = StaticWorld([changed(host_keys=(OTHER_KEY,))])
    both.keys["h1"] = (KEY, OTHER_KEY)
    both.settle()
    assert both.only().host_keys == (KEY, OTHER_KEY)


def test_configured_keys_of_a_host_without_ssh_are_not_asked_for() -> None:
    node = world(changed(connection_type="winrm", port=5986, host_keys=(KEY,))).only()
    assert (node.host_keys, node.connection_port) == ((), 5986)


@pytest.mark.parametrize("state", [NodeState.READY, NodeState.IN_USE, NodeState.USED, NodeState.HOLD])
def test_a_slot_with_a_usable_record_is_occupied(state: NodeState) -> None:
    busy = world()
    busy.nodes["0000000001"] = busy.only().replace(state=state, allocated_to="1-1")
    busy.now += 3600
    assert busy.plan().actions == ()


@pytest.mark.parametrize("state", [NodeState.INIT, NodeState.BUILDING, NodeState.DELETING, NodeState.DELETED])
def test_a_record_that_nobody_can_use_does_not_hold_the_slot(state: NodeState) -> None:
    going = world()
    going.nodes["0000000001"] = going.only().replace(state=state)
    going.settle()
    assert [node.state for node in going.nodes.values()] == [state, NodeState.READY]


def test_after_use_the_host_is_looked_at_again_and_gets_a_new_record() -> None:
    used = world()
    used.now += 5
    used.put("0000000001", NodeState.IN_USE, allocated_to="1-1")
    used.settle()
    used.put("0000000001", NodeState.USED)
    used.settle()
    used.put("0000000001", NodeState.DELETING)
    used.keys["h1"] = (OTHER_KEY,)
    used.settle()
    del used.nodes["0000000001"]
    used.settle()
    assert (used.only().id, used.only().host_keys) == ("0000000002", (OTHER_KEY,))
    assert used.looks == [("h1", 1000.0), ("h1", 1005.0)]


def test_a_look_taken_for_another_slot_while_this_one_was_used_does_not_count() -> None:
    pair = world(changed(slots=2))
    for node_id in ("0000000001", "0000000002"):
        pair.put(node_id, NodeState.IN_USE, allocated_to="1-1")
    del pair.nodes["0000000001"]
    pair.settle()
    assert len(pair.looks) == 2
    del pair.nodes["0000000002"]
    pair.settle()
    assert len(pair.looks) == 3


def test_a_look_that_was_not_acted_upon_in_time_is_repeated() -> None:
    slow = StaticWorld([HOST])
    slow.do(slow.plan().actions[0])
    assert isinstance(slow.plan().actions[0], Register)
    slow.now += 60
    assert isinstance(slow.plan().actions[0], Scan)


def test_a_changed_entry_is_updated_in_place_without_a_look() -> None:
    reloaded = world()
    reloaded.reload([changed(labels=("small",), pool="other", python_path="/usr/bin/python3", username="ci")])
    reloaded.settle()
    node = reloaded.only()
    assert (node.id, node.type, node.pool) == ("0000000001", ("small",), "other")
    assert (node.python_path, node.username, node.host_keys) == ("/usr/bin/python3", "ci", (KEY,))
    assert len(reloaded.looks) == 1


def test_a_changed_port_is_looked_at_before_the_record_says_so() -> None:
    moved = world()
    moved.keys["h1"] = (OTHER_KEY,)
    moved.reload([changed(port=2222)])
    assert [type(action) for action in moved.plan().actions] == [Scan]
    moved.settle()
    node = moved.only()
    assert (node.id, node.connection_port, node.host_keys) == ("0000000001", 2222, (OTHER_KEY,))


def test_a_free_record_goes_if_its_host_does_not_answer_as_configured_now() -> None:
    moved = world()
    moved.keys["h1"] = None
    moved.reload([changed(port=2222)])
    moved.settle()
    assert moved.nodes == {}
    assert list(moved.plan().unregistered) == ["h1 port 2222"]


def test_a_changed_entry_of_a_node_at_work_waits_until_it_comes_back() -> None:
    busy = world()
    busy.put("0000000001", NodeState.IN_USE, allocated_to="1-1")
    busy.reload([changed(labels=("small",), username="ci")])
    busy.settle()
    assert busy.only().type == ("bare", "big")
    del busy.nodes["0000000001"]
    busy.settle()
    assert (busy.only().type, busy.only().username) == (("small",), "ci")


@pytest.mark.parametrize("locked", [True, False])
def test_records_of_a_removed_host_go_when_they_are_free(locked: bool) -> None:
    removed = world()
    removed.locked = {"0000000001"} if locked else set()
    removed.reload([])
    removed.settle()
    assert len(removed.nodes) == (1 if locked else 0)


def test_fewer_slots_remove_free_records_only() -> None:
    shrunk = world(changed(slots=3))
    shrunk.put("0000000003", NodeState.IN_USE, allocated_to="1-1")
    shrunk.reload([changed(slots=1)])
    shrunk.settle()
    assert shrunk.slots() == [("h1", 0), ("h1", 2)]


def test_a_node_at_work_on_a_removed_slot_takes_the_place_of_a_missing_one() -> None:
    shrunk = world(changed(slots=2))
    shrunk.put("0000000002", NodeState.IN_USE, allocated_to="1-1")
    del shrunk.nodes["0000000001"]
    shrunk.reload([changed(slots=1)])
    shrunk.settle()
    assert shrunk.slots() == [("h1", 1)]


def test_old_records_without_a_slot_get_one() -> None:
    old = world(changed(slots=2))
    old.nodes = {node.id: node.replace(slot=None) for node in old.nodes.values()}
    old.settle()
    assert old.slots() == [("h1", 0), ("h1", 1)]
    assert len(old.nodes) == 2


def test_of_two_records_for_one_slot_the_one_at_work_stays() -> None:
    double = world()
    busy = double.add(double.only())
    double.put(busy.id, NodeState.IN_USE, allocated_to="1-1")
    assert double.plan().actions == (Deregister("0000000001", "no such host or slot in the configuration"),)


def test_a_newer_look_corrects_the_keys_of_a_free_sibling() -> None:
    pair = world(changed(slots=2))
    pair.put("0000000001", NodeState.IN_USE, allocated_to="1-1")
    pair.settle()
    del pair.nodes["0000000001"]
    pair.keys["h1"] = (OTHER_KEY,)
    pair.settle()
    assert {node.host_keys for node in pair.nodes.values()} == {(OTHER_KEY,)}


def test_a_look_older_than_the_record_does_not_correct_it() -> None:
    handed_on = world()
    newer = handed_on.only().replace(created_time=2000.0, host_keys=(OTHER_KEY,))
    handed_on.nodes[newer.id] = newer
    assert not any(isinstance(action, Update) for action in handed_on.plan().actions)


def test_before_use_a_tcp_connection_is_made() -> None:
    registered = world(changed(timeout=3.0))
    request = registered.stock.check_before_use(registered.only())
    assert request is not None
    assert (request.host, request.port, request.timeout, request.wants_keys, request.retry) == (
        "h1",
        22,
        3.0,
        False,
        False,
    )


def test_capacity_is_the_sum_of_the_slots_of_a_label_in_a_pool() -> None:
    hosts = [changed(slots=2), changed(name="h2", labels=("bare",)), changed(name="h3", pool="other")]
    stock = StaticWorld(hosts).stock
    assert [stock.capacity("main", label) for label in ("bare", "big", "none")] == [3, 2, 0]
    assert stock.capacity("main", "bare", "big") == 3


def test_a_host_that_was_not_looked_at_yet_is_neither_well_nor_in_trouble() -> None:
    down = StaticWorld([HOST])
    down.keys["h1"] = None
    down.settle()
    assert list(down.plan().unregistered) == ["h1 port 22"]
    assert down.plan().unregistered["h1 port 22"] is not None
    down.reload([HOST])
    assert down.plan().unregistered == {"h1 port 22": None}


@pytest.mark.parametrize(
    "now", [changed(port=2222), changed(username="root"), changed(labels=("other",)), changed(host_keys=(OTHER_KEY,))]
)
def test_the_record_of_a_host_that_changed_is_not_current_until_it_is_brought_up_to_date(now: StaticHost) -> None:
    settled = world()
    assert settled.stock.is_current(settled.only())
    settled.keys["h1"] = (KEY, OTHER_KEY)
    settled.reload([now])
    assert not settled.stock.is_current(settled.only())
    settled.settle()
    assert settled.stock.is_current(settled.only())
