"""Who knows the token."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from nodepool.web.access import knows, read_token

TOKEN = "0123456789abcdef0123"


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer  {TOKEN}", basic(f"me:{TOKEN}"), basic(f":{TOKEN}")])
def test_who_knows_it(header: str) -> None:
    assert knows(TOKEN, header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        TOKEN,
        "Bearer",
        f"Bearer {TOKEN}0",
        f"Bearer {TOKEN[:-1]}",
        "Bearer ü",
        f"Token {TOKEN}",
        basic(TOKEN),
        basic(f"{TOKEN}:"),
        "Basic !",
        "Basic /w==",
    ],
)
def test_who_does_not(header: str | None) -> None:
    assert not knows(TOKEN, header)


def test_a_file_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    assert read_token(str(path)) == TOKEN


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is shorter than 16 characters"),
        (b"short-secret", "is shorter than 16 characters"),
        (b"two secret words in it", "holds more than one word"),
        (b"secret-secret-secret\nsecret", "holds more than one word"),
        ("secretsecretsecretü".encode(), "holds more than ASCII characters"),
    ],
)
def test_a_file_that_holds_none(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=complaint) as refusal:
        read_token(str(path))
    assert str(path) in str(refusal.value)
    assert "(make one with: openssl rand -hex 32)" in str(refusal.value)
    assert "secret" not in str(refusal.value).replace(str(path), "")
