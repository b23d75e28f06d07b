"""The quick node list tells, byte for byte, what the plain one tells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nodepool.web import lists
from nodepool.web.accept import Form
from nodepool.web.node_list import NodeList
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Batch, Datum
from tests.unit.web.test_lists import NODE, NOW, mirror


def plain(mirror: Mirror, form: Form, now: float) -> bytes:
    return lists.told(lists.NODES, form, lists.NODES.columns, lists.NODES.rows(mirror, now), now)


class Scene:
    """A mirror that changes, and the list that is kept of it."""

    def __init__(self) -> None:
        self.mirror = mirror()
        self.nodes = NodeList()
        self._version = 0

    def change(self, path: str, value: Any) -> None:
        """A node's record, or None to remove it; for a path below a node its data do not matter."""
        self._version += 1
        data = b"" if value is None or isinstance(value, str) else json.dumps(value).encode()
        datum = None if value is None else Datum(data, self._version, 1, 1, NOW, NOW, 0)
        self.mirror.apply(Batch(1, {f"/nodepool/nodes/{path}": datum}, complete=False))

    def check(self, now: float = NOW) -> bytes:
        """Compare both forms; returns the text."""
        for form in Form:
            assert self.nodes.told(self.mirror, form, now) == plain(self.mirror, form, now)
        return self.nodes.told(self.mirror, Form.TEXT, now)


@pytest.mark.parametrize("now", [NOW - 1e6, NOW, NOW + 1.5, NOW + 1e6])
def test_ages_go_on(now: float) -> None:
    scene = Scene()
    scene.check()
    scene.check(now)


def test_changes_are_told() -> None:
    scene = Scene()
    scene.check()
    scene.change("0000000001", {**NODE, "state": "used", "state_time": None})
    assert b"used" in scene.check()
    scene.change("0000000001/lock/aa__lock__0000000000", None)
    assert b" locked " not in scene.check()
    scene.change("0000000007", {"state": "building", "type": [], "comment": 'a "quoted", "age": text'})
    assert b"0000000007" in scene.check()
    scene.change("0000000001", None)
    assert b"0000000001" not in scene.check()


def test_wide_and_odd_characters() -> None:
    scene = Scene()
    scene.change("0000000007", {**NODE, "comment": "日本\n\x1b[31m é"})
    assert "日本\\n\\x1b[31m é".encode() in scene.check()
    scene.change("0000000007", {**NODE, "comment": "%s %%"})
    assert b"| %s %%" in scene.check()


def test_no_nodes() -> None:
    scene = Scene()
    scene.mirror = Mirror()
    scene.check()
