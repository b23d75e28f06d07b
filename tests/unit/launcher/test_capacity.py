"""What a pool can give in one pass: room, reservations, and matching of hosts."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodepool.driver.errors import BadLabel
from nodepool.driver.static.config import StaticHost
from nodepool.launcher.capacity import Allocation, PoolCapacity, ProviderCapacity, Room, fits_in_stock, match
from nodepool.model.node import Node
from nodepool.model.reasons import WaitReason
from nodepool.model.resources import Resources
from tests.unit.launcher.parts import (
    ONE,
    node,
    pool_settings,
    pools_of,
    provider,
    registered,
    request,
    static_provider,
)

TWO = Resources(instances=2)


def room(instances: int | None = None, in_reach: int | None = None) -> Room:
    """Room for so many instances; None is no limit."""
    reach = instances if in_reach is None else in_reach
    return Room(Resources.limit({"instances": instances}), Resources.limit({"instances": reach}))


def capacity(
    pool: Room | None = None,
    quota: Room | None = None,
    slots: float = 9,
    blocked: WaitReason | None = None,
    ignore_quota: bool = False,
    nodes: tuple[Node, ...] = (),
) -> PoolCapacity:
    """A pool's capacity."""
    (setup,) = pools_of(provider(pool_settings(ignore_provider_quota=ignore_quota))).values()
    shared = ProviderCapacity(quota or room(), slots)
    return PoolCapacity(setup, lambda label: [n for n in nodes if label in n.type], pool or room(), shared, blocked)


def test_room_is_limited_by_the_pool_the_quota_and_the_launches() -> None:
    assert capacity().obstacle(ONE) is None
    assert capacity(pool=room(0)).obstacle(ONE) is WaitReason.AT_POOL_LIMIT
    assert capacity(quota=room(0)).obstacle(ONE) is WaitReason.AT_PROVIDER_QUOTA
    assert capacity(slots=0).obstacle(ONE) is WaitReason.MAX_CONCURRENCY
    assert capacity(blocked=WaitReason.CLOUD_REFUSES).obstacle(ONE) is WaitReason.CLOUD_REFUSES


def test_a_pool_may_ignore_the_quota() -> None:
    assert capacity(quota=room(0), ignore_quota=True).obstacle(ONE) is None


def test_a_large_request_needs_one_free_launch_only() -> None:
    assert capacity(slots=1).obstacle(TWO) is None


def test_what_is_given_is_gone_for_all_pools_of_the_provider() -> None:
    first = capacity(quota=room(2), slots=2)
    second = PoolCapacity(first.pool, first.free, room(), first.provider)
    first.give(Allocation((None, None), None), TWO)
    assert second.provider.launch_slots == 0
    second.provider.launch_slots = 1
    assert second.obstacle(ONE) is WaitReason.AT_PROVIDER_QUOTA


def test_reserved_room_is_kept_in_the_pool_and_in_the_provider() -> None:
    first = capacity(pool=room(1, in_reach=2), quota=room(1, in_reach=2))
    second = PoolCapacity(first.pool, first.free, room(), first.provider)
    first.reserve(TWO)
    assert first.obstacle(ONE) is WaitReason.RESERVED
    assert second.obstacle(ONE) is WaitReason.RESERVED


def test_room_is_reserved_once() -> None:
    one = capacity(pool=room(4, in_reach=9))
    one.reserve(Resources(instances=3))
    one.reserve(Resources(instances=9))
    assert one.obstacle(ONE) is None


def test_what_is_held_is_out_of_reach() -> None:
    assert capacity(pool=room(1, in_reach=2), quota=room(1, in_reach=2)).in_reach(TWO)
    assert not capacity(pool=room(1, in_reach=1)).in_reach(TWO)
    assert not capacity(quota=room(1, in_reach=1)).in_reach(TWO)
    assert capacity(quota=room(1, in_reach=1), ignore_quota=True).in_reach(TWO)


def test_missing_tells_what_has_to_become_free() -> None:
    need = Resources(instances=3, cores=12)
    limits = Room(Resources.limit({"instances": 1, "cores": 20}), Resources())
    assert capacity(pool=limits).missing(need) == TWO
    assert capacity(quota=limits, ignore_quota=True).missing(need) == Resources()


def test_room_for_stock_is_counted_and_taken() -> None:
    one = capacity(pool=room(3), slots=9)
    assert one.room_for("small", 2) == 2
    assert one.room_for("small", 9) == 1


def test_free_nodes_are_reused_in_one_zone() -> None:
    nodes = (node(1, az="b"), node(2, az="a"), node(3, az="b"))
    allocation = capacity(nodes=nodes).reusable(request("small", "small", "small"))
    assert [one and one.id for one in allocation.nodes] == [nodes[0].id, nodes[2].id, None]
    assert allocation.zone == "b"


def test_nothing_is_reused_that_is_taken_or_busy_or_not_wanted() -> None:
    nodes = (node(1), node(2), node(3))
    one = capacity(nodes=nodes)
    one.taken.add(nodes[0].id)
    one.is_busy = lambda node_id: node_id == nodes[1].id
    assert one.reusable(request("small")).nodes == (nodes[2],)
    assert one.reusable(request("small", reuse=False)).nodes == (None,)


hosts = st.lists(st.sets(st.sampled_from("abc"), min_size=1), max_size=4)
wanted = st.lists(st.sampled_from("abc"), min_size=1, max_size=4)


def possible(labels: list[str], slots: list[set[str]]) -> bool:
    """Whether some choice of different slots serves all labels: tried out."""
    choices = permutations(slots, len(labels))
    return any(all(label in slot for label, slot in zip(labels, choice, strict=True)) for choice in choices)


@given(labels=wanted, slots=hosts)
def test_a_request_fits_in_stock_if_and_only_if_it_can_be_served(labels: list[str], slots: list[set[str]]) -> None:
    def count(*group: str) -> int:
        return sum(not slot.isdisjoint(group) for slot in slots)

    assert fits_in_stock(labels, count) == possible(labels, slots)


@given(labels=wanted, slots=hosts)
def test_hosts_are_matched_whenever_that_is_possible(labels: list[str], slots: list[set[str]]) -> None:
    nodes = [node(number, type=tuple(sorted(slot))) for number, slot in enumerate(slots)]
    chosen = match(labels, lambda label: [one for one in nodes if label in one.type])
    served = [one for one in chosen if one is not None]
    assert len({one.id for one in served}) == len(served)
    assert all(one is None or label in one.type for label, one in zip(labels, chosen, strict=True))
    assert (None not in chosen) == possible(labels, slots)


def test_many_kinds_of_labels_are_not_tried_in_all_combinations() -> None:
    labels = [f"label{number}" for number in range(40)]
    assert fits_in_stock(labels, lambda *group: len(group))
    assert not fits_in_stock(labels, lambda *group: min(len(group), 39))
    assert not fits_in_stock(labels, lambda *group: 0 if group == ("label3",) else len(group))


@given(labels=wanted, slots=hosts)
def test_as_many_labels_as_possible_are_matched(labels: list[str], slots: list[set[str]]) -> None:
    nodes = [node(number, type=tuple(sorted(slot))) for number, slot in enumerate(slots)]
    served = sum(one is not None for one in match(labels, lambda label: [n for n in nodes if label in n.type]))
    padded = [*slots, *(set[str]() for _ in labels)]
    ways = permutations(padded, len(labels))
    assert served == max(sum(label in slot for label, slot in zip(labels, way, strict=True)) for way in ways)


@pytest.mark.parametrize(
    ("labels", "fits"), [("ab", True), ("aa", True), ("bb", True), ("aab", False), ("ac", False), ("", True)]
)
def test_a_host_with_slots_counts_once_per_slot(labels: str, fits: bool) -> None:
    stock = static_provider(StaticHost("h1", ("a", "b"), slots=2)).stock
    assert stock is not None
    assert fits_in_stock(labels, lambda *group: stock.capacity("main", *group)) is fits


def test_registered_hosts_are_matched_whatever_the_request_says_of_reuse() -> None:
    hosts = StaticHost("h1", ("a", "b")), StaticHost("h2", ("a",))
    (setup,) = pools_of(static_provider(*hosts)).values()
    both, only = (registered(host, str(number)).replace(az=str(number)) for number, host in enumerate(hosts))
    free = {"a": [both, only], "b": [both]}
    stock = PoolCapacity(setup, free.__getitem__, room(), ProviderCapacity(room()))
    assert stock.reusable(request("a", "b", reuse=False)).nodes == (only, both)


def test_the_need_is_the_sum_over_the_labels() -> None:
    assert capacity().need(["small", "big", "big"]) == Resources(instances=3, cores=8)
    with pytest.raises(BadLabel):
        capacity().need(["small", "broken"])


def test_an_amount_that_no_limit_names_is_not_limited() -> None:
    assert capacity(pool=room(1), quota=room(1)).obstacle(Resources(instances=1, cores=99)) is None
