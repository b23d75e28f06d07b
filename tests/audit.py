"""Plays a journal back and says where a launcher broke a rule that holds at every moment, whatever fails.

The rules: a record is written only by the holder of its lock, or by one who proves in the same transaction that nobody
holds it; states follow the tables of spec zookeeper 5; a node changes hands only after it was given back; a request is
fulfilled once, with nodes that are ready and its own; a slot of a static host never has two records in use.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nodepool.model.states import NodeState, RequestState, may_follow
from tests.journal import Change, Kind, Transaction

Record = dict[str, Any]

_CONTENDER = re.compile(r"__lock__(\d{10})$")
_NODES = "/nodepool/nodes"
_REQUESTS = "/nodepool/requests"
_LAUNCHERS = "/nodepool/components/launcher/"
_OCCUPYING = frozenset({"ready", "testing", "in-use", "used", "hold"})


@dataclass(frozen=True, slots=True)
class _Znode:
    data: bytes
    owner: int


class Audit:
    """The tree below ``chroot`` as the journal makes it, step by step."""

    def __init__(self, chroot: str) -> None:
        self.complaints: list[str] = []
        self.launchers: list[int] = []
        """Sessions of launchers, in the order in which they registered."""
        self.handed_over: dict[str, list[str]] = {}
        """Requests that were fulfilled, with their nodes, whether they still exist or not."""
        self.writers: dict[str, list[int]] = defaultdict(list)
        """Path to the sessions of launchers that wrote it, in order."""
        self.created_by: dict[str, int] = {}
        """Path to the session that created it."""
        self.ended: dict[int, int] = {}
        """Sessions that are over, with the transaction that ended each."""
        self.at_end: dict[int, dict[str, list[str]]] = {}
        """Session to the :meth:`states` at its end."""
        self._chroot = chroot
        self._history: dict[str, list[Record]] = defaultdict(list)
        self._tree: dict[str, _Znode] = {}
        self._names: dict[str, set[str]] = defaultdict(set)
        """Path to the names of its children."""

    def play(self, journal: Iterable[Transaction]) -> Audit:
        """Take over more of the journal."""
        for transaction in journal:
            self._take(transaction)
        return self

    def children(self, path: str) -> list[str]:
        """Names of the children of a znode, sorted."""
        return sorted(self._names.get(path, ()))

    def record(self, path: str) -> Record | None:
        """The record at a path, None if there is none or it is empty."""
        znode = self._tree.get(path)
        return json.loads(znode.data) if znode is not None and znode.data else None

    def history(self, path: str) -> list[Record]:
        """All that the record of a node or request ever was, in order."""
        return self._history[path]

    def left(self) -> list[str]:
        """Nodes, requests and locks that exist."""
        roots = (f"{_NODES}/", f"{_REQUESTS}/", "/nodepool/requests-lock/")
        return sorted(path for path in self._tree if path.startswith(roots))

    def states(self) -> dict[str, list[str]]:
        """What there is now: kind of record and state to ids, as in ``request pending``."""
        found: dict[str, list[str]] = defaultdict(list)
        for kind, root in (("node", _NODES), ("request", _REQUESTS)):
            for name in self.children(root):
                record = self.record(f"{root}/{name}")
                found[f"{kind} {record['state'] if record else 'empty'}"].append(name)
        return found

    def _take(self, transaction: Transaction) -> None:
        changes = [change for change in map(self._ours, transaction.changes) if change is not None]
        if any(change.path.startswith(_LAUNCHERS) and change.kind is Kind.CREATE for change in changes):
            self.launchers.append(transaction.session)
        by_launcher = transaction.session in self.launchers
        if by_launcher:
            where = f"zxid {transaction.zxid:#x}, session {transaction.session:#x}"
            self.complaints.extend(f"{where}: {text}" for text in self._unlocked_writes(transaction.session, changes))
        before = {change.path: self.record(change.path) for change in changes if change.kind is not Kind.CHECK}
        self._apply(transaction, changes)
        for path, old in before.items():
            new = self.record(path)
            kind = _kind(path)
            if not kind:
                continue
            if by_launcher:
                self.writers[path].append(transaction.session)
            if new is not None:
                self._history[path].append(new)
            for text in self._bad_step(kind, path, old, new, by_launcher):
                self.complaints.append(f"zxid {transaction.zxid:#x}, session {transaction.session:#x}: {path} {text}")
        if any(_has_slot(self.record(path)) for path in before if _kind(path) == "node"):
            self.complaints.extend(f"zxid {transaction.zxid:#x}: {text}" for text in self._doubled_slots())

    def _ours(self, change: Change) -> Change | None:
        if change.kind is Kind.CLOSE_SESSION:
            return change
        if not change.path.startswith(f"{self._chroot}/"):
            return None
        return Change(change.kind, change.path[len(self._chroot) :], change.data, change.ephemeral)

    def _apply(self, transaction: Transaction, changes: Iterable[Change]) -> None:
        for change in changes:
            match change.kind:
                case Kind.CLOSE_SESSION:
                    self.ended[transaction.session] = transaction.zxid
                    self.at_end[transaction.session] = dict(self.states())
                    for path in [p for p, znode in self._tree.items() if znode.owner == transaction.session]:
                        self._remove(path)
                case Kind.DELETE:
                    self._remove(change.path)
                case Kind.CREATE:
                    self._tree[change.path] = _Znode(change.data, transaction.session if change.ephemeral else 0)
                    parent, _, name = change.path.rpartition("/")
                    self._names[parent].add(name)
                    self.created_by[change.path] = transaction.session
                case Kind.SET:
                    self._tree[change.path] = _Znode(change.data, self._tree[change.path].owner)

    def _remove(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        self._tree.pop(path, None)
        names = self._names.get(parent, set())
        names.discard(name)
        if not names:
            self._names.pop(parent, None)

    def _holder(self, directory: str) -> int | None:
        """The session that holds a lock; None if nobody does."""
        numbered = ((_CONTENDER.search(name), name) for name in self.children(directory))
        first = min(((int(match[1]), name) for match, name in numbered if match), default=None)
        return self._tree[f"{directory}/{first[1]}"].owner if first else None

    def _unlocked_writes(self, session: int, changes: list[Change]) -> Iterator[str]:
        touched = {change.path for change in changes}
        for change in changes:
            kind, name = _kind(change.path), change.path.rpartition("/")[2]
            if not kind or change.kind not in (Kind.SET, Kind.DELETE) or self.record(change.path) is None:
                continue
            if kind == "request" and change.kind is Kind.DELETE:
                if self._tree[change.path].owner != session:
                    yield f"deletes request {name} of somebody else"
                continue
            lock = f"{change.path}/lock" if kind == "node" else f"/nodepool/requests-lock/{name}"
            holder = self._holder(lock)
            if holder not in (session, None):
                yield f"writes {kind} {name} while session {holder:#x} holds its lock"
            elif holder is None and lock not in touched:
                yield f"writes {kind} {name} without its lock"

    def _bad_step(self, kind: str, path: str, old: Record | None, new: Record | None, ours: bool) -> Iterator[str]:
        if new is None:
            return
        name = path.rpartition("/")[2]
        state = NodeState if kind == "node" else RequestState
        before, after = state(old["state"]) if old else None, state(new["state"])
        # A request that ready nodes serve goes through pending within one write.
        at_once = (RequestState.REQUESTED, RequestState.FULFILLED)
        if ours and not may_follow(before, after) and (before, after) != at_once:
            yield f"goes from {before} to {after}"
        if kind == "request" and after is RequestState.FULFILLED and before is not RequestState.FULFILLED:
            yield from self._bad_hand_over(name, new)
        if kind == "node" and old is not None and old.get("allocated_to") != new.get("allocated_to"):
            yield from self._bad_change_of_hands(name, old.get("allocated_to"), new.get("allocated_to"))

    def _bad_hand_over(self, request_id: str, request: Record) -> Iterator[str]:
        if request_id in self.handed_over:
            yield "is fulfilled for the second time"
        self.handed_over[request_id] = list(request["nodes"])
        if len(request["nodes"]) != len(request["node_types"]):
            yield f"is fulfilled with {len(request['nodes'])} nodes for {request['node_types']}"
        for node_id, label in zip(request["nodes"], request["node_types"], strict=False):
            node = self.record(f"{_NODES}/{node_id}")
            if (
                node is None
                or node["state"] != "ready"
                or node["allocated_to"] != request_id
                or label not in node["type"]
            ):
                yield f"is fulfilled with node {node_id}, which is {node}"

    def _bad_change_of_hands(self, node_id: str, old: str | None, new: str | None) -> Iterator[str]:
        if old and new:
            yield f"changes hands from {old} to {new}"
        request = self.record(f"{_REQUESTS}/{old}") if old else None
        wanted = request is not None and (
            request["state"] == "pending" or (request["state"] == "fulfilled" and node_id in request["nodes"])
        )
        if wanted and not request["requestor"].startswith("NodePool:"):  # type: ignore[index]
            yield f"is taken from {old}, which is {request}"

    def _doubled_slots(self) -> Iterator[str]:
        seats: dict[tuple[object, ...], list[str]] = defaultdict(list)
        for name in self.children(_NODES):
            node = self.record(f"{_NODES}/{name}")
            if node is not None and node.get("slot") is not None and node["state"] in _OCCUPYING:
                host = tuple(node[key] for key in ("provider", "hostname", "username", "connection_port", "slot"))
                seats[host].append(name)
        yield from (f"slot {host} has the nodes {names}" for host, names in seats.items() if len(names) > 1)


def _has_slot(record: Record | None) -> bool:
    """Whether a node is one of a static host."""
    return record is not None and record.get("slot") is not None


def _kind(path: str) -> str:
    """``node`` or ``request`` for the path of a record, else empty."""
    parent = path.rpartition("/")[0]
    return {_NODES: "node", _REQUESTS: "request"}.get(parent, "")
