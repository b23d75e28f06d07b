"""Saving and restoring image data: what is in the file, what is refused, and what is written in which order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodepool.admin import image_data
from nodepool.admin.failure import CommandFailed
from nodepool.zk.store import Create, Datum, Delete, Operation, SetData

ROOT = "/nodepool/images"
BUILD = '{"state": "ready", "formats": "raw", "surprise": [1]}'
UPLOAD = '{"state": "ready", "external_id": "7"}'
WEST = f"{ROOT}/jammy/builds/b1/providers/west/images"
DATA = {
    f"{ROOT}/jammy/pause": "",
    f"{ROOT}/jammy/builds/b1": BUILD,
    f"{WEST}/0000000003": UPLOAD,
    f"{WEST}/0000000007": UPLOAD,
}
EMPTY: Mapping[str, Datum] = {ROOT: Datum(b"", 0, 1, 1, 0.0, 0.0, 0)}


def datum(data: str | bytes, version: int = 0) -> Datum:
    return Datum(data if isinstance(data, bytes) else data.encode(), version, 1, 1, 0.0, 0.0, 0)


class ZooKeeper:
    """As much of a server as the import needs: it refuses what ZooKeeper refuses, and counts what it counts."""

    def __init__(self, tree: Mapping[str, Datum]) -> None:
        self.tree = {"/nodepool": datum(""), **tree}
        self.created: dict[str, int] = {}

    def commit(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            path = operation.path
            folder = path.rpartition("/")[0]
            match operation:
                case Create(data=data):
                    assert folder in self.tree, f"{path}: no parent"
                    assert path not in self.tree, f"{path}: exists"
                    self.tree[path] = datum(data)
                    self.created[folder] = self.created.get(folder, 0) + 1
                case SetData(data=data, version=version):
                    assert self.tree[path].version == version
                    self.tree[path] = datum(data, version + 1)
                case Delete():
                    del self.tree[path]

    def texts(self) -> dict[str, str]:
        return dict(image_data.exported(self.tree).data)


def imported(data: Mapping[str, str], tree: Mapping[str, Datum] = EMPTY) -> ZooKeeper:
    server = ZooKeeper(tree)
    for transaction in image_data.restoration(data, tree):
        server.commit(transaction)
    return server


def test_export_has_builds_uploads_and_pause_flags_and_nothing_else() -> None:
    tree = {path: datum(text) for path, text in DATA.items()}
    for path in ("", "/jammy", "/jammy/builds", "/jammy/request-build", "/jammy/builds/lock", "/jammy/builds/b1/lock"):
        tree[ROOT + path] = datum("")
    tree[f"{ROOT}/jammy/builds/lock/x__lock__0000000001"] = datum("me")
    tree[f"{WEST}/lock"] = datum("")
    tree[f"{WEST}/0000000003/lock"] = datum("")
    export = image_data.exported(tree)
    assert export.data == DATA
    assert export.problems == []


def test_export_leaves_out_what_cannot_be_read_and_says_so() -> None:
    tree = {f"{ROOT}/a/builds/b": datum(""), f"{ROOT}/c/builds/b": datum(b'{"state": "\xff"}')}
    export = image_data.exported(tree)
    assert export.data == {}
    assert len(export.problems) == 2


def test_import_restores_what_was_saved() -> None:
    read = image_data.read(image_data.written(DATA))
    assert read.problems == []
    assert imported(read.data).texts() == DATA


def test_no_number_of_an_upload_is_given_again() -> None:
    assert imported(DATA).created[WEST] > 7


def test_an_import_can_be_repeated_and_go_on_where_it_was_interrupted() -> None:
    assert image_data.restoration(DATA, imported(DATA).tree) == []
    many = {f"{ROOT}/image{number}/builds/b": BUILD for number in range(500)}
    transactions = image_data.restoration(many, EMPTY)
    assert len(transactions) > 2
    assert all(len(transaction) <= image_data.BATCH for transaction in transactions)
    server = ZooKeeper(EMPTY)
    server.commit(transactions[0])
    for transaction in image_data.restoration(many, server.tree):
        server.commit(transaction)
    assert server.texts() == many


def test_long_records_make_more_transactions() -> None:
    text = json.dumps({"state": "ready", "x": "x" * 150_000})
    transactions = image_data.restoration({f"{ROOT}/i{number}/builds/b": text for number in range(9)}, EMPTY)
    assert max(sum(len(getattr(one, "data", b"")) for one in made) for made in transactions) <= image_data.BATCH_BYTES


def test_an_empty_record_that_is_in_the_way_is_filled() -> None:
    tree = {
        **{path: datum("") for path in (ROOT, f"{ROOT}/jammy", f"{ROOT}/jammy/builds", WEST.rpartition("/")[0])},
        f"{ROOT}/jammy/builds/b1": datum("", 4),
        f"{ROOT}/jammy/builds/b1/providers": datum(""),
        WEST: datum(""),
        f"{WEST}/0000000007": datum("", 2),
    }
    assert imported(DATA, tree).texts() == DATA


def test_import_never_overwrites() -> None:
    present = {**EMPTY, f"{ROOT}/jammy/builds/b1": datum('{"state": "deleting"}')}
    with pytest.raises(CommandFailed, match="b1: ZooKeeper holds another record there"):
        image_data.restoration(DATA, present)


def test_import_makes_no_build_out_of_nothing() -> None:
    with pytest.raises(CommandFailed, match="the build of this upload is missing"):
        image_data.restoration({f"{WEST}/0000000003": UPLOAD}, EMPTY)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("/nodepool/nodes/0000000001", "{}", "it is no path of"),
        ("/zookeeper/quota", "{}", "it is no path of"),
        (f"{ROOT}/jammy", "", None),
        (f"{ROOT}/jammy", "x", "it is no path of"),
        (f"{ROOT}/../builds/b", BUILD, "it is no path of"),
        (f"{ROOT}//builds/b", BUILD, "it is no path of"),
        (f"{ROOT}/jammy/builds/lock", BUILD, "it is no path of"),
        (f"{WEST}/lock", UPLOAD, "it is no path of"),
        (f"{WEST}/7", UPLOAD, "ten digits"),
        (f"{WEST}/0001000001", UPLOAD, "may not be above 1000000"),
        (f"{ROOT}/jammy/pause", "\ud800", "can't decode"),
        (f"{ROOT}/jammy/builds/b", 7, "text is expected, found int"),
        (f"{ROOT}/jammy/builds/b", "{", "not JSON"),
        (f"{ROOT}/jammy/builds/b", '{"state": "melted"}', "'melted' is not one of"),
        (f"{WEST}/0000000001", "{}", "the key 'state' is missing"),
    ],
)
def test_bad_entries_are_named(path: str, value: Any, problem: str | None) -> None:
    text = json.dumps({f"{ROOT}/good/builds/b": BUILD, path: value})
    if problem is None:
        assert path not in image_data.read(text).data
        return
    with pytest.raises(CommandFailed, match=f"nothing was imported\n.*{problem}"):
        image_data.read(text)


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"'])
def test_bad_files(text: str) -> None:
    with pytest.raises(CommandFailed):
        image_data.read(text)


def test_records_without_data_are_left_out_of_an_import() -> None:
    read = image_data.read(json.dumps({f"{ROOT}/a/builds/b": "", f"{ROOT}/a/pause": ""}))
    assert read.data == {f"{ROOT}/a/pause": ""}
    assert len(read.problems) == 1


NAMES = st.sampled_from(["a", "a-b", "b", "ä", "a b"])


@st.composite
def image_data_of_a_site(draw: st.DrawFn) -> dict[str, str]:
    data = {f"{ROOT}/{name}/pause": "" for name in draw(st.sets(NAMES))}
    for image, build in draw(st.sets(st.tuples(NAMES, NAMES), max_size=6)):
        path = f"{ROOT}/{image}/builds/{build}"
        data[path] = BUILD
        for provider, number in draw(st.sets(st.tuples(NAMES, st.integers(0, 40)), max_size=4)):
            data[f"{path}/providers/{provider}/images/{number:010}"] = UPLOAD
    return data


@given(image_data_of_a_site(), st.data())
def test_whatever_was_saved_comes_back(data: dict[str, str], choice: st.DataObject) -> None:
    read = image_data.read(image_data.written(data)).data
    server = ZooKeeper(EMPTY)
    done = image_data.restoration(read, EMPTY)
    for transaction in done[: choice.draw(st.integers(0, len(done)))]:
        server.commit(transaction)
    for transaction in image_data.restoration(read, server.tree):
        server.commit(transaction)
    assert server.texts() == data
    for path in data:
        folder, _, number = path.rpartition("/")
        if folder.endswith("/images") and "/providers/" in folder:
            assert server.created[folder] > int(number)
