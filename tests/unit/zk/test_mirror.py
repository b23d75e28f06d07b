"""The mirror of ZooKeeper's tree: whatever comes in which order, it ends as what ZooKeeper holds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodepool.model.states import NodeState
from nodepool.zk.mirror import Changes, Mirror
from nodepool.zk.store import Batch, Datum

CONTENDER = "0123456789abcdef0123456789abcdef__lock__0000000001"
LATER = "fedcba98-7654-3210-fedc-ba9876543210__lock__0000000002"
NODES = ("0000000001", "0000000002")

PATHS = (
    *(f"/nodepool/nodes/{node}" for node in NODES),
    *(f"/nodepool/nodes/{node}/lock/{name}" for node in NODES for name in (CONTENDER, LATER)),
    "/nodepool/nodes/lock",
    "/nodepool/nodes/0000000001/lock/odd-name",
    "/nodepool/requests/200-0000000001",
    "/nodepool/requests/200-0000000001/child",
    "/nodepool/requests/odd",
    f"/nodepool/requests-lock/200-0000000001/{CONTENDER}",
    f"/nodepool/requests-lock/200-0000000001/{LATER}",
    "/nodepool/requests-lock/200-0000000009",
    f"/nodepool/images/debian/builds/lock/{CONTENDER}",
    "/nodepool/images/debian/pause",
    "/nodepool/images/debian/request-build",
    "/nodepool/images/debian/builds/b1",
    f"/nodepool/images/debian/builds/b1/lock/{CONTENDER}",
    "/nodepool/images/debian/builds/b1/providers/p/images/0000000001",
    f"/nodepool/images/debian/builds/b1/providers/p/images/lock/{CONTENDER}",
    f"/nodepool/images/debian/builds/b1/providers/p/images/0000000001/lock/{CONTENDER}",
    "/nodepool/components/pool/nl10000000001",
    "/nodepool/components/launcher/nl10000000001",
    f"/nodepool/elections/stats/{CONTENDER}",
    "/nodepool/drained/provider/p",
    "/nodepool/unknown/x/y",
)
CONTENTS = (b"", b"{", b"[]", b'{"state": "ready"}', b'{"state": "failed", "provider": "p"}', b'{"provider": "q"}')


@dataclass
class Tree:
    """What ZooKeeper holds, and which paths changed since they were read last."""

    znodes: dict[str, Datum] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)
    zxid: int = 0

    def write(self, path: str, data: bytes) -> list[str]:
        """Create a znode with its parents, or set its data; says what was touched."""
        self.zxid += 1
        known = self.znodes.get(path)
        if known is not None:
            self.znodes[path] = replace(known, data=data, version=known.version + 1, mzxid=self.zxid)
            touched = [path]
        else:
            parts = path.split("/")
            touched = ["/".join(parts[:count]) for count in range(3, len(parts) + 1)]
            touched = [parent for parent in touched if parent not in self.znodes]
            for parent in touched:
                own = data if parent == path else b""
                self.znodes[parent] = Datum(own, 0, self.zxid, self.zxid, float(self.zxid), float(self.zxid), 0)
        self._touch(touched)
        return touched

    def delete(self, path: str) -> list[str]:
        """Delete a znode and all below it, children first."""
        doomed = sorted((known for known in self.znodes if known == path or known.startswith(path + "/")), key=len)
        self.zxid += 1
        for known in doomed:
            del self.znodes[known]
        self._touch(doomed[::-1])
        return doomed[::-1]

    def _touch(self, paths: list[str]) -> None:
        for path in paths:
            self.changed.pop(path, None)
            self.changed[path] = None

    def read_changes(self, limit: int) -> dict[str, Datum | None]:
        """What a feed reads: the present state of the paths that changed first."""
        paths = list(self.changed)[:limit]
        for path in paths:
            del self.changed[path]
        return {path: self.znodes.get(path) for path in paths}

    def read_all(self) -> dict[str, Datum | None]:
        """What a feed reads after it was connected."""
        self.changed.clear()
        return dict(self.znodes)


def contents(mirror: Mirror) -> dict[str, Any]:
    """All that a mirror holds."""
    return {name: value for name, value in vars(mirror).items() if not name.startswith("_")}


def fresh(tree: Tree, session: int = 7) -> Mirror:
    """A mirror that has seen nothing but the tree as it is."""
    mirror = Mirror()
    mirror.apply(Batch(session, dict(tree.znodes), complete=True))
    return mirror


def apply(mirror: Mirror, entries: dict[str, Datum | None], *, complete: bool = False, session: int = 7) -> Changes:
    return mirror.apply(Batch(session, entries, complete))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(PATHS), st.sampled_from(CONTENTS), st.booleans()),
        st.tuples(st.just("delete"), st.sampled_from(PATHS), st.just(b""), st.booleans()),
        st.tuples(st.sampled_from(["read some", "read all", "arrive"]), st.just(""), st.just(b""), st.booleans()),
    ),
    max_size=60,
)


@given(steps)
def test_any_sequence_of_batches_ends_as_the_tree(history: list[tuple[str, str, bytes, bool]]) -> None:
    """Batches are read at one time and arrive at another; some writes are our own and seen at once."""
    tree, mirror = Tree(), Mirror()
    apply(mirror, {}, complete=True)
    on_its_way: list[tuple[dict[str, Datum | None], bool]] = []
    for what, path, data, own in history:
        match what:
            case "write" | "delete":
                touched = tree.write(path, data) if what == "write" else tree.delete(path)
                if own:
                    mirror.apply_own({name: tree.znodes.get(name) for name in touched})
            case "read some":
                on_its_way.append((tree.read_changes(3), False))
            case "read all":
                on_its_way.append((tree.read_all(), True))
            case "arrive" if on_its_way:
                entries, complete = on_its_way.pop(0)
                apply(mirror, entries, complete=complete)
    for entries, complete in on_its_way:
        apply(mirror, entries, complete=complete)
    apply(mirror, tree.read_changes(1000))
    assert contents(mirror) == contents(fresh(tree))


@given(steps, steps)
def test_a_complete_batch_replaces_everything(
    before: list[tuple[str, str, bytes, bool]], after: list[tuple[str, str, bytes, bool]]
) -> None:
    """Also one of another ZooKeeper, whose zxids and versions mean nothing beside those that were seen."""
    old, new = Tree(), Tree()
    for tree, history in ((old, before), (new, after)):
        for what, path, data, _ in history:
            if what == "write":
                tree.write(path, data)
    mirror = fresh(old)
    changes = apply(mirror, dict(new.znodes), complete=True, session=8)
    assert contents(mirror) == contents(fresh(new))
    assert changes.complete
    assert {node for node in NODES if f"/nodepool/nodes/{node}" in {*old.znodes, *new.znodes}} <= changes.nodes


def node_datum(version: int = 0, czxid: int = 5, state: str = "ready", **values: Any) -> Datum:
    data = json.dumps({"state": state, **values}).encode()
    return Datum(data, version, czxid, czxid + version, 1.0, 1.0, 0)


def test_stale_data_never_wins_over_our_own_write() -> None:
    mirror = Mirror()
    apply(mirror, {"/nodepool/nodes/1": node_datum()}, complete=True)
    mirror.apply_own({"/nodepool/nodes/1": node_datum(2, state="deleting")})
    for stale in (node_datum(), node_datum(1, state="in-use")):
        apply(mirror, {"/nodepool/nodes/1": stale})
        node = mirror.node("1")
        assert node is not None
        assert (node.state, mirror.nodes["1"].version) == (NodeState.DELETING, 2)
    apply(mirror, {"/nodepool/nodes/1": stale}, complete=True)
    assert mirror.nodes["1"].version == 2


def test_a_znode_made_anew_counts_though_its_version_is_smaller() -> None:
    mirror = Mirror()
    apply(mirror, {"/nodepool/nodes/1": node_datum(9, czxid=5)}, complete=True)
    apply(mirror, {"/nodepool/nodes/1": node_datum(0, czxid=20, state="init")})
    assert (mirror.nodes["1"].version, mirror.nodes["1"].czxid) == (0, 20)
    apply(mirror, {"/nodepool/nodes/1": node_datum(12, czxid=5)})
    assert (mirror.nodes["1"].version, mirror.nodes["1"].czxid) == (0, 20)


def test_our_own_creation_is_replaced_by_what_the_feed_says_of_it() -> None:
    """The zxid of our own transaction is not always known."""
    mirror = Mirror()
    mirror.apply_own({"/nodepool/nodes/1": node_datum(0, czxid=0)})
    apply(mirror, {"/nodepool/nodes/1": node_datum(0, czxid=5)})
    assert mirror.nodes["1"].czxid == 5
    mirror.apply_own({"/nodepool/nodes/2": node_datum(0, czxid=0), "/nodepool/nodes/3": node_datum(1, czxid=0)})
    apply(mirror, {"/nodepool/nodes/2": node_datum(1, czxid=6), "/nodepool/nodes/3": node_datum(0, czxid=7)})
    assert (mirror.nodes["2"].version, mirror.nodes["3"].version) == (1, 1)


def test_another_ensemble_is_believed_after_a_new_session() -> None:
    """An ensemble that was restored from a backup knows less than we have seen."""
    mirror = Mirror()
    apply(mirror, {"/nodepool/nodes/1": node_datum(9, state="in-use")}, complete=True, session=7)
    apply(mirror, {"/nodepool/nodes/1": node_datum(3, state="ready")}, complete=True, session=8)
    assert mirror.nodes["1"].version == 3
    assert mirror.node("1") is not None


def test_own_writes_say_what_they_touched() -> None:
    changes = Mirror().apply_own(
        {
            "/nodepool/nodes/1": node_datum(),
            f"/nodepool/nodes/2/lock/{CONTENDER}": node_datum(),
            "/nodepool/requests/200-0000000001": None,
            f"/nodepool/requests-lock/200-0000000002/{CONTENDER}": None,
        }
    )
    assert (changes.nodes, changes.requests, changes.request_locks) == (
        {"1", "2"},
        {"200-0000000001"},
        {"200-0000000002"},
    )
    assert [changes.uploads, changes.components, changes.elections, changes.complete] == [False] * 4


def test_a_batch_says_what_it_touched() -> None:
    datum = node_datum()
    assert apply(Mirror(), {"/nodepool/components/pool/x": datum}).components
    assert apply(Mirror(), {f"/nodepool/elections/stats/{CONTENDER}": datum}).elections
    assert apply(Mirror(), {"/nodepool/images/i/builds/b/providers/p/images/0000000001": datum}).uploads
    nothing = apply(
        Mirror(), {"/nodepool": datum, "/nodepool/nodes": datum, "/zuul/x/y/z": datum, "/nodepool/x/y": datum}
    )
    assert nothing == Changes()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b'"x"', "a JSON object is expected"),
        (b"{}", "'state' is missing"),
        (b'{"state": "resting"}', "not one of"),
    ],
)
@pytest.mark.parametrize(
    ("path", "where", "key"),
    [
        ("/nodepool/nodes/0000000001", "nodes", "0000000001"),
        ("/nodepool/requests/200-0000000001", "requests", "200-0000000001"),
        ("/nodepool/images/i/builds/b", "builds", ("i", "b")),
        ("/nodepool/images/i/builds/b/providers/p/images/0000000001", "uploads", ("i", "b", "p", "0000000001")),
    ],
)
def test_a_broken_record_is_quarantined_and_stops_no_other(
    path: str, where: str, key: Any, data: bytes, problem: str
) -> None:
    mirror = Mirror()
    broken = Datum(data, 3, 5, 6, 1.0, 1.0, 0)
    others = {"/nodepool/nodes/9": node_datum(), "/nodepool/requests/200-0000000009": node_datum(state="requested")}
    apply(mirror, {path: broken, **others}, complete=True)
    entry = getattr(mirror, where)[key]
    assert entry.record is None
    assert problem in entry.problem
    assert (entry.version, entry.empty) == (3, data == b"")
    assert mirror.node("9") is not None
    assert mirror.request("200-0000000009") is not None
    assert mirror.node("0000000001") is None
    assert mirror.request("200-0000000001") is None


def test_a_broken_record_that_is_mended_counts_again() -> None:
    mirror = Mirror()
    apply(mirror, {"/nodepool/nodes/1": Datum(b"{", 0, 5, 5, 1.0, 1.0, 0)}, complete=True)
    apply(mirror, {"/nodepool/nodes/1": node_datum(1)})
    assert mirror.node("1") is not None
    assert mirror.nodes["1"].problem == ""
    apply(mirror, {"/nodepool/nodes/1": Datum(b"[", 2, 5, 7, 1.0, 1.0, 0)})
    assert mirror.node("1") is None


@pytest.mark.parametrize("name", ["odd", "200", "200-1", "1-2-0000000001", "lock"])
def test_a_request_with_an_odd_name_is_quarantined(name: str) -> None:
    mirror = Mirror()
    apply(mirror, {f"/nodepool/requests/{name}": node_datum(state="requested")}, complete=True)
    assert mirror.request(name) is None
    assert "ten digits" in mirror.requests[name].problem


def test_locks() -> None:
    mirror = Mirror()
    lock, request_lock = "/nodepool/nodes/1/lock", "/nodepool/requests-lock/200-0000000001"
    none = Datum(b"", 0, 5, 5, 33.0, 33.0, 0)
    apply(mirror, {"/nodepool/nodes/1": node_datum(), lock: none, request_lock: none}, complete=True)
    assert mirror.node_queue("1") == ()
    assert mirror.node_locks == {"1": set()}
    assert mirror.request_locks == {"200-0000000001": set()}
    assert mirror.request_lock_times == {"200-0000000001": 33.0}
    apply(mirror, {f"{lock}/{LATER}": none, f"{lock}/{CONTENDER}": none, f"{lock}/stranger": none})
    assert mirror.node_queue("1") == (CONTENDER, LATER)
    apply(mirror, {f"{lock}/{CONTENDER}": None})
    assert mirror.node_queue("1") == (LATER,)
    apply(mirror, {f"{lock}/{LATER}": None, lock: None, "/nodepool/nodes/1": None, request_lock: None})
    assert contents(mirror) == contents(Mirror())


def test_a_lock_below_the_nodes_themselves_is_no_node() -> None:
    mirror = Mirror()
    changes = apply(mirror, {"/nodepool/nodes/lock": node_datum(), f"/nodepool/nodes/lock/{CONTENDER}": node_datum()})
    assert not mirror.nodes
    assert not mirror.node_locks
    assert not changes.nodes


def test_images() -> None:
    mirror = Mirror()
    root = "/nodepool/images/debian"
    none = Datum(b"", 0, 5, 5, 44.0, 44.0, 0)
    build = Datum(b'{"state": "ready", "formats": "raw"}', 0, 5, 5, 1.0, 1.0, 0)
    apply(
        mirror,
        {
            root: none,
            f"{root}/pause": none,
            f"{root}/request-build": none,
            f"{root}/builds/lock": none,
            f"{root}/builds/lock/{CONTENDER}": none,
            f"{root}/builds/b1": build,
            f"{root}/builds/b1/lock": none,
            f"{root}/builds/b1/providers/p/images/lock": none,
            f"{root}/builds/b1/providers/p/images/0000000001": build,
        },
        complete=True,
    )
    assert (mirror.images, mirror.paused_images) == ({"debian"}, {"debian"})
    assert mirror.build_requests == {"debian": 44.0}
    assert mirror.image_locks == {"debian": {CONTENDER}}
    assert mirror.builds.keys() == {("debian", "b1")}
    assert mirror.uploads.keys() == {("debian", "b1", "p", "0000000001")}
    upload = mirror.uploads["debian", "b1", "p", "0000000001"].record
    assert upload is not None
    assert (upload.image, upload.build_id, upload.provider, upload.id) == ("debian", "b1", "p", "0000000001")


def test_who_is_drained() -> None:
    mirror, flag = Mirror(), Datum(b"whatever", 0, 5, 5, 44.0, 44.0, 0)
    changes = apply(mirror, {"/nodepool/drained/provider": flag, "/nodepool/drained/provider/p": flag})
    assert (mirror.drained, changes.drained) == ({"provider/p": 44.0}, {"provider/p"})
    assert apply(mirror, {"/nodepool/drained/provider/p": None}).drained == {"provider/p"}
    assert mirror.drained == {}


def test_pools() -> None:
    mirror = Mirror()
    pool = Datum(b'{"kind": "pool", "id": "a", "supported_labels": ["x"]}', 0, 5, 5, 1.0, 1.0, 77)
    other = Datum(b'{"kind": "launcher"}', 0, 5, 5, 1.0, 1.0, 77)
    entries: dict[str, Datum | None] = {
        "/nodepool/components/pool/nl10000000001": pool,
        "/nodepool/components/launcher/nl10000000001": other,
        "/nodepool/components/pool/broken": Datum(b"", 0, 5, 5, 1.0, 1.0, 77),
    }
    apply(mirror, entries, complete=True)
    assert [component.id for component in mirror.pools()] == ["a"]
    assert mirror.components["launcher/nl10000000001"].ephemeral_owner == 77
