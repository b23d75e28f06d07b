"""Quota arithmetic (spec launcher 2.6)."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from nodepool.model.resources import Resources

NAMES = ("instances", "cores", "ram", "volume-gb")
vectors = st.dictionaries(st.sampled_from(NAMES), st.integers(-50, 50)).map(Resources)
needs = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 50)).map(Resources)
limits = st.dictionaries(st.sampled_from(NAMES), st.none() | st.integers(-1, 60)).map(Resources.limit)


@given(vectors, vectors, vectors)
def test_sums(a: Resources, b: Resources, c: Resources) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c) == Resources.total([a, b, c])
    assert a + Resources() == a
    assert a + b - b == a
    assert a - a == Resources()


@given(vectors, st.integers(0, 9))
def test_multiples(a: Resources, count: int) -> None:
    assert a * count == Resources.total([a] * count)


@given(vectors, vectors)
def test_equal_vectors_have_equal_hashes(a: Resources, b: Resources) -> None:
    assert (a == b) == all(a[name] == b[name] for name in NAMES)
    if a == b:
        assert hash(a) == hash(b)


@given(vectors)
def test_a_vector_is_false_when_it_is_nothing(a: Resources) -> None:
    assert bool(a) == any(a[name] for name in NAMES)
    assert a.names() == tuple(sorted(name for name in NAMES if a[name]))
    assert Resources(dict.fromkeys(NAMES, 0)) == Resources()


@given(needs, limits)
def test_what_fits(need: Resources, limit: Resources) -> None:
    assert need.fits_in(limit) == all(need[name] <= limit[name] for name in NAMES if name in limit)
    assert need.fits_in(limit) == (not need.shortage(limit))
    assert all(need[name] > limit[name] for name in need.shortage(limit))


@given(needs, needs, limits)
def test_what_remains(used: Resources, need: Resources, limit: Resources) -> None:
    """Something fits in what remains exactly when it fits together with what is used."""
    assert need.fits_in(limit.remaining(used)) == (need + used).fits_in(limit)


@given(needs, needs, limits)
def test_less_fits_wherever_more_does(a: Resources, b: Resources, limit: Resources) -> None:
    if (a + b).fits_in(limit):
        assert a.fits_in(limit)


@given(needs, limits, limits)
def test_both_limits(need: Resources, first: Resources, second: Resources) -> None:
    assert need.fits_in(first.both(second)) == (need.fits_in(first) and need.fits_in(second))
    assert first.both(second) == second.both(first)


@given(needs, limits)
def test_names_that_a_limit_does_not_mention_are_free(need: Resources, limit: Resources) -> None:
    assert need.fits_in(Resources.limit({}))
    more = need + Resources({name: 1000 for name in NAMES if name not in limit})
    assert more.fits_in(limit) == need.fits_in(limit)


def test_limits_that_limit_nothing() -> None:
    """None, infinity and negative numbers mean no limit; 0 is one."""
    limit = Resources.limit({"a": None, "b": math.inf, "c": -1, "d": 0, "e": 2})
    assert limit.names() == ("d", "e")
    assert Resources(a=9, b=9, c=9).fits_in(limit)
    assert not Resources(d=1).fits_in(limit)
    assert Resources(e=2).fits_in(limit)
    assert not Resources(e=3).fits_in(limit)


def test_a_remaining_limit_of_nothing_is_still_a_limit() -> None:
    rest = Resources.limit({"instances": 2}).remaining(Resources(instances=2))
    assert "instances" in rest
    assert not Resources(instances=1).fits_in(rest)
    overdrawn = Resources.limit({"instances": 2}).remaining(Resources(instances=5))
    assert overdrawn["instances"] == -3
    assert not Resources().fits_in(overdrawn)


def test_zero_amounts_of_a_need_are_no_need() -> None:
    assert Resources(cores=0) == Resources()
    assert Resources(cores=0).fits_in(Resources.limit({"cores": 0}))
    assert Resources({"volume-gb": 0.5})["volume-gb"] == 0.5


@given(vectors)
def test_a_vector_survives_a_node_record(a: Resources) -> None:
    assert Resources.from_json(json.loads(json.dumps(a.to_json()))) == a


def test_reading_from_a_record() -> None:
    assert Resources.from_json({"cores": 4, "ram": "8192", "x": None, "y": True, "z": math.nan}) == Resources(cores=4)
    assert Resources.from_json({}) == Resources()
    values: tuple[object, ...] = (None, [], "4", 4)
    for value in values:
        assert Resources.from_json(value) is None


def test_what_a_vector_says_of_itself() -> None:
    assert repr(Resources(ram=1, cores=2)) == "Resources(cores=2, ram=1)"
    assert Resources(cores=1) != {"cores": 1}
