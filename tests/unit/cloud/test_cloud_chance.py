"""Chance from a seed: repeatable, and independent of the order of draws."""

from __future__ import annotations

import statistics
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.cloud.chance import Chance, Spread
from tools.cloud.timeline import Timeline, from_iso, iso


def test_the_order_of_draws_for_different_things_does_not_matter() -> None:
    names = [f"np{number}" for number in range(20)]
    one, other = Chance(1), Chance(1)
    forward = {name: one.fraction("boot", name) for name in names}
    backward = {name: other.fraction("boot", name) for name in reversed(names)}
    assert forward == backward
    assert len(set(forward.values())) == len(names)


def test_each_draw_for_one_thing_is_another_and_another_seed_is_all_different() -> None:
    one, other = Chance(1), Chance(2)
    draws = [one.fraction("fault", "np1") for _ in range(5)]
    assert len(set(draws)) == 5
    assert draws != [other.fraction("fault", "np1") for _ in range(5)]


def test_fractions_are_spread_evenly() -> None:
    chance = Chance(3)
    draws = [chance.fraction("x", str(number)) for number in range(4000)]
    assert 0.48 < statistics.mean(draws) < 0.52
    assert sum(draw < 0.05 for draw in draws) == pytest.approx(200, abs=60)


def test_identifiers_are_uuids() -> None:
    identifier = Chance(1).identifier("server", "np1")
    assert str(uuid.UUID(identifier)) == identifier


def test_a_log_normal_spread_has_its_median_and_its_tail() -> None:
    spread = Spread.parse({"median": 5, "p99": 60}, "boot")
    assert spread.at(0.5) == pytest.approx(5)
    assert spread.at(0.99) == pytest.approx(60)


@given(
    st.one_of(
        st.floats(0, 1000),
        st.lists(st.floats(0, 1000), min_size=2, max_size=2).map(sorted),
        st.fixed_dictionaries({"median": st.floats(0.1, 10), "p99": st.floats(10, 1000)}),
    ),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=2),
)
def test_a_spread_is_monotone_and_never_negative(value: object, fractions: list[float]) -> None:
    spread = Spread.parse(value, "boot")
    values = [spread.at(fraction) for fraction in sorted(fractions)]
    assert values == sorted(values)
    assert values[0] >= 0


def test_events_come_in_order_at_their_own_time_and_may_make_more() -> None:
    timeline = Timeline(100.0)
    seen: list[tuple[str, float]] = []

    def first() -> None:
        seen.append(("first", timeline.now))
        timeline.after(1, lambda: seen.append(("inner", timeline.now)))

    timeline.after(3, lambda: seen.append(("last", timeline.now)))
    timeline.after(1, first)
    timeline.advance(100.5)
    assert seen == []
    timeline.advance(110)
    assert seen == [("first", 101.0), ("inner", 102.0), ("last", 103.0)]
    assert timeline.now == 110


@given(st.integers(0, 4_000_000_000))
def test_times_are_written_and_read_alike(second: int) -> None:
    assert from_iso(iso(second + 0.7)) == second


def test_a_plus_that_became_a_blank_in_a_query_is_understood() -> None:
    assert from_iso("2026-01-31T10:00:00 00:00") == from_iso("2026-01-31T10:00:00Z")
