"""What is kept of the output of a check."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodepool.driver.readycheck.output import Tail, harmless, on_one_line


def test_little_output_is_kept_whole_and_in_order() -> None:
    tail = Tail()
    tail.add(b"one\n")
    tail.add(b"two\n")
    assert (tail.text, tail.total) == ("one\ntwo\n", 8)


def test_of_much_output_the_end_is_kept() -> None:
    tail = Tail(limit=4)
    for part in (b"abc", b"defgh", b"i"):
        tail.add(part)
    assert tail.text == "(5 bytes before this are left out)\nfghi"


@given(st.lists(st.binary(max_size=50)), st.integers(1, 60))
def test_the_tail_is_the_end_of_all_that_was_added(parts: list[bytes], limit: int) -> None:
    tail = Tail(limit)
    for part in parts:
        tail.add(part)
    everything = b"".join(parts)
    assert tail.total == len(everything)
    assert tail.text.endswith(harmless(everything[-limit:].decode(errors="replace")))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("a\tb\r\nc\n", "a\tb\nc\n"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("10%\r20%", r"10%\r20%"),
        ("bell\x07 nul\x00 c1\x9b", r"bell\x07 nul\x00 c1\x9b"),
        ("right-to-left \u202e, separator \u2028", r"right-to-left \u202e, separator \u2028"),
        ("Grüße ✓ 🙂", "Grüße ✓ 🙂"),
    ],
)
def test_what_cannot_be_printed_is_escaped(raw: str, text: str) -> None:
    assert harmless(raw) == text


@given(st.text())
def test_whatever_comes_is_harmless(raw: str) -> None:
    assert all(one.isprintable() or one in "\n\t" for one in harmless(raw))


def test_bytes_that_are_not_text_are_replaced() -> None:
    tail = Tail()
    tail.add(b"a\xffb\xc3")
    assert tail.text == "a\ufffdb\ufffd"


def test_a_long_command_is_named_by_its_beginning() -> None:
    assert on_one_line("if a\n  then b\nfi\x07") == r"if a then b fi\x07"
    assert on_one_line("x" * 200, limit=10) == "xxxxxxxxx…"
