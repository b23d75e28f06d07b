"""How many nodes of a label are missing from stock: pure (spec launcher 2.8).

Differences: what any launcher has asked for already counts, so that several do not overshoot; and a label whose
requests fail is asked for again after a growing pause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nodepool.launcher.setup import LabelRule
from nodepool.model.request import NodeRequest
from nodepool.model.states import RequestState

LONGEST_PAUSE = 300.0
"""Longest pause in seconds between two requests for a label that cannot be served."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """How many nodes of a label should be asked for."""

    label: str
    count: int


def shortages(
    labels: Mapping[str, LabelRule], idle: Mapping[str, int], outstanding: Iterable[NodeRequest]
) -> list[Shortage]:
    """What is missing: wanted, less what is ready and free, less what is asked for already.

    ``outstanding`` are all requests; those for stock count until they are removed, since only then their nodes
    are free.
    """
    asked: dict[str, int] = {}
    for request in outstanding:
        if request.is_min_ready and request.state is not RequestState.FAILED:
            for label in request.node_types:
                asked[label] = asked.get(label, 0) + 1
    found = []
    for name, rule in labels.items():
        missing = rule.min_ready - idle.get(name, 0) - asked.get(name, 0)
        if rule.min_ready > 0 and missing > 0:
            found.append(Shortage(name, missing))
    return found


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(float(2 ** min(failures, 16)), LONGEST_PAUSE)
