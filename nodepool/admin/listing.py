"""The lists of ``nodepool``: where their records are, how those become rows, and which rows are wanted.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from nodepool.admin import image_views, views
from nodepool.admin.failure import CommandFailed
from nodepool.admin.table import Column, Row, printable
from nodepool.zk import paths
from nodepool.zk.mirror import Mirror

AtTime = Callable[[Iterable[Row], float], list[Row]]
"""Turns rows into those that a table shows at a time (epoch seconds)."""


def _unchanged(rows: Iterable[Row], now: float) -> list[Row]:  # noqa: ARG001
    return list(rows)


@dataclass(frozen=True, slots=True)
class Listing:
    """One list. ``rows`` takes the time in epoch seconds."""

    title: str
    root: str
    """Where its records are in ZooKeeper."""
    columns: Sequence[Column]
    rows: Callable[[Mirror, float], list[Row]]
    problems: Callable[[Mirror], list[str]]
    in_table: AtTime = _unchanged


@dataclass(frozen=True, slots=True)
class Filter:
    """Rows wanted: those with one of ``values`` in the column ``key``; without values all."""

    kind: str
    """What the values name, for messages."""
    key: str
    values: Sequence[str]
    known: Collection[str] = ()
    """Names that the configuration has."""


def nodes(columns: Sequence[Column]) -> Listing:
    """Nodes, with some of their columns."""
    return Listing("Nodes", paths.NODES, columns, views.nodes, views.problems)


def requests() -> Listing:
    """Node requests."""
    return Listing(
        "Requests", paths.REQUESTS, views.REQUEST_COLUMNS, lambda mirror, _: views.requests(mirror), views.problems
    )


def uploads() -> Listing:
    """Uploads of images."""
    return _of_images("Uploads", image_views.UPLOAD_COLUMNS, image_views.uploads)


def builds() -> Listing:
    """Builds of images."""
    return _of_images("Builds", image_views.BUILD_COLUMNS, image_views.builds)


def images() -> Listing:
    """Images."""
    return _of_images("Images", image_views.STATUS_COLUMNS, image_views.images)


def select(rows: Sequence[Row], filters: Iterable[Filter]) -> list[Row]:
    """The rows that all filters let through."""
    return [row for row in rows if all(not wanted.values or _has(row, wanted) for wanted in filters)]


def check(rows: Sequence[Row], filters: Iterable[Filter]) -> None:
    """Raise :class:`CommandFailed` for a value that neither the configuration nor any of all rows has."""
    for wanted in filters:
        there = {value for row in rows for value in _values(row, wanted.key)} | set(wanted.known)
        unknown = sorted(set(wanted.values) - there)
        if unknown:
            names = ", ".join(map(printable, sorted(there))) or "none"
            strange = ", ".join(map(printable, unknown))
            raise CommandFailed(
                f"Unknown {wanted.kind} {strange}: neither this configuration nor any record of "
                f"the list has it; there are: {names}"
            )


def _has(row: Row, wanted: Filter) -> bool:
    return not _values(row, wanted.key).isdisjoint(wanted.values)


def _values(row: Row, key: str) -> set[str]:
    value = row[key]
    if value is None:
        return set()
    return set(map(str, value)) if isinstance(value, list) else {str(value)}


def _of_images(title: str, columns: Sequence[Column], rows: Callable[[Mirror], list[Row]]) -> Listing:
    return Listing(
        title, paths.IMAGES, columns, lambda mirror, _: rows(mirror), image_views.problems, image_views.with_ages
    )
