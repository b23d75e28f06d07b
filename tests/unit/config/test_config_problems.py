"""Every rule of nodepool.yaml, and what the operator reads when it is broken.

The cases stand in ``problems/*.txt``: ``### TITLE``, a file, ``=>``, and all lines that are to be reported for it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.reading import Files, lines

Case = tuple[str, list[str]]


def read_cases(path: Path) -> dict[str, Case]:
    cases = {}
    for block in path.read_text().split("### ")[1:]:
        title, _, rest = block.partition("\n")
        text, _, expected = rest.partition("=>\n")
        cases[f"{path.stem}: {title}"] = (text, expected.strip().splitlines())
    return cases


CASES = {
    title: case
    for path in sorted((Path(__file__).parent / "problems").glob("*.txt"))
    for title, case in read_cases(path).items()
}


@pytest.mark.parametrize("title", CASES)
def test_every_problem_is_reported_with_line_and_path(files: Files, title: str) -> None:
    text, expected = CASES[title]
    files.write(text)
    assert lines(files.validate()) == expected


def test_the_cases_are_there() -> None:
    assert len(CASES) > 30
