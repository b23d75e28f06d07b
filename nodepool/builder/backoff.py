"""How long to wait after failures: longer each time, and for ever known, since it stands in the failed record. Pure.

The keys are additions of ours to the records of builds and uploads; Nodepool 11 ignores them (spec zookeeper 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nodepool.model.record import NOTHING, Record

ERROR, FAILURES, RETRY_AT = "error", "failures", "retry_at"
"""Keys of a failed record: one sentence, how often in a row, and when it may be tried again (epoch seconds)."""

_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Pauses:
    """Bounds of a pause, in seconds."""

    shortest: float
    longest: float

    def after(self, failures: int) -> float:
        """The pause after so many failures in a row: doubled each time, up to the longest."""
        doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
        return min(self.shortest * 2.0**doublings, self.longest)


BUILDS = Pauses(30.0, 3600.0)
UPLOADS = Pauses(10.0, 1800.0)
REMOVALS = Pauses(5.0, 600.0)


@dataclass(frozen=True, slots=True)
class BackOff:
    """Something that has failed and waits to be tried again."""

    failures: int = 0
    retry_at: float = 0.0
    """Epoch seconds."""
    reason: str = ""


def read(record: Record | None) -> BackOff:
    """What a record says of its failure; nothing, if it did not fail or another program wrote it."""
    extra = record.extra if record is not None else NOTHING
    reason = str(extra.get(ERROR) or "")
    return BackOff(int(_number(extra.get(FAILURES))), _number(extra.get(RETRY_AT)), reason)


def write(extra: Mapping[str, Any], back_off: BackOff) -> dict[str, Any]:
    """The unknown keys ``extra`` of a record, and those that tell of a failure."""
    return {**extra, ERROR: back_off.reason, FAILURES: back_off.failures, RETRY_AT: back_off.retry_at}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
