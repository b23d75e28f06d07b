"""The status lists: which there are, and what of them is asked for (spec launcher 6, operation 8).

Pure. Columns and rows are those of the command line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from nodepool.admin import listing, views
from nodepool.admin.listing import Listing
from nodepool.admin.table import Column, Row, render
from nodepool.web.accept import Form
from nodepool.zk import paths
from nodepool.zk.mirror import Mirror


class UnknownFields(ValueError):
    """Columns were asked for that the list does not have; the message says which it has."""


def _labels(mirror: Mirror, _: float) -> list[Row]:
    """Labels of all registered pools, by name."""
    names = {label for pool in mirror.pools() for label in pool.supported_labels}
    return [{"label": label} for label in sorted(names)]


NODES = listing.nodes(views.NODE_DETAIL_COLUMNS)
LABELS = Listing("Labels", paths.COMPONENTS, (Column("label", "Label"),), _labels, lambda _: [])

OF_THE_BUILDER: Mapping[str, Listing] = {
    "image-list": listing.uploads(),
    "dib-image-list": listing.builds(),
    "image-status": listing.images(),
}
"""By the path under which they are told."""
OF_THE_LAUNCHER: Mapping[str, Listing] = {
    "node-list": NODES,
    "request-list": listing.requests(),
    "label-list": LABELS,
    **OF_THE_BUILDER,
}


def chosen_columns(columns: Sequence[Column], fields: str | None) -> tuple[Column, ...]:
    """The columns that ``fields`` names by key, separated by commas, in the list's own order; all if it names none.

    :raises UnknownFields: there is no such column
    """
    named = {name.strip() for name in (fields or "").split(",")} - {""}
    known = [column.key for column in columns]
    unknown = sorted(named.difference(known))
    if unknown:
        raise UnknownFields(f"fields: there is no column {unknown[0][:60]!r} here, but {', '.join(known)}")
    return tuple(column for column in columns if column.key in named or not named)


def rows_of(wanted: Listing, mirror: Mirror, node_id: str | None, now: float) -> list[Row]:
    """The rows at ``now`` (epoch seconds); of the node list only that of one node, if ``node_id`` names one."""
    if wanted is not NODES or node_id is None:
        return wanted.rows(mirror, now)
    node = mirror.node(node_id)
    return [] if node is None else [views.node_row(node, bool(mirror.node_locks.get(node_id)), now)]


def told(wanted: Listing, form: Form, columns: Sequence[Column], rows: Iterable[Row], now: float) -> bytes:
    """The rows with these columns, as they are sent; ``now`` is in epoch seconds."""
    if form is Form.JSON:
        return json.dumps([views.chosen(columns, row) for row in rows]).encode()
    return f"{render(columns, wanted.in_table(rows, now))}\n".encode("utf-8", "replace")
