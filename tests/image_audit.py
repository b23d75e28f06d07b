"""Plays ZooKeeper's journal back and says from which image each launch began, and whether that was the right one.

The rules: a launch uses the newest ready upload of some moment since its request was made; once an image could be used
there is always one that can.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.builder_process import IMAGE
from tests.journal import Change, Kind, Transaction

_UPLOAD = re.compile(r"/nodepool/images/(?P<image>[^/]+)/builds/[^/]+/providers/(?P<provider>[^/]+)/images/\d+")
_NODE = re.compile(r"/nodepool/nodes/(?P<node>\d+)")
_REQUEST = re.compile(r"/nodepool/requests/(?P<request>[^/]+)")


@dataclass(frozen=True, slots=True)
class Offer:
    """From ``time`` (epoch seconds) and the transaction ``zxid`` on, ``upload`` was the newest ready one, if any."""

    upload: str | None
    zxid: int
    time: float


@dataclass(frozen=True, slots=True)
class Launch:
    """A node's record said at ``time`` (epoch seconds) that it is built from ``upload``."""

    node: str
    upload: str
    zxid: int
    time: float


class ImageAudit:
    """One image of one provider below ``chroot``. ``complaints`` says where a rule was broken."""

    def __init__(self, chroot: str, provider: str, image: str = IMAGE) -> None:
        self.complaints: list[str] = []
        self.offers: list[Offer] = [Offer(None, 0, 0.0)]
        self.launches: list[Launch] = []
        self._chroot = chroot
        self._subject = (image, provider)
        self._uploads: dict[str, dict[str, Any]] = {}
        self._requests: dict[str, int] = {}
        self._nodes: set[str] = set()

    def play(self, journal: Iterable[Transaction]) -> ImageAudit:
        """Take over more of the journal."""
        for transaction in journal:
            for change in transaction.changes:
                if change.path.startswith(f"{self._chroot}/"):
                    self._take(transaction, change, change.path.removeprefix(self._chroot))
            self._notice(transaction)
        return self

    def first_launch(self, upload: str) -> Launch | None:
        """The first launch from an upload."""
        return next((launch for launch in self.launches if launch.upload == upload), None)

    def offer(self, upload: str) -> Offer:
        """When an upload became the newest for the first time."""
        return next(offer for offer in self.offers if offer.upload == upload)

    def _take(self, transaction: Transaction, change: Change, path: str) -> None:
        if change.kind is Kind.CHECK:
            return
        gone = change.kind is Kind.DELETE
        upload, node, request = _UPLOAD.fullmatch(path), _NODE.fullmatch(path), _REQUEST.fullmatch(path)
        if upload and upload.group("image", "provider") == self._subject:
            if gone or not change.data:
                self._uploads.pop(path, None)
            else:
                self._uploads[path] = json.loads(change.data)
        elif request and not gone:
            self._requests.setdefault(request["request"], transaction.zxid)
        elif node and change.data and node["node"] not in self._nodes:
            self._look_at_node(transaction, node["node"], json.loads(change.data))

    def _look_at_node(self, transaction: Transaction, node: str, record: dict[str, Any]) -> None:
        if record.get("state") != "building" or not record.get("image_id"):
            return
        self._nodes.add(node)
        launch = Launch(node, record["image_id"], transaction.zxid, transaction.time)
        self.launches.append(launch)
        since = self._requests.get(str(record.get("allocated_to")), 0)
        present = [offer for offer in self.offers if offer.zxid > since]
        before = [offer for offer in self.offers if offer.zxid <= since]
        if launch.upload not in {offer.upload for offer in (*before[-1:], *present)}:
            self.complaints.append(f"node {node} is built from {launch.upload}, which was not the newest upload")

    def _notice(self, transaction: Transaction) -> None:
        ready = [(record["state_time"], path) for path, record in self._uploads.items() if record["state"] == "ready"]
        newest = max(ready)[1] if ready else None
        if newest == self.offers[-1].upload:
            return
        if newest is None:
            self.complaints.append(f"no upload is ready any more: {self._uploads}")
        self.offers.append(Offer(newest, transaction.zxid, transaction.time))
