"""How far several launchers went beyond a quota, and whether each could have known: judged from ZooKeeper's journal.

A launcher counts the node records that it sees. What others made a moment ago may not have reached it yet: that is in
flight, and as much a launcher may go beyond the quota, but no more. Pure.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from tests.journal import Change, Kind, Transaction

UNSEEN = 1.0
"""Seconds after which a launcher must have seen what another one made. Usual are milliseconds."""
_NODE = re.compile(r"/nodepool/nodes/(\d+)$")


@dataclass(frozen=True, slots=True)
class Overshoot:
    """The most nodes beyond the quota at any time, and the most of them that nothing in flight explains."""

    worst: int
    unexplained: int


def overshoot(journal: Iterable[Transaction], chroot: str, provider: str, quota: int) -> Overshoot:
    """How far the nodes of a provider, each of which counts as one, went beyond ``quota``."""
    alive: set[str] = set()
    fresh: deque[tuple[float, int]] = deque()
    """When and in which session a node was made."""
    worst = unexplained = 0
    for transaction in journal:
        made = 0
        for change in transaction.changes:
            node_id = _node_of(change, chroot)
            if node_id is None:
                continue
            if change.kind is Kind.DELETE:
                alive.discard(node_id)
            elif node_id not in alive and change.data and json.loads(change.data)["provider"] == provider:
                alive.add(node_id)
                made += 1
        if not made:
            continue
        while fresh and fresh[0][0] < transaction.time - UNSEEN:
            fresh.popleft()
        in_flight = sum(session != transaction.session for _, session in fresh)
        fresh.extend([(transaction.time, transaction.session)] * made)
        beyond = len(alive) - quota
        worst, unexplained = max(worst, beyond), max(unexplained, beyond - in_flight)
    return Overshoot(worst, unexplained)


def _node_of(change: Change, chroot: str) -> str | None:
    if change.kind not in (Kind.CREATE, Kind.SET, Kind.DELETE) or not change.path.startswith(chroot):
        return None
    found = _NODE.match(change.path, len(chroot))
    return found[1] if found else None
