"""Names of lock contenders: the queue recipe that kazoo, Zuul and the Jenkins plug-in share (spec zookeeper 6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CONTENDER = re.compile(r"^(?P<prefix>.*)__lock__(?P<sequence>-?\d{10})$")
PREFIX_END = "__lock__"


def sequence_of(name: str) -> int | None:
    """Place of a contender in its queue, or None if the name is not that of a contender."""
    match = _CONTENDER.match(name)
    return int(match["sequence"]) if match else None


def queue(names: Iterable[str]) -> tuple[str, ...]:
    """The contenders among ``names``, the holder of the lock first."""
    known = ((sequence_of(name), name) for name in names)
    return tuple(name for _, name in sorted((number, name) for number, name in known if number is not None))


def ahead_of(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """The contenders before ``name``, the holder of the lock first."""
    order = queue(names)
    return order[: order.index(name)] if name in order else order
