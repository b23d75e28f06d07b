"""Everything that clouds do wrong, as rules of the simulated cloud (:mod:`tools.cloud.faults`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

CHANGES = (
    "compute.server.create",
    "compute.server.delete",
    "network.floatingip.create",
    "network.floatingip.delete",
    "network.port.delete",
    "volume.metadata.create",
    "volume.volume.delete",
)
READS = (
    "compute.server.list",
    "compute.limits.show",
    "network.port.list",
    "network.floatingip.list",
    "volume.volume.list",
)
SHORT = 0.4
"""Seconds until a connection is closed that gets no answer: the launcher learns of its time-out so much later."""
FALSE_LIMITS = 0.1
FALSE_QUOTA = 0.02
"""Of the chance of other faults, that of a rate limit which is not reached, and of a quota which is not full: a
launcher believes both, and asks for less for a while."""
LONG = 90.0
"""The same beyond the launcher's own deadline."""

Rule = Mapping[str, Any]


def call_rules(chance: float, *, hanging: int) -> list[Rule]:
    """Faults of calls, each kind with ``chance``; ``hanging`` calls in all get no answer before the deadline."""
    before = ("error-before", "cut-before", "hang-before")
    after = ("error-after", "cut-after", "hang-after")
    rules: list[Rule] = [
        {"fault": kind, "calls": CHANGES, "seconds": LONG, "at_most": hanging // 2, "chance": chance / 20}
        for kind in ("hang-before", "hang-after")
        if hanging
    ]
    rules += [{"fault": kind, "calls": CHANGES, "chance": chance, "seconds": SHORT} for kind in (*before, *after)]
    rules += [{"fault": kind, "calls": READS, "chance": chance, "seconds": SHORT} for kind in before]
    rules += [
        {"fault": "error-before", "calls": CHANGES + READS, "status": status, "message": text, "chance": chance * share}
        for status, text, share in ((503, "The service is unavailable.", 1.0), (429, "Too many calls.", FALSE_LIMITS))
    ]
    return [_plain(rule) for rule in rules]


def server_rules(chance: float, *, boot_limit: float) -> list[Rule]:
    """Faults of servers, each kind with ``chance``. ``boot_limit`` is the launcher's time-out in seconds."""
    rules: Iterable[Rule] = (
        {"fault": "error"},
        {"fault": "no-valid-host"},
        {"fault": "quota", "chance": chance * FALSE_QUOTA},
        {"fault": "stuck-build"},
        {"fault": "stuck-build", "seconds": boot_limit / 2},
        {"fault": "late-address", "seconds": 1.0},
        {"fault": "late-address"},
        {"fault": "stolen-address"},
        {"fault": "stuck-delete", "seconds": 3.0},
        {"fault": "stuck-delete", "times": 1},
        {"fault": "failing-delete", "times": 1},
        {"fault": "vanish", "seconds": 0.3},
        {"fault": "leak-port"},
        {"fault": "leak-volume"},
    )
    return [{"chance": chance, **rule} for rule in rules]


def identity_rules(chance: float) -> list[Rule]:
    """Faults of Keystone."""
    return [{"fault": "error-before", "calls": ["identity.token.create"], "chance": chance, "status": 503}]


def _plain(rule: Rule) -> Rule:
    return {**rule, "calls": list(rule["calls"])}
