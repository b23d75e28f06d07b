"""What every command gets: the connection, the configuration, who asks, the time, and where to write."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nodepool.admin.colour import paint_for
from nodepool.admin.nodes import Clock
from nodepool.admin.removal import Pause
from nodepool.admin.table import Column, Row, render
from nodepool.admin.views import chosen
from nodepool.config.settings import Config
from nodepool.zk.client import Client


@dataclass(frozen=True, slots=True)
class Operator:
    """A person or script at the command line. Results go to standard output, all else to standard error."""

    client: Client
    config: Config
    who: str
    """What others see as the holder of our locks and as our requests' requestor: ``NodePool:cli:USER@HOST``."""
    clock: Clock
    """Epoch seconds."""
    pause: Pause


def show(columns: Sequence[Column], rows: Iterable[Row], as_json: bool) -> None:
    """Write rows as a table, coloured at a terminal, or as a JSON array of objects with the same values."""
    if as_json:
        show_json([chosen(columns, row) for row in rows])
    else:
        print(render(columns, rows, paint_for(os.environ, at_terminal=sys.stdout.isatty())))


def show_json(value: Any) -> None:
    """Write one JSON document."""
    print(json.dumps(value, indent=2))


def tell(text: str) -> None:
    """Write a line to the person, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def warn(texts: Iterable[str]) -> None:
    """Write warnings."""
    for text in texts:
        tell(f"WARNING: {text}")
