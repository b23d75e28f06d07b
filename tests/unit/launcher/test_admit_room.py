"""Whether there is room for a request: limits, reservations, tenants, reuse, stock, registered hosts."""

from __future__ import annotations

from typing import Any

import pytest

from nodepool.launcher.admit import PATIENCE, Decision, Decline, MakeRoom, Probe, Take, Wait
from nodepool.launcher.capacity import PoolCapacity
from nodepool.model.node import Node
from nodepool.model.reasons import DeclineReason, WaitReason
from nodepool.model.request import MIN_READY_REQUESTOR, NodeRequest
from nodepool.model.resources import Resources
from tests.unit.launcher.admission_scene import (
    Scene,
    capacity_of,
    component_of,
    free_node,
    host_node,
    pool_of,
    request_for,
    static_pool,
)
from tests.unit.launcher.parts import NOW


def cores(amount: int) -> Resources:
    return Resources.limit({"cores": amount})


def nodes_of(decision: Decision) -> list[str | None]:
    """Ids of the nodes that a request gets, None for one to launch."""
    assert isinstance(decision, Take), decision
    return [node.id if node is not None else None for node in decision.allocation.nodes]


def reason_of(decisions: list[Decision], number: int) -> WaitReason | None:
    """Why a request waits, None if it is taken."""
    mine = [one for one in decisions if one.request.id.endswith(f"{number:010}") and not isinstance(one, MakeRoom)]
    assert len(mine) == 1, mine
    if isinstance(mine[0], Wait):
        return mine[0].reason
    assert isinstance(mine[0], Take), mine
    return None


def old(*labels: str, number: int, **fields: Any) -> NodeRequest:
    """A request that has waited for long enough."""
    return request_for(*labels, number=number, **{"created_time": NOW - PATIENCE, **fields})


def stock(*labels: str, **fields: Any) -> NodeRequest:
    return request_for(*labels, **{"requestor": MIN_READY_REQUESTOR, "reuse": False, **fields})


# Limits


def test_a_request_that_does_not_fit_the_pool_asks_for_room_there() -> None:
    pool, request = pool_of(), request_for("a", "a")
    decisions = Scene([capacity_of(pool, left=cores(3))]).decide(request)
    assert decisions == [
        Wait(request, WaitReason.AT_POOL_LIMIT, NOW - 1 + PATIENCE),
        MakeRoom(request, pool, Resources(cores=1), False),
    ]


def test_a_request_that_does_not_fit_the_quota_asks_for_room_anywhere_in_the_provider() -> None:
    pool, request = pool_of(), request_for("big")
    capacity = capacity_of(pool, quota=cores(3))
    assert Scene([capacity]).decide(request) == [
        Wait(request, WaitReason.AT_PROVIDER_QUOTA, NOW - 1 + PATIENCE),
        MakeRoom(request, pool, Resources(cores=5), True),
    ]
    assert capacity.crowded
    assert capacity.provider.crowded


def test_a_full_pool_does_not_make_its_provider_crowded() -> None:
    capacity = capacity_of(pool_of(), left=cores(3))
    Scene([capacity]).decide(request_for("big"))
    assert (capacity.crowded, capacity.provider.crowded) == (True, False)


def test_only_the_oldest_that_waits_gets_room_made() -> None:
    scene = Scene([capacity_of(pool_of(), left=cores(3))])
    decisions = scene.decide(request_for("big", number=1), request_for("a", "b", number=2))
    assert [one.request.id[-1] for one in decisions if isinstance(one, MakeRoom)] == ["1"]


def test_what_is_taken_in_a_pass_is_no_longer_there_for_the_next() -> None:
    scene = Scene([capacity_of(pool_of(), left=cores(5))])
    decisions = scene.decide(*(request_for("a", number=number) for number in (1, 2, 3)))
    assert [reason_of(decisions, number) for number in (1, 2, 3)] == [None, None, WaitReason.AT_POOL_LIMIT]


def test_pools_share_the_quota_of_their_provider() -> None:
    first = capacity_of(pool_of("first", name="x"), quota=cores(3))
    second = capacity_of(pool_of("second", name="y"), provider=first.provider)
    decisions = Scene([first, second]).decide(request_for("a", number=1), request_for("a", number=2))
    assert [reason_of(decisions, number) for number in (1, 2)] == [None, WaitReason.AT_PROVIDER_QUOTA]


def test_max_concurrency_limits_launches_not_reuse() -> None:
    capacity = capacity_of(pool_of(), free=[free_node("1")], launch_slots=0)
    decisions = Scene([capacity]).decide(request_for("a", number=1), request_for("a", number=2))
    assert nodes_of(decisions[0]) == ["1"]
    assert decisions[1:] == [Wait(request_for("a", number=2), WaitReason.MAX_CONCURRENCY)]


def test_each_launch_takes_a_slot_and_a_set_of_nodes_needs_only_one_to_begin() -> None:
    scene = Scene([capacity_of(pool_of(), launch_slots=2)])
    decisions = scene.decide(*(request_for(*"ab"[: number % 2 + 1], number=number) for number in (1, 2)))
    assert [reason_of(decisions, number) for number in (1, 2)] == [None, WaitReason.MAX_CONCURRENCY]
    assert nodes_of(decisions[0]) == [None, None]
    assert nodes_of(Scene([capacity_of(pool_of(), launch_slots=1)]).decide(request_for("a", "a"))[0]) == [None, None]


@pytest.mark.parametrize("blocked", [WaitReason.CLOUD_REFUSES, WaitReason.LIMITS_UNKNOWN])
def test_a_provider_that_launches_nothing_still_hands_out_ready_nodes(blocked: WaitReason) -> None:
    capacity = capacity_of(pool_of(), free=[free_node("1")])
    capacity.blocked = blocked
    request = request_for("a", number=2)
    decisions = Scene([capacity]).decide(request_for("a"), request)
    assert nodes_of(decisions[0]) == ["1"]
    assert decisions[1:] == [Wait(request, blocked)]


def test_a_request_that_the_cloud_refused_waits_and_the_next_goes() -> None:
    until = {("100-0000000001", "p"): NOW + 5}
    extra = {"refused_until": lambda request_id, provider: until.get((request_id, provider), 0.0)}
    first, second = request_for("a", number=1), request_for("b", number=2)
    decisions = Scene([capacity_of(pool_of())], extra=extra).decide(first, second)
    assert decisions[0] == Wait(first, WaitReason.CLOUD_REFUSES, NOW + 5)
    assert nodes_of(decisions[1]) == [None]
    ready = Scene([capacity_of(pool_of(), free=[free_node("1")])], extra=extra)
    assert nodes_of(ready.decide(first)[0]) == ["1"]


# Patience


def test_a_younger_request_that_fits_goes_now() -> None:
    scene = Scene([capacity_of(pool_of(), left=cores(7))])
    decisions = scene.decide(request_for("big", number=1), request_for("a", number=2))
    assert [reason_of(decisions, number) for number in (1, 2)] == [WaitReason.AT_POOL_LIMIT, None]


def test_room_is_kept_for_a_request_that_has_waited_for_long() -> None:
    capacity = capacity_of(pool_of(), left=cores(7))
    first = old("big", number=1)
    decisions = Scene([capacity]).decide(first, request_for("a", number=2))
    assert decisions[0] == Wait(first, WaitReason.AT_POOL_LIMIT)
    assert reason_of(decisions, 2) is WaitReason.RESERVED


@pytest.mark.parametrize(("waited", "expected"), [(PATIENCE - 0.1, None), (PATIENCE, WaitReason.RESERVED)])
def test_the_time_counts_from_the_request(waited: float, expected: WaitReason | None) -> None:
    for fields in ({"created_time": NOW - waited}, {"created_time": None, "state_time": NOW - waited}):
        scene = Scene([capacity_of(pool_of(), left=cores(7))])
        decisions = scene.decide(old("big", number=1, **fields), request_for("a", number=2))
        assert reason_of(decisions, 2) is expected


def test_what_fits_beside_the_reservation_goes() -> None:
    left = Resources.limit({"cores": 7, "instances": 2})
    scene = Scene([capacity_of(pool_of(), left=left, free=[free_node("1")])])
    decisions = scene.decide(old("big", "a", number=1), request_for("a", number=2))
    assert decisions[0].request.id == "100-0000000001"
    assert reason_of(decisions, 1) is WaitReason.AT_POOL_LIMIT
    assert nodes_of(next(one for one in decisions if one.request.id.endswith("2"))) == ["1"]


def test_no_room_is_kept_that_cannot_come() -> None:
    capacity = capacity_of(pool_of(), left=cores(7))
    # The rest is held by somebody for as long as it pleases.
    capacity.room.in_reach = cores(7)
    decisions = Scene([capacity]).decide(old("big", number=1), request_for("a", number=2))
    assert [reason_of(decisions, number) for number in (1, 2)] == [WaitReason.AT_POOL_LIMIT, None]


@pytest.mark.parametrize(
    ("name", "expected"), [("main", WaitReason.RESERVED), ("other", None)], ids=["same room", "other room"]
)
def test_what_we_have_declined_keeps_the_room_that_another_launcher_waits_for(
    name: str, expected: WaitReason | None
) -> None:
    theirs = component_of(pool_of("theirs", name=name, labels=("big",)))
    scene = Scene([capacity_of(pool_of(), left=cores(7))], [theirs])
    decisions = scene.decide(old("big", number=1, declined_by=("ours",)), request_for("a", number=2))
    assert [reason_of(decisions, number) for number in (1, 2)] == [WaitReason.DECLINED_HERE, expected]


# Tenants


def test_a_tenant_at_its_limit_waits_and_others_do_not() -> None:
    scene = Scene([capacity_of(pool_of())], tenants={"t": Resources.limit({"instances": 1})})
    first, second = request_for("a", "a", number=1, tenant_name="t"), request_for("a", "a", number=2, tenant_name="u")
    decisions = scene.decide(first, second)
    assert decisions[0] == Wait(first, WaitReason.TENANT_LIMIT)
    assert nodes_of(decisions[1]) == [None, None]


def test_requests_of_one_pass_count_together() -> None:
    scene = Scene([capacity_of(pool_of())], tenants={"t": cores(5)})
    decisions = scene.decide(*(request_for("a", number=number, tenant_name="t") for number in (1, 2, 3)))
    assert [reason_of(decisions, number) for number in (1, 2, 3)] == [None, None, WaitReason.TENANT_LIMIT]


def test_a_smaller_request_of_the_same_tenant_goes() -> None:
    scene = Scene([capacity_of(pool_of())], tenants={"t": cores(5)})
    requests = (request_for("big", number=1, tenant_name="t"), request_for("a", number=2, tenant_name="t"))
    decisions = scene.decide(*requests)
    assert [reason_of(decisions, number) for number in (1, 2)] == [WaitReason.TENANT_LIMIT, None]


def test_reused_nodes_count_for_the_tenant_but_not_for_the_pool() -> None:
    scene = Scene([capacity_of(pool_of(), free=[free_node("1")])], tenants={"t": Resources.limit({"instances": 1})})
    decision = scene.decide(request_for("a", tenant_name="t"))[0]
    assert isinstance(decision, Take)
    assert (decision.need, decision.tenant_need) == (Resources(), Resources(instances=1, cores=2))
    assert reason_of(scene.decide(request_for("a", "a", tenant_name="t")), 1) is WaitReason.TENANT_LIMIT


def test_a_registered_host_counts_as_one_instance() -> None:
    pool = static_pool(hosts={"h1": ("a",), "h2": ("a",)})
    free = [host_node(number) for number in "12"]
    scene = Scene([capacity_of(pool, free=free)], tenants={"t": Resources.limit({"instances": 1, "cores": 0})})
    decisions = scene.decide(*(request_for("a", number=number, tenant_name="t") for number in (1, 2)))
    assert [reason_of(decisions, number) for number in (1, 2)] == [None, WaitReason.TENANT_LIMIT]


# Reuse


def test_ready_nodes_are_used_first_and_only_the_rest_is_launched() -> None:
    capacity = capacity_of(pool_of(), free=[free_node("1", az="z1")], left=cores(2))
    decision = Scene([capacity]).decide(request_for("a", "b"))[0]
    assert nodes_of(decision) == ["1", None]
    assert isinstance(decision, Take)
    assert decision.need == Resources(instances=1, cores=2)
    assert decision.allocation.zone == "z1"


def test_no_node_is_given_twice() -> None:
    free, taken = [free_node("1")], set[str]()
    pools = [capacity_of(pool_of(name, name=name), free=free, taken=taken) for name in ("x", "y")]
    decisions = Scene(pools).decide(request_for("a", number=1), request_for("a", number=2))
    assert [nodes_of(one) for one in decisions] == [["1"], [None]]


def test_a_request_without_reuse_gets_a_new_node() -> None:
    scene = Scene([capacity_of(pool_of(), free=[free_node("1")])])
    assert nodes_of(scene.decide(request_for("a", reuse=False))[0]) == [None]


def test_nodes_are_reused_in_one_zone() -> None:
    free = [free_node("1", az="z1"), free_node("2", az="z2"), free_node("3", az="z1")]
    decision = Scene([capacity_of(pool_of(), free=free)]).decide(request_for("a", "a", "a"))[0]
    assert nodes_of(decision) == ["1", "3", None]


# Stock


def test_stock_is_launched_where_there_is_room() -> None:
    assert nodes_of(Scene([capacity_of(pool_of(), free=[free_node("1")])]).decide(stock("a"))[0]) == [None]


@pytest.mark.parametrize("fields", [{"left": cores(1)}, {"quota": cores(1)}, {"launch_slots": 0}])
def test_stock_is_declined_where_there_is_none_and_nothing_goes_for_it(fields: Any) -> None:
    request = stock("a", created_time=NOW - PATIENCE)
    capacity = capacity_of(pool_of(), **fields)
    assert Scene([capacity]).decide(request) == [Decline(request, {"ours": DeclineReason.AT_CAPACITY})]
    assert not capacity.crowded
    assert not capacity.room.reserved


def test_stock_does_not_take_what_is_reserved() -> None:
    request = stock("a", number=2)
    decisions = Scene([capacity_of(pool_of(), left=cores(7))]).decide(old("big", number=1), request)
    assert decisions[-1] == Decline(request, {"ours": DeclineReason.AT_CAPACITY})


def test_stock_waits_for_a_provider_that_has_not_answered_yet() -> None:
    capacity, request = capacity_of(pool_of()), stock("a")
    capacity.blocked = WaitReason.LIMITS_UNKNOWN
    assert Scene([capacity]).decide(request) == [Wait(request, WaitReason.LIMITS_UNKNOWN)]


@pytest.mark.parametrize("free", [[], [host_node("1")]])
def test_registered_hosts_are_stock_already(free: list[Node]) -> None:
    request = stock("a")
    scene = Scene([capacity_of(static_pool(hosts={"h1": ("a",)}), free=free)])
    assert scene.decide(request) == [Decline(request, {"ours": DeclineReason.AT_CAPACITY})]


# Registered hosts


def test_a_free_host_is_handed_out_at_once_if_it_need_not_be_looked_at() -> None:
    capacity = capacity_of(static_pool(hosts={"h1": ("a",)}), free=[H1])
    decision = Scene([capacity]).decide(request_for("a"))[0]
    assert nodes_of(decision) == ["1"]
    assert isinstance(decision, Take)
    assert decision.need == Resources()


def test_a_host_whose_record_is_out_of_date_is_not_handed_out() -> None:
    pool, request = static_pool(hosts={"h1": ("a",)}), request_for("a")
    for stale in ({"connection_port": 2222}, {"username": "root"}, {"hostname": "h2"}, {"python_path": "python2"}):
        assert Scene([capacity_of(pool, free=[H1.replace(**stale)])]).decide(request) == [
            Wait(request, WaitReason.NO_FREE_HOST)
        ]


def checked(*free: Node) -> PoolCapacity:
    pool = static_pool(hosts={node.hostname or "": node.type for node in free}, checked=True)
    return capacity_of(pool, free=free)


H1, H2 = (host_node(number) for number in "12")


def test_a_host_is_looked_at_before_it_is_handed_out() -> None:
    capacity, request = checked(H1), request_for("a")
    assert Scene([capacity]).decide(request) == [Probe(request, (H1,), capacity.pool)]


def test_a_host_that_answered_a_moment_ago_is_not_looked_at_again() -> None:
    scene = Scene([checked(H1)], extra={"answered": frozenset({"1"})})
    assert nodes_of(scene.decide(request_for("a"))[0]) == ["1"]


def test_only_hosts_that_did_not_answer_yet_are_looked_at() -> None:
    capacity, request = checked(H1, H2), request_for("a", "a")
    scene = Scene([capacity], extra={"answered": frozenset({"1"})})
    assert scene.decide(request) == [Probe(request, (H2,), capacity.pool)]


def test_a_host_that_is_looked_at_is_not_given_to_the_next_request() -> None:
    capacity, second = checked(H1), request_for("a", number=2)
    decisions = Scene([capacity]).decide(request_for("a", number=1), second)
    assert [type(one) for one in decisions] == [Probe, Wait]
    assert decisions[1] == Wait(second, WaitReason.NO_FREE_HOST)


def test_without_enough_free_hosts_a_request_waits_and_holds_nothing() -> None:
    pool = static_pool(hosts={"h1": ("a",), "h2": ("a",)})
    capacity, first = capacity_of(pool, free=[H1]), request_for("a", "a", number=1)
    decisions = Scene([capacity]).decide(first, request_for("a", number=2))
    assert decisions[0] == Wait(first, WaitReason.NO_FREE_HOST)
    assert nodes_of(decisions[1]) == ["1"]
    assert capacity.crowded
