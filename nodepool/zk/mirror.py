"""What ZooKeeper holds for us, decoded and indexed: the view on which everything is decided and shown.

Pure. A :class:`Mirror` belongs to one thread, which applies to it the batches of a feed and the results of its own
writes. It may lag behind ZooKeeper and never speaks for it: whoever writes does it with the version seen here, and is
refused if that is old. A record that cannot be read is kept as a problem and stops nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nodepool.model.component import Component
from nodepool.model.image import ImageBuild, ImageUpload
from nodepool.model.node import Node
from nodepool.model.record import BrokenRecord, Record
from nodepool.model.request import NodeRequest, is_request_id
from nodepool.zk.contenders import queue
from nodepool.zk.paths import LOCK
from nodepool.zk.store import Batch, Datum

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Entry(Generic[R]):
    """A znode that is, or should be, a record."""

    record: R | None
    """None if it cannot be read."""
    problem: str
    """Why it cannot be read; empty if it can."""
    empty: bool
    """Whether the znode has no data at all: an artefact of late lockers (spec zookeeper 6.4)."""
    version: int
    czxid: int
    ctime: float
    ephemeral_owner: int


@dataclass(slots=True)
class Changes:
    """Ids of what a batch touched."""

    nodes: set[str] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)
    request_locks: set[str] = field(default_factory=set)
    uploads: bool = False
    components: bool = False
    elections: bool = False
    drained: set[str] = field(default_factory=set)
    complete: bool = False
    """Everything may have changed: the batch replaced all."""


UploadKey = tuple[str, str, str, str]
"""Image, build id, provider, upload id."""


class Mirror:
    """All records and locks by id. Attributes may be read by the owning thread; only the methods change them."""

    def __init__(self) -> None:
        self.nodes: dict[str, Entry[Node]] = {}
        self.node_locks: dict[str, set[str]] = {}
        """Contenders of a node's lock; the key is missing while there is no lock directory."""
        self.requests: dict[str, Entry[NodeRequest]] = {}
        self.request_locks: dict[str, set[str]] = {}
        self.request_lock_times: dict[str, float] = {}
        """When a request's lock directory was made (epoch seconds)."""
        self.builds: dict[tuple[str, str], Entry[ImageBuild]] = {}
        self.uploads: dict[UploadKey, Entry[ImageUpload]] = {}
        self.uploads_to: dict[tuple[str, str], set[UploadKey]] = {}
        """Keys of the uploads of an image to a provider."""
        self.images: set[str] = set()
        """Disk images that ZooKeeper knows of, with builds or without."""
        self.paused_images: set[str] = set()
        self.build_requests: dict[str, float] = {}
        """Image to the time (epoch seconds) at which a build was asked for by hand."""
        self.image_locks: dict[str, set[str]] = {}
        """Contenders of the image build locks, by image."""
        self.components: dict[str, Entry[Component]] = {}
        """By path below the components' root: ``kind/name``."""
        self.elections: dict[str, set[str]] = {}
        self.drained: dict[str, float] = {}
        """Who is to take nothing new, ``provider/NAME`` or ``launcher/HOST``, and since when (epoch seconds)."""
        self._session = 0

    # Reading

    def node(self, node_id: str) -> Node | None:
        """The record of a node, None if it is missing or broken."""
        entry = self.nodes.get(node_id)
        return entry.record if entry else None

    def request(self, request_id: str) -> NodeRequest | None:
        """The record of a request, None if it is missing or broken."""
        entry = self.requests.get(request_id)
        return entry.record if entry else None

    def node_queue(self, node_id: str) -> tuple[str, ...]:
        """Contenders of a node's lock, its holder first."""
        return queue(self.node_locks.get(node_id, ()))

    def pools(self) -> list[Component]:
        """All registered pools."""
        return [entry.record for path, entry in self.components.items() if path.startswith("pool/") and entry.record]

    # Changing

    def apply(self, batch: Batch) -> Changes:
        """Take over a batch of a feed and say what it touched."""
        changes = Changes(complete=batch.complete)
        if batch.complete:
            # A new session may be one with an ensemble that was restored: what was known says nothing about its data.
            kept = batch.entries.keys() if batch.session == self._session else ()
            self._session = batch.session
            self._forget_all_but(kept, changes)
        for path, datum in batch.entries.items():
            self._apply_one(path, datum, changes)
        return changes

    def apply_own(self, entries: Mapping[str, Datum | None]) -> Changes:
        """Take over what our own transaction has just written."""
        changes = Changes()
        for path, datum in entries.items():
            self._apply_one(path, datum, changes)
        return changes

    def _apply_one(self, path: str, datum: Datum | None, changes: Changes) -> None:
        parts = path.split("/")
        if len(parts) < 4 or parts[1] != "nodepool":
            return
        kind, rest = parts[2], parts[3:]
        if kind == "nodes":
            self._apply_node(rest, datum, changes)
        elif kind == "requests":
            self._apply_request(rest, datum, changes)
        elif kind == "requests-lock":
            changes.request_locks.add(rest[0])
            _apply_lock(self.request_locks, rest[0], rest[1:], datum)
            if len(rest) == 1:
                _set_or_drop(self.request_lock_times, rest[0], datum.ctime if datum else None)
        elif kind == "images":
            self._apply_image(rest, datum, changes)
        elif kind == "components" and len(rest) == 2:
            changes.components = True
            _apply_record(self.components, "/".join(rest), datum, Component, {})
        elif kind == "elections":
            changes.elections = True
            _apply_lock(self.elections, rest[0], rest[1:], datum)
        elif kind == "drained" and len(rest) == 2:
            changes.drained.add("/".join(rest))
            _set_or_drop(self.drained, "/".join(rest), datum.ctime if datum else None)

    def _apply_node(self, rest: list[str], datum: Datum | None, changes: Changes) -> None:
        node_id = rest[0]
        if node_id == LOCK:
            return
        changes.nodes.add(node_id)
        if len(rest) == 1:
            _apply_record(self.nodes, node_id, datum, Node, {"id": node_id})
            if datum is None:
                self.node_locks.pop(node_id, None)
        elif rest[1] == LOCK:
            _apply_lock(self.node_locks, node_id, rest[2:], datum)

    def _apply_request(self, rest: list[str], datum: Datum | None, changes: Changes) -> None:
        if len(rest) == 1:
            changes.requests.add(rest[0])
            _apply_record(self.requests, rest[0], datum, NodeRequest, {"id": rest[0]})
            if datum is not None and not is_request_id(rest[0]):
                self.requests[rest[0]] = _broken(datum, "its name is not precedence, dash, ten digits")

    def _apply_image(self, rest: list[str], datum: Datum | None, changes: Changes) -> None:
        match rest:
            case [image]:
                (self.images.add if datum else self.images.discard)(image)
            case [image, "pause"]:
                (self.paused_images.add if datum else self.paused_images.discard)(image)
            case [image, "request-build"]:
                _set_or_drop(self.build_requests, image, datum.ctime if datum else None)
            case [image, "builds", "lock", *contender]:
                _apply_lock(self.image_locks, image, contender, datum)
            case [image, "builds", build]:
                _apply_record(self.builds, (image, build), datum, ImageBuild, {"image": image, "id": build})
            case [image, "builds", build, "providers", provider, "images", upload] if upload != LOCK:
                changes.uploads = True
                identity = {"image": image, "build_id": build, "provider": provider, "id": upload}
                key = (image, build, provider, upload)
                _apply_record(self.uploads, key, datum, ImageUpload, identity)
                _set_member(self.uploads_to, (image, provider), key, present=datum is not None)

    def _forget_all_but(self, paths: Iterable[str], changes: Changes) -> None:
        named = set(paths)
        gone = [path for path in self._known_paths() if path not in named]
        for path in gone:
            self._apply_one(path, None, changes)

    def _known_paths(self) -> Iterable[str]:
        yield from (f"/nodepool/nodes/{node_id}" for node_id in self.nodes)
        for node_id, names in self.node_locks.items():
            yield f"/nodepool/nodes/{node_id}/lock"
            yield from (f"/nodepool/nodes/{node_id}/lock/{name}" for name in names)
        yield from (f"/nodepool/requests/{request_id}" for request_id in self.requests)
        for root, locks in (("requests-lock", self.request_locks), ("elections", self.elections)):
            for key, names in locks.items():
                yield f"/nodepool/{root}/{key}"
                yield from (f"/nodepool/{root}/{key}/{name}" for name in names)
        yield from (f"/nodepool/components/{path}" for path in self.components)
        yield from (f"/nodepool/drained/{path}" for path in self.drained)
        yield from self._known_image_paths()

    def _known_image_paths(self) -> Iterable[str]:
        yield from (f"/nodepool/images/{image}" for image in self.images)
        yield from (f"/nodepool/images/{image}/pause" for image in self.paused_images)
        yield from (f"/nodepool/images/{image}/request-build" for image in self.build_requests)
        for image, names in self.image_locks.items():
            yield f"/nodepool/images/{image}/builds/lock"
            yield from (f"/nodepool/images/{image}/builds/lock/{name}" for name in names)
        yield from (f"/nodepool/images/{image}/builds/{build}" for image, build in self.builds)
        for image, build, provider, upload in self.uploads:
            yield f"/nodepool/images/{image}/builds/{build}/providers/{provider}/images/{upload}"


K = TypeVar("K")
V = TypeVar("V")


def _set_or_drop(where: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        where.pop(key, None)
    else:
        where[key] = value


def _set_member(sets: dict[K, set[V]], where: K, member: V, *, present: bool) -> None:
    """Put ``member`` into a set or take it out; there are no empty sets."""
    if present:
        sets.setdefault(where, set()).add(member)
    elif where in sets:
        sets[where].discard(member)
        if not sets[where]:
            del sets[where]


def _apply_lock(locks: dict[str, set[str]], key: str, contender: list[str], datum: Datum | None) -> None:
    if not contender:
        if datum is None:
            locks.pop(key, None)
        else:
            locks.setdefault(key, set())
    elif len(contender) == 1:
        # Odd names count as well: whatever is there, the lock cannot be had.
        if datum is not None:
            locks.setdefault(key, set()).add(contender[0])
        elif key in locks:
            locks[key].discard(contender[0])


def _apply_record(
    records: dict[K, Entry[R]], key: K, datum: Datum | None, record_type: type[R], identity: Mapping[str, str]
) -> None:
    if datum is None:
        records.pop(key, None)
        return
    known = records.get(key)
    if known is not None and _says_nothing_new(known, datum):
        return
    try:
        record = record_type.from_json(datum.data, **identity)
    except BrokenRecord as error:
        records[key] = _broken(datum, str(error))
        return
    records[key] = Entry(record, "", False, datum.version, datum.czxid, datum.ctime, datum.ephemeral_owner)


def _says_nothing_new(known: Entry[R], datum: Datum) -> bool:
    """Whether ``datum`` is as old as what we know, or older. Our own writes may have a czxid of 0: not known."""
    if known.czxid == datum.czxid:
        return known.version >= datum.version
    if known.czxid == 0:
        return known.version > datum.version
    return 0 < datum.czxid < known.czxid


def _broken(datum: Datum, problem: str) -> Entry[R]:
    return Entry(None, problem, not datum.data, datum.version, datum.czxid, datum.ctime, datum.ephemeral_owner)
