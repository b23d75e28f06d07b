"""How far launchers went beyond a quota, and what explains it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.endurance.overshoot import UNSEEN, Overshoot, overshoot
from tests.journal import Change, Kind, Transaction

FIRST, SECOND = 1, 2


def make(node: int, provider: str = "east") -> Change:
    """A node's record is made."""
    return Change(Kind.CREATE, f"/root/nodepool/nodes/{node:010}", json.dumps({"provider": provider}).encode())


def remove(node: int) -> Change:
    """A node's record is removed."""
    return Change(Kind.DELETE, f"/root/nodepool/nodes/{node:010}")


def measured(*steps: tuple[int, float, tuple[Change, ...]]) -> Overshoot:
    """What is found after launchers did this at these times, with a quota of two."""

    def journal() -> Iterator[Transaction]:
        for number, (session, time, changes) in enumerate(steps):
            yield Transaction(session, number, time, changes)

    return overshoot(journal(), "/root", "east", 2)


def test_what_fits_is_no_overshoot() -> None:
    assert measured((FIRST, 0, (make(1), make(2))), (FIRST, 9, (remove(1),)), (SECOND, 9, (make(3),))) == Overshoot(
        0, 0
    )


def test_what_another_launcher_has_just_made_explains_it() -> None:
    assert measured((FIRST, 0, (make(1), make(2))), (SECOND, 0.1, (make(3), make(4)))) == Overshoot(2, 0)


def test_what_it_made_itself_or_must_have_seen_does_not() -> None:
    assert measured((FIRST, 0, (make(1), make(2))), (FIRST, 0.1, (make(3),))) == Overshoot(1, 1)
    assert measured((FIRST, 0, (make(1), make(2))), (SECOND, UNSEEN + 1, (make(3),))) == Overshoot(1, 1)


def test_nodes_of_other_providers_do_not_count() -> None:
    assert measured((FIRST, 0, (make(1), make(2, "west"), make(3, "west")))).worst <= 0
