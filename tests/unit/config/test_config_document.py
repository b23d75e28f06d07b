"""YAML with marks: what it says, and in which line (spec config 1)."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
import yaml

from nodepool.config.document import Document, parse
from nodepool.config.problem import ConfigurationError, Path
from nodepool.config.text import substitute


def read(text: str, *, secret: bool = False) -> Document:
    return parse(substitute("f", textwrap.dedent(text).lstrip("\n"), {}), secret=secret)


ANCHORS = """
base: &base            # 1
  name: base           # 2
  tags: &tags          # 3
    - one              # 4
    - two              # 5
more: &more {x: 1}     # 6
list:                  # 7
  - *base              # 8
  - <<: [*more, *base] # 9
    name: own          # 10
    again: *tags       # 11
  - {<<: *base, y: 2}  # 12
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("base",), 1),
        (("base", "tags"), 3),
        (("base", "tags", 1), 5),
        (("list",), 7),
        (("list", 0), 1),
        (("list", 0, "name"), 2),
        (("list", 1), 9),
        (("list", 1, "name"), 10),
        (("list", 1, "tags"), 3),
        (("list", 1, "x"), 6),
        (("list", 1, "again"), 11),
        (("list", 1, "again", 1), 5),
        (("list", 2, "name"), 2),
        (("list", 2, "y"), 12),
        (("list", 2, "missing"), 12),
        (("list", 2, "missing", "deeper"), 12),
        (("list", 7), 7),
        (("list", "name"), 7),
    ],
)
def test_lines(path: Path, line: int) -> None:
    assert read(ANCHORS).line(path) == line


def test_data_is_what_pyyaml_says() -> None:
    assert read(ANCHORS).data == yaml.safe_load(ANCHORS)


@pytest.mark.parametrize(
    "text",
    [
        "{a: {<<: {x: 1, y: 1}, x: 2}}",
        "a: {x: 1, <<: {x: 2}}",
        "a: {<<: [{x: 1}, {x: 2, y: 2}], <<: {z: 3}}",
        "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, z: 3}",
        "- [yes, no, on, ~, 1_000, 0x10, 0o7, 1.5, .inf, 12:30:45, '1', 2024-01-01]",
        "'<<': 1",
        "a: |\n  b\n  c\nd: >\n  e\n  f\n",
        "1: a\ntrue: b\nnull: c\n",
        "",
        "---\n...\n",
    ],
)
def test_same_data_as_pyyaml(text: str) -> None:
    assert read(text).data == yaml.safe_load(text)


def test_a_key_that_stands_twice_counts_last_and_is_reported() -> None:
    document = read("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n")
    assert document.data == {"a": 1, "b": {"c": 3, "d": 2}}
    assert [(flaw.line, flaw.path, flaw.tolerated) for flaw in document.flaws] == [(5, ("b", "c"), True)]
    assert document.line(("b", "c")) == 5


def test_a_merged_key_may_be_overridden_without_a_report() -> None:
    assert read("a: &a {x: 1}\nb: {<<: *a, x: 2}\n").flaws == ()


def test_the_same_value_twice_is_one_flaw() -> None:
    assert len(read("a: &a {x: 1, x: 2}\nb: *a\nc: {<<: *a}\n").flaws) == 1


SYNTAX: list[tuple[str, str]] = [
    (
        "a: [1\nb: 2",
        "f:2: not valid YAML: expected ',' or ']', but got ':' (column 2), "
        "while parsing a flow sequence that begins in line 1",
    ),
    (
        "a:\n\t- b",
        "f:2: not valid YAML: found character '\\t' that cannot start any token: indent with blanks, not with tabs "
        "(column 1)",
    ),
    (
        "a: b: c",
        "f:1: not valid YAML: mapping values are not allowed here: wrong indentation, or a text with ': ' that needs "
        "quotes (column 5)",
    ),
    (
        "a:\n  - b: 1\n c: 2\n",
        "f:3: not valid YAML: expected <block end>, but found '<block mapping start>': the indentation does not fit "
        "the lines above (column 2), while parsing a block mapping that begins in line 1",
    ),
    (
        "x: %(NODEPOOL_P)",
        "f:1: the environment variable NODEPOOL_P is not set, and what stands for it is not valid YAML (set it)",
    ),
    (
        "a: @b # %(NODEPOOL_P)",
        "f:1: not valid YAML: found character '@' that cannot start any token: put the text in quotes (column 4)",
    ),
    ("- *x", "f:1: not valid YAML: found undefined alias 'x' (column 3)"),
    (
        "a: !secret b",
        "f:1: could not determine a constructor for the tag '!secret' (remove the tag, or put the text in quotes)",
    ),
    (
        "a: !!python/object:os.system {}",
        "f:1: the tag 'tag:yaml.org,2002:python/object:os.system' is not supported (remove it)",
    ),
    ("a: !!set {b, c}", "f:1: the tag 'tag:yaml.org,2002:set' is not supported (remove it)"),
    ("a: !!int x", "f:1: 'x' is not a valid int (put it in quotes?)"),
    ("a: 2024-13-01", "f:1: '2024-13-01' is not a valid timestamp (put it in quotes?)"),
    ("? [a]\n: b", "f:1: a key must be plain text, not a list or a mapping (are braces quoted?)"),
    ("a: 1\n{b}: c", "f:2: a key must be plain text, not a list or a mapping (are braces quoted?)"),
    ("a: &x [*x]", "f:1: an alias leads back to the anchor that contains it (remove the alias)"),
    ("a: &x {<<: *x}", "f:1: an alias leads back to the anchor that contains it (remove the alias)"),
    ("a: 1\nb: \x07", "f:2: the character U+0007 is not allowed in YAML"),
    ("<<: 1", "f:1: '<<' takes a mapping or a list of mappings, usually an alias such as '*name'"),
    (
        "a: 1\n---\nb: 2",
        "f:2: not valid YAML: a second document begins here, but a file holds one (remove the '---') (column 1)",
    ),
    (
        "a: 'x\n\n",
        "f:2: not valid YAML: found unexpected end of stream (column 1), while scanning a quoted scalar that "
        "begins in line 1",
    ),
    ("[" * 2000, "f: lists and mappings are nested too deeply"),
    ("a: " + "9" * 5000, f"f:1: '{'9' * 60}' is not a valid int (put it in quotes?)"),
]


@pytest.mark.parametrize(("text", "expected"), SYNTAX)
def test_what_is_not_yaml_is_one_located_problem(text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    assert str(caught.value) == expected


@pytest.mark.parametrize("text", [text for text, _ in SYNTAX])
def test_nothing_of_the_secure_file_is_shown(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(text, secret=True)
    message = caught.value.problems[0].message
    assert message in (
        "not valid YAML (nothing of this file is shown here)",
        "the environment variable NODEPOOL_P is not set, and what stands for it is not valid YAML (set it)",
        "lists and mappings are nested too deeply",
    )


def test_aliases_that_multiply_are_refused() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigurationError, match="f:6: the aliases in this file stand for more than 1000000 values"):
        read("\n".join(rows))


def test_an_alias_may_be_used_often() -> None:
    data: Any = read("a: &a {x: [1, 2]}\nb: [" + ", ".join(["*a"] * 1000) + "]").data
    assert len(data["b"]) == 1000
