"""Showing a list: once, or again and again as it changes (``--watch``)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nodepool.admin.colour import paint_for
from nodepool.admin.listing import Filter, Listing, check, select
from nodepool.admin.live import Screen, heading, moments
from nodepool.admin.operator import Operator, show, warn
from nodepool.admin.snapshot import snapshot
from nodepool.admin.table import Row, render
from nodepool.admin.views import chosen
from nodepool.zk.mirror import Mirror


@dataclass(frozen=True, slots=True)
class Asked:
    """How a list is to be shown."""

    filters: Sequence[Filter] = ()
    as_json: bool = False
    watch: float | None = None
    """Seconds between two pages when nothing changes; None: the list is shown once."""


def show_list(operator: Operator, listing: Listing, asked: Asked) -> None:
    """Show a list. Records that cannot be read become warnings.

    Raises :class:`~nodepool.admin.failure.CommandFailed` if a name in the filters is known nowhere.
    """
    if asked.watch is not None:
        if sys.stdout.isatty() and not asked.as_json:
            _show_pages(operator, listing, asked, asked.watch)
        else:
            _write_changes(operator, listing, asked, asked.watch)
        return
    mirror = snapshot(operator.client, listing.root)
    rows = _checked(operator, listing, asked, mirror)
    show(listing.columns, rows if asked.as_json else listing.in_table(rows, operator.clock()), asked.as_json)
    warn(listing.problems(mirror))


def _checked(operator: Operator, listing: Listing, asked: Asked, mirror: Mirror) -> list[Row]:
    rows = listing.rows(mirror, operator.clock())
    check(rows, asked.filters)
    return select(rows, asked.filters)


def _show_pages(operator: Operator, listing: Listing, asked: Asked, interval: float) -> None:
    paint = paint_for(os.environ, at_terminal=True)
    following = moments(operator, [listing.root], interval)
    _checked(operator, listing, asked, next(following)[0])
    with Screen() as screen:
        for mirror, _ in following:
            now = operator.clock()
            everything = listing.rows(mirror, now)
            rows = select(everything, asked.filters)
            shown = listing.in_table(rows[: screen.height], now)
            problems = listing.problems(mirror)
            counts = f"{len(rows)} of {len(everything)}" if asked.filters else str(len(rows))
            broken = [f"{len(problems)} records cannot be read: the list without --watch names them"]
            table = render(listing.columns, shown, paint).splitlines()
            above = [*heading(operator, f"{listing.title}: {counts}"), *(broken if problems else [])]
            screen.draw([*above, *table], left_out=len(rows) - len(shown))


def _write_changes(operator: Operator, listing: Listing, asked: Asked, interval: float) -> None:
    """One table, or one line of JSON, each time when something else than an age is different."""
    before: list[dict[str, Any]] | None = None
    for mirror, news in moments(operator, [listing.root], interval):
        if not news:
            continue
        if before is None:
            _checked(operator, listing, asked, mirror)
        now = operator.clock()
        rows = select(listing.rows(mirror, now), asked.filters)
        ageless = [{key: value for key, value in row.items() if key != "age"} for row in rows]
        if ageless != before:
            before = ageless
            if asked.as_json:
                print(json.dumps([chosen(listing.columns, row) for row in rows]), flush=True)
            else:
                print(render(listing.columns, listing.in_table(rows, now)) + "\n", flush=True)
