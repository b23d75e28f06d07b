"""Reads records straight from znodes, for those who play a part or check what others do."""

from __future__ import annotations

import json
from typing import Any

from nodepool.zk.store import Datum

Fields = dict[str, Any]


def decoded(datum: Datum | None) -> Fields:
    """The JSON object of a record; empty if there is none, or none that can be read."""
    try:
        fields = json.loads(datum.data) if datum is not None else {}
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
