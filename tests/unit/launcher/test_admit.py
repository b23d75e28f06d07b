"""Who serves a request and who declines it, with every reason (spec launcher 2.1, 2.2, 2.4). Room: test_admit_room."""

from __future__ import annotations

from typing import Any

import pytest

from nodepool.driver.adapter import PoolSettings
from nodepool.launcher.admit import GRACE, Decision, Decline, MakeRoom, Take, Wait
from nodepool.launcher.capacity import Allocation
from nodepool.launcher.setup import LabelRule
from nodepool.model import rendezvous
from nodepool.model.reasons import DeclineReason, WaitReason
from nodepool.model.request import NodeRequest
from nodepool.model.resources import Resources
from tests.unit.launcher.admission_scene import Scene, capacity_of, component_of, pool_of, request_for, static_pool
from tests.unit.launcher.parts import NOW

FULL = Resources.limit({"instances": 0})
"""Nothing is left."""


def theirs(**fields: Any) -> Any:
    """A pool of another launcher, at another provider unless told otherwise."""
    values = {"launcher_id": "theirs", "provider": "q"} | {k: v for k, v in fields.items() if k in POOL_FIELDS}
    return component_of(pool_of(**values), **{k: v for k, v in fields.items() if k not in POOL_FIELDS})


POOL_FIELDS = {"launcher_id", "provider", "priority", "labels"}


def only(decisions: list[Decision]) -> Decision:
    assert len(decisions) == 1, decisions
    return decisions[0]


def reasons_of(decisions: list[Decision]) -> dict[str, DeclineReason]:
    """Why our pools decline the only request."""
    decision = only(decisions)
    assert isinstance(decision, Decline), decision
    return dict(decision.reasons)


def taker(decisions: list[Decision]) -> str:
    """Launcher id of the pool that takes the only request."""
    decision = only(decisions)
    assert isinstance(decision, Take), decision
    return decision.pool.launcher_id


def that_goes_first_to(winner: str, *candidates: str, **fields: Any) -> NodeRequest:
    """A request for which a candidate is the first."""
    requests = (request_for("a", number=number, **fields) for number in range(1, 1000))
    return next(one for one in requests if rendezvous.first(one.id, candidates) == winner)


# Taking


def test_what_fits_is_taken() -> None:
    pool, request = pool_of(), request_for("a", "big", "a", tenant_name="t")
    decision = only(Scene([capacity_of(pool)]).decide(request))
    need = Resources(instances=3, cores=12)
    assert decision == Take(request, pool, Allocation((None, None, None), None), need, need)


def test_requests_are_served_in_the_order_in_which_they_come() -> None:
    scene = Scene([capacity_of(pool_of(), left=Resources.limit({"instances": 1}))])
    decisions = scene.decide(request_for("a", number=2), request_for("a", number=1))
    assert [type(one) for one in decisions[:2]] == [Take, Wait]
    assert decisions[0].request.id == "100-0000000002"


def test_without_pools_of_ours_others_decide() -> None:
    request = request_for("a")
    assert Scene([], [theirs()]).decide(request) == [Wait(request, WaitReason.DECLINED_HERE)]


# Declining


def test_a_disabled_pool_declines_whatever_it_is_asked_for() -> None:
    pool = pool_of(limits=Resources.limit({"instances": 0}))
    assert reasons_of(Scene([capacity_of(pool)]).decide(request_for("a"))) == {"ours": DeclineReason.POOL_DISABLED}
    assert reasons_of(Scene([capacity_of(pool)]).decide(request_for("no"))) == {"ours": DeclineReason.POOL_DISABLED}


def test_a_label_that_nobody_has_is_declined() -> None:
    scene = Scene([capacity_of(pool_of())])
    assert reasons_of(scene.decide(request_for("a", "no"))) == {"ours": DeclineReason.LABEL_UNKNOWN}


@pytest.mark.parametrize(("min_ready", "expected"), [(-1, True), (0, False), (5, False)])
def test_a_label_can_be_switched_off(min_ready: int, expected: bool) -> None:
    scene = Scene([capacity_of(pool_of())], labels={"b": LabelRule(min_ready=min_ready)})
    decision = only(scene.decide(request_for("a", "b")))
    if expected:
        assert decision == Decline(decision.request, {"ours": DeclineReason.LABEL_DISABLED})
    else:
        assert isinstance(decision, Take)


@pytest.mark.parametrize("problem", [DeclineReason.LABEL_BROKEN, DeclineReason.IMAGE_MISSING])
def test_a_label_that_cannot_be_used_is_declined(problem: DeclineReason) -> None:
    scene = Scene([capacity_of(pool_of())], problems={"b": problem})
    assert reasons_of(scene.decide(request_for("a", "b"))) == {"ours": problem}
    assert isinstance(only(scene.decide(request_for("a", "a"))), Take)


def test_a_label_whose_cost_cannot_be_told_is_broken() -> None:
    scene = Scene([capacity_of(pool_of(labels=("a", "weird")))])
    assert reasons_of(scene.decide(request_for("a", "weird"))) == {"ours": DeclineReason.LABEL_BROKEN}


@pytest.mark.parametrize(
    "limits", [{"instances": 1}, {"cores": 3}, {"instances": 9, "cores": 9, "ram": 0, "volumes": 0}]
)
def test_more_than_the_pool_can_ever_be_is_declined(limits: dict[str, int]) -> None:
    scene = Scene([capacity_of(pool_of(limits=Resources.limit(limits)))])
    fits = limits == {"instances": 9, "cores": 9, "ram": 0, "volumes": 0}
    decision = only(scene.decide(request_for("a", "a")))
    assert isinstance(decision, Take if fits else Decline)
    if isinstance(decision, Decline):
        assert decision.reasons == {"ours": DeclineReason.OVER_QUOTA}


def test_more_than_the_provider_can_ever_be_is_declined() -> None:
    scene = Scene([capacity_of(pool_of())], limits=Resources.limit({"cores": 7}))
    assert reasons_of(scene.decide(request_for("big"))) == {"ours": DeclineReason.OVER_QUOTA}
    assert isinstance(only(scene.decide(request_for("a", "a", "b"))), Take)


@pytest.mark.parametrize(
    ("labels", "fits"),
    [
        (("a",), True),
        (("a", "b"), True),
        (("a", "a"), True),
        (("b", "b"), False),
        (("a", "a", "b"), False),
    ],
)
def test_more_hosts_than_there_are_is_declined_even_if_hosts_have_several_labels(
    labels: tuple[str, ...], fits: bool
) -> None:
    pool = static_pool(hosts={"h1": ("a", "b"), "h2": ("a",)})
    decision = only(Scene([capacity_of(pool)]).decide(request_for(*labels)))
    reason = decision.reasons if isinstance(decision, Decline) else None
    assert reason == (None if fits else {"ours": DeclineReason.OVER_QUOTA})


def test_slots_count_as_hosts() -> None:
    scene = Scene([capacity_of(static_pool(hosts={"h1": ("a", "b")}, slots=2))])
    assert isinstance(only(scene.decide(request_for("a", "b"))), Wait)
    assert reasons_of(scene.decide(request_for("a", "b", "a"))) == {"ours": DeclineReason.OVER_QUOTA}


def test_the_first_reason_counts() -> None:
    problems = {"a": DeclineReason.IMAGE_MISSING, "big": DeclineReason.LABEL_BROKEN}
    scene = Scene([capacity_of(pool_of())], problems=problems, limits=Resources.limit({"cores": 1}))
    assert reasons_of(scene.decide(request_for("a", "big"))) == {"ours": DeclineReason.IMAGE_MISSING}
    assert reasons_of(scene.decide(request_for("a", "no"))) == {"ours": DeclineReason.LABEL_UNKNOWN}
    assert reasons_of(scene.decide(request_for("b"))) == {"ours": DeclineReason.OVER_QUOTA}


def test_all_our_pools_that_never_will_decline_at_once() -> None:
    disabled = pool_of("off", name="off", limits=Resources.limit({"instances": 0}))
    small = pool_of("small", name="small", limits=Resources.limit({"cores": 1}))
    waiting = pool_of("full", name="full")
    refusing = [capacity_of(disabled), capacity_of(small)]
    expected = {"off": DeclineReason.POOL_DISABLED, "small": DeclineReason.OVER_QUOTA}
    assert reasons_of(Scene(refusing).decide(request_for("a"))) == expected
    assert reasons_of(Scene([*refusing, capacity_of(waiting, left=FULL)]).decide(request_for("a"))) == expected
    assert taker(Scene([*refusing, capacity_of(waiting)]).decide(request_for("a"))) == "full"


def test_a_pool_that_has_declined_is_not_asked_again() -> None:
    request = request_for("a", declined_by=("ours",))
    scene = Scene([capacity_of(pool_of())], [theirs()])
    assert scene.decide(request) == [Wait(request, WaitReason.DECLINED_HERE)]


@pytest.mark.parametrize(("declined_by", "fails"), [(("ours",), True), (("ours", "gone"), True), (("gone",), False)])
def test_what_all_that_are_left_have_declined_fails(declined_by: tuple[str, ...], fails: bool) -> None:
    request = request_for("a", declined_by=declined_by)
    decision = only(Scene([capacity_of(pool_of())]).decide(request))
    assert (decision == Decline(request, {})) is fails


# Yielding


def test_a_request_goes_to_the_provider_that_it_prefers() -> None:
    request = request_for("a", provider="q")
    scene = Scene([capacity_of(pool_of())], [theirs()])
    assert scene.decide(request) == [Wait(request, WaitReason.OTHER_PROVIDER)]


def test_the_preferred_provider_is_ours() -> None:
    pools = [capacity_of(pool_of("first", "p")), capacity_of(pool_of("second", "q"))]
    assert taker(Scene(pools).decide(request_for("a", provider="q"))) == "second"
    assert taker(Scene(pools).decide(request_for("a", provider="p"))) == "first"


def test_a_preference_comes_before_priority() -> None:
    pools = [capacity_of(pool_of("first", "p", priority=1)), capacity_of(pool_of("second", "q", priority=2))]
    assert taker(Scene(pools).decide(request_for("a", provider="q"))) == "second"


@pytest.mark.parametrize(
    ("others", "declined_by"),
    [((), ()), ((theirs(),), ("theirs",)), ((theirs(labels=("b",)),), ()), ((theirs(provider="r", priority=200),), ())],
    ids=["not registered", "has declined", "lacks the label", "another one"],
)
def test_a_preference_that_nobody_can_meet_is_ignored(others: tuple[Any, ...], declined_by: tuple[str, ...]) -> None:
    request = request_for("a", provider="q", declined_by=declined_by)
    assert taker(Scene([capacity_of(pool_of())], others).decide(request)) == "ours"


@pytest.mark.parametrize(
    ("other", "declined_by", "yields"),
    [
        (theirs(priority=50), (), True),
        (theirs(priority=50, paused=True), (), False),
        (theirs(priority=50), ("theirs",), False),
        (theirs(priority=50, labels=("b",)), (), False),
        (theirs(priority=200), (), False),
    ],
    ids=["better", "paused", "has declined", "lacks the label", "worse"],
)
def test_a_better_pool_of_another_launcher_goes_first(other: Any, declined_by: tuple[str, ...], yields: bool) -> None:
    request = request_for("a", declined_by=declined_by)
    decisions = Scene([capacity_of(pool_of())], [other]).decide(request)
    if yields:
        assert decisions == [Wait(request, WaitReason.BETTER_PRIORITY)]
    else:
        assert taker(decisions) == "ours"


def two_pools(left: Resources | None = None) -> list[Any]:
    """Two of our pools; ``left`` is what the better one has."""
    better, worse = pool_of("better", name="better", priority=1), pool_of("worse", name="worse", priority=3)
    return [capacity_of(better, left=left), capacity_of(worse)]


def test_our_better_pool_goes_first() -> None:
    assert taker(Scene(two_pools()).decide(request_for("a"))) == "better"


def test_our_worse_pool_steps_in_when_the_better_one_is_full() -> None:
    assert taker(Scene(two_pools(FULL)).decide(request_for("a"))) == "worse"


def test_our_worse_pool_steps_in_when_the_better_one_is_published_as_paused() -> None:
    pools = two_pools()
    pools[0].blocked = WaitReason.CLOUD_REFUSES
    assert taker(Scene(pools, paused=frozenset({"better"})).decide(request_for("a"))) == "worse"


def test_our_worse_pool_does_not_step_in_for_a_tenant_at_its_limit() -> None:
    request = request_for("a", tenant_name="t")
    scene = Scene(two_pools(), tenants={"t": FULL})
    assert scene.decide(request) == [Wait(request, WaitReason.TENANT_LIMIT)]


def test_our_worse_pool_waits_until_the_better_one_has_declined() -> None:
    pools = two_pools()
    pools[0] = capacity_of(pool_of("better", name="better", priority=1, limits=Resources.limit({"cores": 1})))
    assert reasons_of(Scene(pools).decide(request_for("a"))) == {"better": DeclineReason.OVER_QUOTA}
    assert taker(Scene(pools).decide(request_for("a", declined_by=("better",)))) == "worse"


def test_a_full_pool_of_ours_lets_no_other_overtake_a_better_one_of_another_launcher() -> None:
    decisions = Scene(two_pools(FULL), [theirs(priority=2)]).decide(request_for("a"))
    assert [type(one) for one in decisions] == [Wait, MakeRoom]


def test_a_pool_without_all_labels_leaves_it_to_one_that_has_them() -> None:
    request = request_for("a", "big")
    ours = capacity_of(pool_of(labels=("a",)))
    assert Scene([ours], [theirs()]).decide(request) == [Wait(request, WaitReason.OTHER_POOL)]
    assert reasons_of(Scene([ours]).decide(request)) == {"ours": DeclineReason.LABEL_UNKNOWN}
    declined = request_for("a", "big", declined_by=("theirs",))
    assert reasons_of(Scene([ours], [theirs()]).decide(declined)) == {"ours": DeclineReason.LABEL_UNKNOWN}


def test_an_operator_reads_what_stands_in_the_way_rather_than_who_decides() -> None:
    request = request_for("big")
    ours = [capacity_of(pool_of("narrow", labels=("a",))), capacity_of(pool_of(name="full"), launch_slots=0)]
    assert Scene(ours).decide(request) == [Wait(request, WaitReason.MAX_CONCURRENCY)]


# Equal pools of several launchers


def test_of_equal_pools_the_first_takes_it_at_once() -> None:
    request = that_goes_first_to("ours", "ours", "theirs")
    assert taker(Scene([capacity_of(pool_of())], [theirs(provider="p")]).decide(request)) == "ours"


@pytest.mark.parametrize(("seen", "until"), [({}, NOW + GRACE), (NOW - 0.1, NOW - 0.1 + GRACE)])
def test_the_others_wait_for_a_moment(seen: Any, until: float) -> None:
    request = that_goes_first_to("theirs", "ours", "theirs")
    first_seen = {request.id: seen} if seen else {}
    scene = Scene([capacity_of(pool_of())], [theirs(provider="p")], extra={"first_seen": first_seen})
    assert scene.decide(request) == [Wait(request, WaitReason.OTHER_LAUNCHER, until)]


def test_who_goes_first_is_found_for_each_request_of_a_kind() -> None:
    requests = [that_goes_first_to(winner, "ours", "theirs") for winner in ("theirs", "ours")]
    decisions = Scene([capacity_of(pool_of())], [theirs(provider="p")]).decide(*requests)
    assert [type(one) for one in decisions] == [Wait, Take]


def test_then_they_take_it() -> None:
    request = that_goes_first_to("theirs", "ours", "theirs")
    extra = {"first_seen": {request.id: NOW - GRACE}}
    assert taker(Scene([capacity_of(pool_of())], [theirs(provider="p")], extra=extra).decide(request)) == "ours"


@pytest.mark.parametrize(
    "other", [theirs(paused=True), theirs(priority=101), theirs(labels=("b",))], ids=["paused", "worse", "lacks it"]
)
def test_only_equal_pools_that_can_are_waited_for(other: Any) -> None:
    request = that_goes_first_to("theirs", "ours", "theirs")
    assert taker(Scene([capacity_of(pool_of())], [other]).decide(request)) == "ours"


def test_what_will_never_be_served_here_is_declined_without_waiting() -> None:
    request = that_goes_first_to("theirs", "ours", "theirs")
    pool = pool_of(limits=Resources.limit({"cores": 1}))
    assert reasons_of(Scene([capacity_of(pool)], [theirs()]).decide(request)) == {"ours": DeclineReason.OVER_QUOTA}


def test_pools_of_ours_do_not_wait_for_each_other() -> None:
    request = that_goes_first_to("second", "first", "second")
    pools = [capacity_of(pool_of("first", name="x")), capacity_of(pool_of("second", name="y"))]
    assert taker(Scene(pools).decide(request)) == "first"


def test_a_pool_is_disabled_by_its_limit_of_instances_only() -> None:
    assert not PoolSettings("main", {}, limits=Resources.limit({"cores": 0})).disabled
