"""Rendezvous hashing: everybody agrees, the work is spread, and only what a vanished candidate had moves."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from nodepool.model import rendezvous

SUBJECTS = [f"100-{number:010}" for number in range(2000)]
POOLS = ["nl1", "nl2", "nl3", "nl4"]


def test_nobody_is_first_of_none() -> None:
    assert rendezvous.first("100-0000000001", []) is None


def test_the_only_one_is_first() -> None:
    assert rendezvous.first("100-0000000001", ["nl1"]) == "nl1"


def test_the_answer_is_the_same_in_every_process() -> None:
    # Written down once: a hash that differs from process to process would make all launchers wait for each other.
    assert [rendezvous.first(subject, POOLS) for subject in SUBJECTS[:6]] == ["nl4", "nl3", "nl4", "nl3", "nl3", "nl1"]


@given(st.text(), st.lists(st.text(), min_size=1), st.randoms())
def test_order_does_not_matter(subject: str, candidates: list[str], chance: object) -> None:
    shuffled = list(candidates)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert rendezvous.first(subject, shuffled) == rendezvous.first(subject, candidates)


@given(st.text(), st.lists(st.text(), min_size=2, unique=True), st.data())
def test_only_the_share_of_a_vanished_one_moves(subject: str, candidates: list[str], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(candidates))
    before = rendezvous.first(subject, candidates)
    after = rendezvous.first(subject, [one for one in candidates if one != gone])
    assert after != gone
    assert before in (gone, after)


def test_work_is_spread_evenly() -> None:
    shares = Counter(rendezvous.first(subject, POOLS) for subject in SUBJECTS)
    assert set(shares) == set(POOLS)
    assert all(400 < share < 600 for share in shares.values()), shares


def test_a_vanished_share_is_spread_over_the_rest() -> None:
    orphans = [subject for subject in SUBJECTS if rendezvous.first(subject, POOLS) == "nl2"]
    heirs = Counter(rendezvous.first(subject, ["nl1", "nl3", "nl4"]) for subject in orphans)
    assert all(heirs[pool] > len(orphans) / 5 for pool in ("nl1", "nl3", "nl4")), heirs
