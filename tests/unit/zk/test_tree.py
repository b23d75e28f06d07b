"""Which znodes there are, and what a transaction of ours has left."""

from __future__ import annotations

from nodepool.zk.store import Batch, Check, Committed, Create, Datum, Delete, SetData
from nodepool.zk.tree import Tree
from nodepool.zk.written import written

ROOT = "/nodepool/images"
DATUM = Datum(b"", 0, 1, 1, 0.0, 0.0, 0)


def tree(*paths: str) -> Tree:
    """With these znodes."""
    made = Tree(ROOT)
    made.apply(Batch(1, dict.fromkeys((ROOT, *(f"{ROOT}/{path}" for path in paths)), DATUM), complete=True))
    return made


def test_children_come_before_their_parents() -> None:
    known = tree("a", "a/b", "a/b/c", "a/d", "e")
    assert list(known.below(f"{ROOT}/a")) == [f"{ROOT}/{path}" for path in ("a/b/c", "a/b", "a/d", "a")]
    assert list(known.below(f"{ROOT}/nothing")) == []


def test_the_holder_of_a_lock_comes_first_and_odd_names_count() -> None:
    known = tree("lock", "lock/b__lock__0000000002", "lock/a__lock__0000000010", "lock/odd")
    order = known.contenders(f"{ROOT}/lock")
    assert order == ("b__lock__0000000002", "a__lock__0000000010", "odd")
    assert known.contenders(f"{ROOT}/none") == ()


def test_what_is_gone_is_gone_and_a_complete_batch_is_all_there_is() -> None:
    known = tree("a", "a/b")
    known.apply(Batch(1, {f"{ROOT}/a/b": None}, complete=False))
    assert f"{ROOT}/a/b" not in known
    assert known.children(f"{ROOT}/a") == []
    known.apply(Batch(1, {f"{ROOT}/z": DATUM, "/nodepool/nodes/1": DATUM}, complete=True))
    assert known.children(ROOT) == ["z"]
    assert "/nodepool/nodes/1" not in known


def test_missing_parents_are_created_from_the_top() -> None:
    known = tree("a")
    assert known.missing([f"{ROOT}/a", f"{ROOT}/a/b", f"{ROOT}/a/b/c"]) == [
        Create(f"{ROOT}/a/b"),
        Create(f"{ROOT}/a/b/c"),
    ]


def test_own_writes_are_told_as_the_feed_would_tell_them() -> None:
    operations = (
        Check("/fence"),
        Create("/a/", b"x", sequence=True),
        Create("/lock/me", ephemeral=True, sequence=True),
        SetData("/b", b"y", 3),
        Delete("/c"),
    )
    outcome = Committed((None, "/a/0000000001", "/lock/me0000000000", 4, None), zxid=9)
    entries = written(operations, outcome, lambda _: None, now=5.0, session=7)
    assert entries["/a/0000000001"] == Datum(b"x", 0, 9, 9, 5.0, 5.0, 0)
    assert entries["/lock/me0000000000"] == Datum(b"", 0, 9, 9, 5.0, 5.0, 7)
    assert entries["/b"] == Datum(b"y", 4, 0, 9, 5.0, 5.0, 0)
    assert entries["/c"] is None
    assert "/fence" not in entries
