"""How many nodes a cloud is believed to have room for after it refused one for its quota. Pure.

The limits that a cloud tells are not all that it heeds: others work in the same project, and some limits cannot be
read. Each refusal lowers the ceiling to what the cloud has proved to have room for; below it, nodes that go make room
for new ones as ever. Then it rises again: by one server, by two, by four, … until the cloud refuses again or the
ceiling has been silent for long. What a server needs beside itself (a floating address) has a quota of its own: its
refusals are about the nodes of a pool that needs it, and about no others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

REST = 5.0
"""Seconds after a refusal in which the ceiling does not rise."""
STEP = 5.0
"""Seconds in which the rise doubles."""
LAST_STEP = 12
"""Steps after which there is no ceiling any more."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A belief; times are epoch seconds."""

    nodes: int
    """All nodes of ours, those being made and those going included."""
    since: float
    """When it was formed: launches that had begun by then are in the count it began with."""
    refused: float
    """When the cloud refused last."""

    def allows(self, now: float) -> int | None:
        """Most nodes at present; None for no ceiling any more."""
        step = self._step(now)
        if step > LAST_STEP:
            return None
        return self.nodes + (2**step if step >= 0 else 0)

    def next_rise(self, now: float) -> float:
        """When it allows more than now."""
        return self.refused + REST + (self._step(now) + 1) * STEP

    def _step(self, now: float) -> int:
        return -1 if now < self.refused + REST else int((now - self.refused - REST) // STEP)


def lowered(ceiling: Ceiling | None, nodes: int, launch_began: float, now: float) -> Ceiling:
    """The ceiling after a refusal, when there are ``nodes`` records, the refused one included."""
    allowed = ceiling.allows(now) if ceiling is not None else None
    if ceiling is None or allowed is None:
        return Ceiling(nodes - 1, now, now)
    if launch_began <= ceiling.since:
        return replace(ceiling, nodes=ceiling.nodes - 1, refused=now)
    return Ceiling(min(allowed, nodes - 1), now, now)


def proved(ceiling: Ceiling, active: int) -> Ceiling:
    """The ceiling after a list that shows so many active servers of ours: for those there was room."""
    return ceiling if active <= ceiling.nodes else replace(ceiling, nodes=active)
