"""Which form of a list somebody wants, from the header ``Accept`` (spec operation 8, RFC 9110 12.5.1). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum


class Form(Enum):
    """A form in which lists are told; the value is the header ``Content-Type``."""

    TEXT = "text/plain; charset=utf-8"
    JSON = "application/json"


_OFFERS = (("text/html", Form.TEXT), ("text/plain", Form.TEXT), ("application/json", Form.JSON))
"""Media types that are answered, with the form; who accepts HTML gets text. Of two that fit alike the first counts."""


def form_for(accept: str | None) -> Form | None:
    """The form that fits best, None if none does. Without the header it is text.

    Of two media types with the same quality the one that was named more exactly is wanted more.
    """
    if accept is None or not accept.strip():
        return Form.TEXT
    best, best_rank = None, (0.0, -1)
    ranges = list(_ranges(accept))
    for media_type, form in _OFFERS:
        rank = _rank(media_type, ranges)
        if rank[0] > 0.0 and rank > best_rank:
            best, best_rank = form, rank
    return best


def _rank(media_type: str, ranges: list[tuple[str, float]]) -> tuple[float, int]:
    """Quality of a media type, and how exactly it was named: the most exact range decides on it."""
    kind = media_type.partition("/")[0]
    for exactness, pattern in ((2, media_type), (1, f"{kind}/*"), (0, "*/*")):
        qualities = [quality for named, quality in ranges if named == pattern]
        if qualities:
            return max(qualities), exactness
    return 0.0, -1


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.split(","):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((value[2:] for value in parameters if value.startswith("q=")), "1")
        yield "*/*" if media_range == "*" else media_range, _quality(quality)


def _quality(text: str) -> float:
    """A quality between 0 and 1; what is none counts as 0."""
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0.0 <= number <= 1.0 else 0.0
