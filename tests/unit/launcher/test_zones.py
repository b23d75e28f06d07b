"""In which zone a request is served, and how launches leave a zone that has no capacity."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from nodepool.launcher import orders, zones
from nodepool.launcher.images import Image
from nodepool.launcher.lifecycle import Launch, Phase
from nodepool.launcher.offerings import SHORTEST
from nodepool.launcher.setup import PoolSetup, Setup
from nodepool.launcher.state import State
from nodepool.launcher.work import Claim
from tests.unit.launcher.parts import NOW, pool_settings, pools_of, provider, request, setup

LATER = NOW + SHORTEST


def state_of(*pool_zones: str, of_cloud: tuple[str, ...] = ()) -> State:
    """One pool with these zones, of a cloud with those."""
    cloud = replace(provider(pool_settings(availability_zones=pool_zones)), zones=lambda: of_cloud)
    state = State(random.Random(1))
    state.setup = setup(cloud)
    state.now = NOW
    return state


def pool_of(state: State) -> PoolSetup:
    """The one pool."""
    return next(iter(state.setup.pools.values()))


def refuse(state: State, zone: str | None, label: str = "small") -> None:
    """The cloud has no capacity there."""
    state.offerings.refused(("cloud", zone, label), state.now)


def chosen(state: State, *labels: str, zone: str | None = None) -> tuple[float, str | None]:
    """What is chosen for these labels."""
    return zones.choose(state, pool_of(state), labels or ("small",), zone)


@pytest.mark.parametrize(
    ("of_pool", "of_cloud", "expected"),
    [
        (("b", "a"), ("c",), ["a", "b"]),
        (("b", "a", "mistyped"), ("a", "b", "c"), ["a", "b"]),
        ((), ("d", "c"), ["c", "d"]),
        ((), (), [None]),
    ],
)
def test_zones_of_a_pool(of_pool: tuple[str, ...], of_cloud: tuple[str, ...], expected: list[str | None]) -> None:
    assert zones.of_pool(pool_of(state_of(*of_pool, of_cloud=of_cloud))) == expected


def test_all_open_zones_have_their_turn() -> None:
    state = state_of("a", "b", "c")
    assert {chosen(state) for _ in range(50)} == {(0.0, "a"), (0.0, "b"), (0.0, "c")}


def test_a_zone_that_refused_is_left_alone() -> None:
    state = state_of("a", "b")
    refuse(state, "a")
    assert {chosen(state) for _ in range(20)} == {(0.0, "b")}


def test_another_label_may_be_tried_there() -> None:
    state = state_of("a")
    refuse(state, "a", "big")
    assert chosen(state, "small") == (0.0, "a")
    assert chosen(state, "small", "big") == (LATER, None)


def test_where_all_are_closed_it_says_when_the_first_may_be_tried() -> None:
    state = state_of("a", "b")
    refuse(state, "a")
    state.now += 5
    refuse(state, "b")
    assert chosen(state) == (LATER, None)
    assert chosen(state, zone="b") == (LATER + 5, None)


def test_one_request_tries_a_zone_and_the_others_wait() -> None:
    state = state_of("a", "b")
    refuse(state, "a")
    refuse(state, "b")
    refuse(state, "b", "big")
    state.now = LATER
    first, second, third = (chosen(state) for _ in range(3))
    assert {first, second} == {(0.0, "a"), (0.0, "b")}
    assert third == (LATER + SHORTEST, None)


def test_a_zone_that_is_due_is_tried_by_one_beside_those_that_are_open() -> None:
    state = state_of("a", "b")
    refuse(state, "a")
    state.now = LATER
    found = [chosen(state)[1] for _ in range(50)]
    assert (found.count("a"), found.count("b")) == (1, 49)


def test_a_zone_that_binds_is_the_only_one() -> None:
    state = state_of("a", "b")
    assert {chosen(state, zone="b") for _ in range(10)} == {(0.0, "b")}
    assert chosen(state, zone="elsewhere") == (0.0, "elsewhere")


def test_a_cloud_without_zones_is_closed_as_a_whole() -> None:
    state = state_of()
    assert chosen(state) == (0.0, None)
    refuse(state, None)
    assert chosen(state) == (LATER, None)
    assert chosen(state, "big") == (0.0, None)


# Orders of launches


def launch_of(state: State, attempt: int, slots: int = 1, zone: str | None = "a") -> Launch:
    """A launch of a request that is served in a zone."""
    pool = pool_of(state)
    claim = Claim(request().id, pool.launcher_id, [str(number) for number in range(slots)], zone)
    state.claims[claim.request_id] = claim
    settings = replace(pool.provider.settings, launch_retries=3)
    label = pool.settings.labels["small"]
    return Launch("0", "cloud", "main", label, settings, claim.request_id, NOW, Phase.CREATING, attempt)


def test_the_first_attempt_is_made_where_the_request_is_served() -> None:
    state = state_of("a", "b")
    refuse(state, "a")
    assert orders.zone(state, launch_of(state, attempt=1)) == "a"


def test_another_attempt_leaves_the_zone_that_refused() -> None:
    state = state_of("a", "b")
    launch = launch_of(state, attempt=2)
    assert orders.zone(state, launch) == "a"
    refuse(state, "a")
    assert orders.zone(state, launch) == "b"
    assert state.claims[launch.request_id].zone == "b"


def test_another_attempt_stays_where_it_is_when_no_zone_is_better() -> None:
    state = state_of("a", "b")
    launch = launch_of(state, attempt=2)
    refuse(state, "a")
    refuse(state, "b")
    assert orders.zone(state, launch) == "a"


def test_all_nodes_of_a_request_stay_in_one_zone() -> None:
    state = state_of("a", "b")
    launch = launch_of(state, attempt=2, slots=2)
    refuse(state, "a")
    assert orders.zone(state, launch) == "a"


def test_a_zone_whose_pool_is_gone_is_kept() -> None:
    state = state_of("a", "b")
    launch = launch_of(state, attempt=2)
    refuse(state, "a")
    state.setup = Setup()
    assert orders.zone(state, launch) == "a"


def test_a_launch_without_a_request_has_no_zone() -> None:
    state = state_of("a")
    launch = launch_of(state, attempt=1)
    state.claims.clear()
    assert orders.zone(state, launch) is None


def test_bad_luck_is_given_more_attempts_while_others_come_up() -> None:
    state = state_of()
    launch = launch_of(state, attempt=3)
    assert orders.extra_attempts(state, launch) == 0
    state.offerings.passed("cloud", "big", NOW + 1)
    state.offerings.passed("cloud", "small", NOW)
    assert orders.extra_attempts(state, launch) == 0
    state.offerings.passed("cloud", "small", NOW + 1)
    assert orders.extra_attempts(state, launch) == 6


def test_a_provider_that_is_to_be_tried_once_is_tried_once() -> None:
    state = state_of()
    launch = launch_of(state, attempt=1)
    launch = replace(launch, limits=replace(launch.limits, launch_retries=1))
    state.offerings.passed("cloud", "small", NOW + 1)
    assert orders.extra_attempts(state, launch) == 0


def test_what_is_ordered() -> None:
    state = state_of("a")
    launch = replace(launch_of(state, attempt=2), zone="a")
    order = orders.of_launch(launch, Image(None, "image-1"), request(event_id="e", tenant_name="t"))
    assert (order.node_id, order.hostname, order.pool, order.label) == ("0", "np0", "main", "small")
    assert (order.az, order.image_external_id) == ("a", "image-1")
    assert order.tags == {
        "nodepool_node_id": "0",
        "nodepool_pool_name": "main",
        "nodepool_provider_name": "cloud",
        "nodepool_attempt": "2",
    }
    assert (order.request["id"], order.request["tenant_name"], order.request["labels"]) == (
        request().id,
        "t",
        ["small"],
    )
    assert orders.of_launch(launch, Image(None, None), None).request == {}


def test_pools_of_one_cloud_share_what_is_known_of_its_zones() -> None:
    state = state_of("a")
    refuse(state, "a")
    (other,) = pools_of(provider(pool_settings("other", availability_zones=("a",)))).values()
    assert zones.choose(state, other, ["small"], None) == (LATER, None)
