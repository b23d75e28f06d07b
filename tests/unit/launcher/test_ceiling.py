"""What a cloud is believed to have room for after it refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import floats, integers

from nodepool.launcher.ceiling import LAST_STEP, REST, STEP, Ceiling, lowered, proved
from tests.unit.launcher.parts import NOW

FORGOTTEN = NOW + REST + (LAST_STEP + 1) * STEP
"""When a ceiling of :data:`NOW` is none any more."""


def test_a_refusal_proves_room_for_all_but_the_refused() -> None:
    ceiling = lowered(None, 8, NOW - 10, NOW)
    assert (ceiling.nodes, ceiling.allows(NOW)) == (7, 7)


def test_all_who_had_begun_and_are_refused_are_taken_off_one_by_one() -> None:
    ceiling = None
    for _ in range(40):
        ceiling = lowered(ceiling, 100, NOW - 1, NOW)
    assert ceiling is not None
    assert ceiling.allows(NOW) == 60


def test_it_rises_by_doubling_steps_after_a_rest() -> None:
    ceiling = lowered(None, 11, NOW - 1, NOW)
    allowed = [ceiling.allows(NOW + REST + seconds) for seconds in (-0.1, 0.0, STEP, 2 * STEP, 3 * STEP - 0.1)]
    assert allowed == [10, 11, 12, 14, 14]


def test_it_is_forgotten_when_the_cloud_has_not_refused_for_long() -> None:
    ceiling = Ceiling(10, NOW, NOW)
    assert ceiling.allows(FORGOTTEN - 0.1) == 10 + 2**LAST_STEP
    assert ceiling.allows(FORGOTTEN) is None
    assert lowered(ceiling, 50, NOW + 1, FORGOTTEN) == Ceiling(49, FORGOTTEN, FORGOTTEN)


def test_a_refusal_after_a_rise_keeps_what_the_rise_has_proved() -> None:
    ceiling = Ceiling(50, NOW, NOW)
    later = NOW + REST + 4 * STEP
    assert ceiling.allows(later) == 66
    for _ in range(6):
        # 16 were launched, and the cloud had room for ten of them.
        ceiling = lowered(ceiling, 66, later, later + 1)
    assert ceiling.allows(later + 1) == 60


def test_a_refusal_puts_the_next_rise_off() -> None:
    ceiling = lowered(Ceiling(10, NOW, NOW), 10, NOW - 1, NOW + REST)
    assert ceiling.allows(NOW + REST) == 9
    assert ceiling.next_rise(NOW + REST) == NOW + REST + REST


def test_nodes_of_others_do_not_raise_it() -> None:
    assert lowered(Ceiling(10, NOW, NOW), 100, NOW + 1, NOW + 2).allows(NOW + 2) == 10


@given(floats(1.5e9, 2.1e9), floats(0, 200), integers(0, 5000))
def test_the_next_rise_is_a_rise_and_in_the_future(refused: float, later: float, nodes: int) -> None:
    ceiling = Ceiling(nodes, refused, refused)
    now = refused + later
    allowed = ceiling.allows(now)
    if allowed is None:
        return
    rise = ceiling.next_rise(now)
    higher = ceiling.allows(rise)
    assert rise > now
    assert higher is None or higher > allowed


@given(integers(1, 200), integers(0, 200))
def test_a_burst_against_a_quota_finds_the_quota(quota: int, excess: int) -> None:
    """All are launched at once; those beyond the quota are refused one after the other."""
    ceiling = None
    for number in range(excess):
        ceiling = lowered(ceiling, quota + excess, NOW, NOW + number * 0.01)
    assert ceiling is None or ceiling.nodes == quota


def test_servers_that_are_there_prove_that_there_is_room_for_them() -> None:
    ceiling = lowered(None, 11, NOW - 1, NOW)
    assert proved(ceiling, 10) is ceiling
    raised = proved(ceiling, 15)
    assert (raised.nodes, raised.refused) == (15, NOW)
