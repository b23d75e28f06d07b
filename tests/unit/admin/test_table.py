"""The look of tables (spec launcher 6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodepool.admin.table import Column, Row, cell, render

COLUMNS = (Column("id", "ID"), Column("labels", "Labels"))


def test_rows() -> None:
    rows: list[Row] = [{"id": "0000000001", "labels": ["a", "b"]}, {"id": "0000000002", "labels": None}]
    assert render(COLUMNS, rows) == (
        "+------------+--------+\n"
        "| ID         | Labels |\n"
        "+------------+--------+\n"
        "| 0000000001 | a,b    |\n"
        "| 0000000002 |        |\n"
        "+------------+--------+"
    )


def test_no_rows_rule_header_rule_rule() -> None:
    assert render(COLUMNS, []) == "+----+--------+\n| ID | Labels |\n+----+--------+\n+----+--------+"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0, "0"),
        ([], ""),
        (["a", 1], "a,1"),
        ({"instance": "i-1"}, "{'instance': 'i-1'}"),
        (False, "False"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\ud800", "\\ud800"),
        ("grün", "grün"),
    ],
)
def test_cells(value: object, text: str) -> None:
    assert cell(value) == text


def test_wide_and_combining_characters_keep_the_rules_straight() -> None:
    table = render((Column("id", "ID"),), [{"id": "日本"}, {"id": "e\u0301"}, {"id": "abcd"}])
    assert table.splitlines()[3:6] == ["| 日本 |", "| e\u0301    |", "| abcd |"]


@given(st.lists(st.lists(st.one_of(st.none(), st.text(), st.integers()), min_size=2, max_size=2)))
def test_a_row_is_always_one_line(rows: list[list[object]]) -> None:
    table = render(COLUMNS, [{"id": first, "labels": second} for first, second in rows])
    assert len(table.splitlines()) == len(rows) + 4
    assert table.encode()
