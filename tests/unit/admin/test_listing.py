"""Filters of lists, and the colours of states."""

from __future__ import annotations

import pytest

from nodepool.admin.colour import paint_for
from nodepool.admin.failure import CommandFailed
from nodepool.admin.listing import Filter, check, select
from nodepool.admin.table import Column, Row, render

ROWS: list[Row] = [
    {"id": "1", "label": ["jammy", "noble"], "provider": "west", "state": "ready"},
    {"id": "2", "label": ["noble"], "provider": None, "state": "failed"},
    {"id": "3", "label": [], "provider": "east", "state": "ready"},
]


def ids(*filters: Filter) -> list[str]:
    return [row["id"] for row in select(ROWS, filters)]


def test_all_filters_hold_and_any_value_of_one_does() -> None:
    assert ids() == ["1", "2", "3"]
    assert ids(Filter("label", "label", ["noble"])) == ["1", "2"]
    assert ids(Filter("provider", "provider", ["east", "west"])) == ["1", "3"]
    assert ids(Filter("label", "label", ["jammy"]), Filter("state", "state", ["failed"])) == []
    assert ids(Filter("provider", "provider", [])) == ["1", "2", "3"]


def test_a_name_that_is_only_configured_or_only_recorded_is_known() -> None:
    check(ROWS, [Filter("provider", "provider", ["east", "south"], {"south": 1})])


def test_a_name_that_nobody_knows_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(CommandFailed) as caught:
        check(ROWS, [Filter("provider", "provider", ["e\x1bst", "west"], {"south": 1})])
    assert str(caught.value) == (
        "Unknown provider e\\x1bst: neither this configuration nor any record of the list has it; "
        "there are: east, south, west"
    )


@pytest.mark.parametrize(
    ("environment", "at_terminal", "coloured"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
        ({"TERM": "xterm"}, False, False),
    ],
)
def test_when_colours_are_used(environment: dict[str, str], at_terminal: bool, coloured: bool) -> None:
    assert (paint_for(environment, at_terminal=at_terminal) is not None) == coloured


def test_colours_take_no_room_and_only_states_have_one() -> None:
    columns = [Column("label", "Label"), Column("state", "State")]
    rows = [{"label": "ready", "state": "ready"}, {"label": "x", "state": "used"}]
    painted = render(columns, rows, paint_for({"TERM": "xterm"}, at_terminal=True))
    assert painted.splitlines()[3] == "| ready | \x1b[32mready\x1b[0m |"
    assert painted.replace("\x1b[32m", "").replace("\x1b[0m", "") == render(columns, rows)
