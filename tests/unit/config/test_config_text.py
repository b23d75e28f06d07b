"""Reading a file: environment, encoding, and lines that stay right (spec config 1, 2)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodepool.config.problem import ConfigurationError, ConfigurationMissing
from nodepool.config.text import read_text, substitute, unset_variables
from tests.unit.config.reading import Files, lines

ENVIRONMENT = {"NODEPOOL_PORT": "8006", "NODEPOOL_EMPTY": "", "HOME": "/root", "NODEPOOL_LINES": "a: 1\nb: 2"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("port: %(NODEPOOL_PORT)", "port: 8006"),
        ("%(NODEPOOL_PORT): '%(NODEPOOL_PORT)%(NODEPOOL_PORT)' # %(NODEPOOL_PORT)", "8006: '80068006' # 8006"),
        ("a: %(NODEPOOL_EMPTY)b", "a: b"),
        ("%(NODEPOOL_PORT)s", "8006s"),
        ("%(HOME) %(nodepool_port) %(PORT) %NODEPOOL_PORT %(NODEPOOL_PORT", None),
        ("%(NODEPOOL_UNSET)", None),
        ("%%(NODEPOOL_PORT)", "%8006"),
    ],
)
def test_substitution(text: str, expected: str | None) -> None:
    assert substitute("f", text, ENVIRONMENT).text == (text if expected is None else expected)


def test_a_value_is_not_substituted_again() -> None:
    environment = {"NODEPOOL_A": "%(NODEPOOL_B)", "NODEPOOL_B": "b"}
    assert substitute("f", "%(NODEPOOL_A)", environment).text == "%(NODEPOOL_B)"


def test_lines_are_those_on_disk_though_a_value_has_several() -> None:
    source = substitute("f", "x: 0\n%(NODEPOOL_LINES)\nc: 3\n", ENVIRONMENT)
    assert source.text == "x: 0\na: 1\nb: 2\nc: 3\n"
    assert [source.line(source.text.index(key)) for key in "xabc"] == [1, 2, 2, 3]
    assert source.line_text(2) == "a: 1\nb: 2\n"
    assert source.line_text(9) == ""


def test_a_variable_may_hold_structure_and_is_typed_by_yaml(files: Files) -> None:
    files.write("webapp: {port: %(NODEPOOL_PORT)}\nlabels: %(NODEPOOL_LABELS)\nmax-hold-age: x\n")
    environment = {"NODEPOOL_PORT": "8006", "NODEPOOL_LABELS": "\n  - name: a\n  - name: 5"}
    assert [line for line in lines(files.validate(environment)) if "no pool" not in line] == [
        "nodepool.yaml:2: labels[1].name: expected text, got 5 (put it in quotes)",
        "nodepool.yaml:3: max-hold-age: expected a whole number of seconds, got 'x'",
    ]


def test_unset_variables_are_named_once() -> None:
    assert unset_variables("%(NODEPOOL_A) %(NODEPOOL_B) %(NODEPOOL_A) %(HOME)") == ("NODEPOOL_A", "NODEPOOL_B")


def test_a_missing_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationMissing, match=r"gone\.yaml: the file does not exist"):
        read_text(str(tmp_path / "gone.yaml"), {})


def test_a_directory_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"the file cannot be read by user id {os.geteuid()}: Is a directory"):
        read_text(str(tmp_path), {})


def test_a_file_name_that_no_system_has() -> None:
    with pytest.raises(ConfigurationError, match="the file name contains a NUL character"):
        read_text("a\0b", {})


def test_wrong_encoding_is_located(tmp_path: Path) -> None:
    path = tmp_path / "latin1.yaml"
    path.write_bytes("a: 1\nb: 2\nname: Zoë\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"latin1\.yaml:3: not UTF-8 text: the byte 0xeb"):
        read_text(str(path), {})


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_text(str(path), {}).text == "a: 1\n"
