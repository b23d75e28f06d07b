"""Names of lock contenders (spec zookeeper 6.1) and the paths of everything (spec zookeeper 2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodepool.zk import paths
from nodepool.zk.contenders import ahead_of, queue, sequence_of

HEX = "0123456789abcdef0123456789abcdef"
UUID = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        (f"{HEX}__lock__0000000000", 0),
        (f"{HEX}__lock__0000000017", 17),
        (f"{UUID}__lock__2147483647", 2147483647),
        (f"{HEX}__lock__-2147483648", -2147483648),
        ("__lock__0000000001", 1),
    ],
)
def test_a_contender(name: str, sequence: int) -> None:
    assert sequence_of(name) == sequence


@pytest.mark.parametrize(
    "name", ["", "lock", HEX, f"{HEX}__lock__", f"{HEX}__lock__1", f"{HEX}__lock__0000000001x", f"{HEX}0000000001"]
)
def test_what_is_no_contender(name: str) -> None:
    assert sequence_of(name) is None


names = st.lists(
    st.tuples(st.sampled_from([HEX, UUID]), st.integers(-(2**31), 2**31 - 1)), unique_by=lambda pair: pair[1]
).map(lambda pairs: [f"{prefix}__lock__{number:010d}" for prefix, number in pairs])


@given(names, st.lists(st.sampled_from(["lock", "x", HEX]), max_size=3))
def test_the_queue_is_ordered_by_sequence_and_not_by_name(contenders: list[str], others: list[str]) -> None:
    known = [name for name in contenders if sequence_of(name) is not None]
    order = queue([*contenders, *others])
    assert sorted(order) == sorted(known)
    assert [sequence_of(name) for name in order] == sorted(
        number for name in known if (number := sequence_of(name)) is not None
    )
    for place, name in enumerate(order):
        assert ahead_of(name, contenders) == order[:place]


def test_everybody_is_ahead_of_a_contender_that_is_not_in_the_queue() -> None:
    assert ahead_of(f"{HEX}__lock__0000000009", [f"{HEX}__lock__0000000010"]) == (f"{HEX}__lock__0000000010",)


def test_paths() -> None:
    assert paths.node("0000004711") == "/nodepool/nodes/0000004711"
    assert paths.node_lock("0000004711") == "/nodepool/nodes/0000004711/lock"
    assert paths.request("200-0000031337") == "/nodepool/requests/200-0000031337"
    assert paths.request_lock("200-0000031337") == "/nodepool/requests-lock/200-0000031337"
    assert paths.components("pool") == "/nodepool/components/pool"
    assert paths.election("stats") == "/nodepool/elections/stats"
    assert paths.image("debian") == "/nodepool/images/debian"
    assert paths.build("debian", "4c8e") == "/nodepool/images/debian/builds/4c8e"
    assert paths.upload("debian", "4c8e", "rdo-1", "0000000001") == (
        "/nodepool/images/debian/builds/4c8e/providers/rdo-1/images/0000000001"
    )


def test_nothing_is_ever_below_a_request() -> None:
    """Zuul deletes requests without their children (spec zookeeper 2.1)."""
    assert not paths.request_lock("200-0000031337").startswith(paths.REQUESTS + "/")


def test_parents() -> None:
    assert paths.parents("/nodepool/nodes/1/lock") == ["/nodepool", "/nodepool/nodes", "/nodepool/nodes/1"]
    assert paths.parents("/nodepool") == []
