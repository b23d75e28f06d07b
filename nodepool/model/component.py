"""The record of a running daemon or of one of its pools (spec zookeeper 4.6)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from nodepool.model.record import Record, flag, json_field, text, texts, whole_number

LAUNCHER, BUILDER, POOL = "launcher", "builder", "pool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component(Record):
    """A component; the fields from ``id`` on have a meaning for pools only."""

    hostname: str | None = json_field("hostname", text, None)
    kind: str | None = json_field("kind", text, None)
    state: str | None = json_field("state", text, "stopped")
    """``initializing``, ``running``, ``paused`` or ``stopped``."""
    version: str | None = json_field("version", text, None)
    model_api: int | None = json_field("model_api", whole_number, 0)
    id: str | None = json_field("id", text, None)
    """The launcher id, which goes to ``declined_by`` of a request."""
    name: str | None = json_field("name", text, None)
    provider_name: str | None = json_field("provider_name", text, None)
    supported_labels: tuple[str, ...] = json_field("supported_labels", texts, ())
    priority: int | None = json_field("priority", whole_number, 100)
    """Smaller is preferred."""
    paused: bool = json_field("paused", flag, False)
    """Whether the pool has a request that waits for capacity."""

    def to_json(self) -> bytes:
        """The record as it is stored: keys sorted, pool fields only for pools."""
        values = self.to_mapping()
        if self.kind != POOL:
            for key in ("id", "name", "provider_name", "supported_labels", "priority", "paused"):
                del values[key]
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
