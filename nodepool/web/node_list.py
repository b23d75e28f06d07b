"""The node list as a whole, made quickly however many nodes there are.

Pure. What it tells is what :mod:`nodepool.web.lists` tells, byte for byte; but what stands of a node in a list is kept
until its record or its lock changes, so that only ages are new each second.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from nodepool.admin import views
from nodepool.admin.table import cell, render
from nodepool.model.node import Node
from nodepool.web.accept import Form
from nodepool.zk.mirror import Entry, Mirror

COLUMNS = views.NODE_DETAIL_COLUMNS
_AGE = [column.key for column in COLUMNS].index("age")


@dataclass(frozen=True, slots=True)
class _Known:
    """What is told of a node, but its age."""

    entry: Entry[Node]
    locked: bool
    state_time: float | None
    before: tuple[str, ...]
    """The cells before the age."""
    after: tuple[str, ...]
    is_ascii: bool
    """Whether each character of the cells takes one column of a terminal."""
    head: str
    """The JSON object before its age."""
    tail: str


class NodeList:
    """See the module's description. Belongs to the thread whose mirror it is told of."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def told(self, mirror: Mirror, form: Form, now: float) -> bytes:
        """All nodes by id, with all columns, as they are sent; ``now`` is in epoch seconds."""
        nodes = self._up_to_date(mirror)
        if form is Form.JSON:
            return f"[{', '.join(node.head + json.dumps(_age(node, now)) + node.tail for node in nodes)}]".encode()
        if not all(node.is_ascii for node in nodes):
            return f"{render(COLUMNS, views.nodes(mirror, now))}\n".encode("utf-8", "replace")
        return _table([(*node.before, _age(node, now) or "", *node.after) for node in nodes]).encode()

    def _up_to_date(self, mirror: Mirror) -> list[_Known]:
        nodes = []
        before, self._known = self._known, {}
        for node_id in sorted(mirror.nodes):
            entry = mirror.nodes[node_id]
            if entry.record is None:
                continue
            locked = bool(mirror.node_locks.get(node_id))
            known = before.get(node_id)
            if known is None or known.entry is not entry or known.locked is not locked:
                known = _read(entry, entry.record, locked)
            self._known[node_id] = known
            nodes.append(known)
        return nodes


def _read(entry: Entry[Node], node: Node, locked: bool) -> _Known:
    row = views.chosen(COLUMNS, views.node_row(node, locked, 0.0))
    cells = tuple(cell(value) for value in row.values())
    head, tail = (dict(part) for part in (list(row.items())[:_AGE], list(row.items())[_AGE + 1 :]))
    return _Known(
        entry,
        locked,
        node.state_time,
        cells[:_AGE],
        cells[_AGE + 1 :],
        all(text.isascii() for text in cells),
        f'{json.dumps(head)[:-1]}, "age": ',
        f", {json.dumps(tail)[1:]}",
    )


def _age(node: _Known, now: float) -> str | None:
    return None if node.state_time is None else views.age(now - node.state_time)


def _table(rows: list[tuple[str, ...]]) -> str:
    """As :func:`nodepool.admin.table.render` makes it of cells that are ASCII."""
    lines = [tuple(column.header for column in COLUMNS), *rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    rule = f"+{'+'.join('-' * (width + 2) for width in widths)}+"
    form = f"| {' | '.join(f'%-{width}s' for width in widths)} |"
    header, *body = [form % cells for cells in lines]
    return "\n".join([rule, header, rule, *body, rule, ""])
