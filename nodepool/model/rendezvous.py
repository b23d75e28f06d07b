"""Who goes first among several that could: rendezvous hashing (highest random weight).

Pure. All launchers come to the same answer without talking; when the candidates change, only what belonged to a
vanished one moves. It only avoids double work: safety rests on locks and fenced writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def first(subject: str, candidates: Iterable[str]) -> str | None:
    """The candidate that goes first for ``subject``, None if there is none."""
    return max(candidates, key=lambda candidate: (_weight(subject, candidate), candidate), default=None)


def _weight(subject: str, candidate: str) -> bytes:
    return hashlib.blake2b(f"{subject}\0{candidate}".encode(), digest_size=8).digest()
