"""The options that lists have in common: filters, ``--watch`` and ``--json``."""

from __future__ import annotations

import argparse
import math
import threading
from collections.abc import Collection, Iterable, Mapping

from nodepool.admin.listing import Filter
from nodepool.admin.lists import Asked
from nodepool.admin.live import DEFAULT_INTERVAL
from nodepool.config.settings import Config


def add(parser: argparse.ArgumentParser, *kinds: str, states: Iterable[str]) -> None:
    """Add ``--watch``, ``--state`` with these states, and a filter for each of ``kinds`` (``label``, …)."""
    for kind in kinds:
        parser.add_argument(
            f"--{kind}", metavar=kind.upper(), action="append", help=f"only those of this {kind}; may be repeated"
        )
    parser.add_argument(
        "--state",
        metavar="STATE",
        action="append",
        choices=tuple(map(str, states)),
        help="only those in this state; may be repeated",
    )
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        nargs="?",
        type=seconds,
        const=DEFAULT_INTERVAL,
        help="show it again at each change, and after SECONDS without one (%(const)g)",
    )


def asked(options: argparse.Namespace, config: Config, columns: Mapping[str, str]) -> Asked:
    """What the options say. ``columns`` has for each kind of filter the key of the column that it is about."""
    known: Mapping[str, Collection[str]] = {
        "label": config.labels,
        "provider": config.providers,
        "image": config.diskimages,
        "state": options.state or (),
    }
    filters = tuple(
        Filter(kind, key, values, known[kind]) for kind, key in columns.items() if (values := getattr(options, kind))
    )
    return Asked(filters, options.json, options.watch)


def seconds(text: str) -> float:
    """A number of seconds for argparse, 0 or more; for ever if it is to be."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return value
