"""Rows as an ASCII table, in the look that operators' scripts cut (spec launcher 6, cli 3).

Pure. A cell always stays on its line: whatever could move the cursor of a terminal is shown as an escape, since
records are written by many parties.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
"""Values by key, of the types that the JSON form has."""
Paint = Callable[[str, str], str]
"""Gives a cell its colour: from the column's key and the cell's text, padded, to what is written."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: the key of its values in a row (and in JSON) and its header in a table."""

    key: str
    header: str


def render(columns: Sequence[Column], rows: Iterable[Row], paint: Paint | None = None) -> str:
    """The table, without a line end after the last rule. Without rows: rule, header, rule, rule.

    ``paint`` is asked for each cell; it must not change the room that the cell takes.
    """
    lines = [[column.header for column in columns]]
    lines += [[cell(row[column.key]) for column in columns] for row in rows]
    widths = [max(map(_width, texts)) for texts in zip(*lines, strict=True)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    header, *body = (_padded(texts, widths) for texts in lines)
    if paint is not None:
        keys = [column.key for column in columns]
        body = [[paint(key, text) for key, text in zip(keys, texts, strict=True)] for texts in body]
    return "\n".join([rule, _line(header), rule, *map(_line, body), rule])


def cell(value: Any) -> str:
    """A value as one line of text: nothing for None, the items of a list joined by commas, else its text."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ",".join(cell(item) for item in value)
    return printable(str(value))


def printable(text: str) -> str:
    """The text with all characters escaped that do not print: controls, line ends, lone surrogates."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _padded(texts: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [text + " " * (width - _width(text)) for text, width in zip(texts, widths, strict=True)]


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _width(text: str) -> int:
    """Columns of a terminal that the text takes."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
