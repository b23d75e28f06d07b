"""Which form of a list a header asks for (spec operation 8)."""

from __future__ import annotations

import pytest

from nodepool.web.accept import Form, form_for


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "*/*",
        "text/plain",
        "text/html",
        "text/*",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "application/json;q=0.5, text/plain",
        "application/json;q=0, */*",
        "application/json, text/plain, */*",
        "*",
    ],
)
def test_text(header: str | None) -> None:
    assert form_for(header) is Form.TEXT


@pytest.mark.parametrize(
    "header",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/*",
        "application/json, */*",
        "text/plain;q=0.5, application/json;q=0.9",
        "text/*;q=0, */*",
        "image/png, application/json;q=0.1",
    ],
)
def test_json(header: str) -> None:
    assert form_for(header) is Form.JSON


@pytest.mark.parametrize("header", ["image/png", "text/plain;q=0", "*/*;q=0", "application/json;q=x", "json", ";;,"])
def test_neither(header: str) -> None:
    assert form_for(header) is None
