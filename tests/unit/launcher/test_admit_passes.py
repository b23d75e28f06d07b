"""What holds for every pass of admission, whatever the requests."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nodepool.launcher.admit import PATIENCE, Decision, Decline, MakeRoom, Take
from nodepool.model.reasons import WaitReason
from nodepool.model.request import MIN_READY_REQUESTOR
from nodepool.model.resources import Resources
from tests.unit.launcher.admission_scene import Scene, capacity_of, free_node, pool_of, request_for
from tests.unit.launcher.parts import NOW


class Forgetful(dict[Any, WaitReason]):
    """Remembers no kind as hopeless, so that every request is considered."""

    def __setitem__(self, key: Any, value: WaitReason) -> None:
        del key, value


WISHES = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "b", "big"]), min_size=1, max_size=3),
        st.sampled_from([None, "t", "u"]),
        st.booleans(),
        st.booleans(),
    ),
    max_size=12,
)
"""Labels, tenant, whether nodes may be reused, whether it is for stock."""
AGES = st.sampled_from([0.0, PATIENCE])


def a_pass(
    wishes: list[Any], age: float, pool: int, quota: int, slots: int, nodes: int, **extra: Any
) -> list[Decision]:
    free = [free_node(str(number), "ab"[number % 2], az=f"z{number % 3}") for number in range(nodes)]
    capacity = capacity_of(
        pool_of(), free, Resources.limit({"instances": pool}), Resources.limit({"cores": quota}), slots
    )
    requests = [
        request_for(
            *labels,
            number=number,
            tenant_name=tenant,
            reuse=reuse,
            created_time=NOW - age,
            requestor=MIN_READY_REQUESTOR if for_stock else None,
        )
        for number, (labels, tenant, reuse, for_stock) in enumerate(wishes)
    ]
    return Scene([capacity], tenants={"t": Resources.limit({"cores": 9})}, extra=extra).decide(*requests)


ROOM = st.tuples(st.integers(0, 8), st.integers(0, 24), st.integers(0, 6), st.integers(0, 4))
"""Instances of the pool, cores of the provider, launches, free nodes."""


@given(WISHES, AGES, ROOM)
def test_nothing_is_given_twice_or_beyond_a_limit(wishes: Any, age: float, room: tuple[int, int, int, int]) -> None:
    decisions = a_pass(wishes, age, *room)
    takes = [one for one in decisions if isinstance(one, Take)]
    given_away = [node.id for one in takes for node in one.allocation.nodes if node is not None]
    assert len(set(given_away)) == len(given_away)
    launched = Resources.total(one.need for one in takes)
    pool, quota, slots, _ = room
    assert launched["instances"] <= pool
    assert launched["cores"] <= quota
    assert launched["instances"] == sum(node is None for one in takes for node in one.allocation.nodes)
    assert sum(one.tenant_need["cores"] for one in takes if one.request.tenant_name == "t") <= 9
    if slots == 0:
        assert not launched
    told = [one.request.id for one in decisions if not isinstance(one, MakeRoom)]
    assert told == [request_for("a", number=number).id for number in range(len(wishes))]


@given(WISHES, AGES, ROOM)
def test_passing_over_hopeless_kinds_changes_no_outcome(
    wishes: Any, age: float, room: tuple[int, int, int, int]
) -> None:
    quick, thorough = a_pass(wishes, age, *room), a_pass(wishes, age, *room, hopeless=Forgetful())
    # Taken or declined, and with what: a request that waits may be told another reason.
    done = [[one for one in decisions if isinstance(one, Take | Decline)] for decisions in (quick, thorough)]
    assert done[0] == done[1]
