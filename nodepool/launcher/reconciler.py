"""The decision core: events in, instructions out.

Runs on the decision thread; no I/O, no clock, no chance of its own. It is level-triggered: what is asked for follows
from the records and the last lists of the clouds, so that a lost or doubled event costs time and never correctness.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

from nodepool.daemon.instructions import Level
from nodepool.launcher import (
    admission,
    housekeeping,
    launches,
    leftovers,
    losses,
    publishing,
    results,
    session,
    stocking,
)
from nodepool.launcher import hosts as registered_hosts
from nodepool.launcher.events import Event
from nodepool.launcher.instructions import Instruction
from nodepool.launcher.state import EVERYTHING, State

if TYPE_CHECKING:
    import random

MOST_ROUNDS = 50
"""Most times that a decision may entail others at once; a handful is usual."""
RETRY_AFTER_DEFECT = 1.0
"""Seconds until everything is looked at again after a decision that failed."""


class Reconciler:
    """See the module's description. One per launcher process."""

    def __init__(self, chance: random.Random) -> None:
        self.state = State(chance)

    def handle(self, events: Iterable[Event], now: float) -> list[Instruction]:
        """Take over what happened until ``now`` (epoch seconds) and say what is to be done."""
        state = self.state
        state.now = now
        for event in events:
            results.take(state, event)
        state.fire_timers()
        if EVERYTHING in state.dirty:
            state.dirty.discard(EVERYTHING)
            session.look_at_all(state)
        if state.working:
            self._settle()
        if "pools" in state.dirty:
            state.dirty.discard("pools")
            publishing.step(state)
        session.watch_clouds(state)
        out, state.out = state.out, []
        return out

    def next_wake(self) -> float | None:
        """When :meth:`handle` should be called though nothing happens (epoch seconds)."""
        return self.state.timers.next()

    def failed(self, now: float) -> None:
        """A call of :meth:`handle` raised: what it did not come to is done with the next, and all is looked at anew."""
        self.state.wake(now + RETRY_AFTER_DEFECT, EVERYTHING)

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for and nothing is under way any more."""
        state = self.state
        under_way = (state.claims, state.launches, state.busy, state.creating)
        return state.stopping and not (state.working and any(under_way))

    def _settle(self) -> None:
        """Look at everything that changed, and at what that entails."""
        for _ in range(MOST_ROUNDS):
            if not self._look_once():
                return
        restless = sorted(map(str, self.state.dirty))[:5]
        self.state.say(Level.ERROR, "nodepool.launcher", f"Decisions do not come to rest: {restless}")

    def _look_once(self) -> bool:
        """One round, False if there is nothing to do; what needs the whole picture comes last."""
        state = self.state
        keys = [key for key in state.dirty if isinstance(key, tuple)]
        for key in keys:
            state.dirty.discard(key)
            self._look_at(key)
        if keys or state.stopping:
            return bool(keys)
        for whole, look in (("min-ready", stocking.step), ("admission", admission.run)):
            if whole in state.dirty:
                state.dirty.discard(whole)
                look(state)
                return True
        return False

    def _look_at(self, key: tuple[Hashable, ...]) -> None:
        state = self.state
        match key:
            case ("node", str(node_id)):
                housekeeping.look_at_node(state, node_id)
            case ("request", str(request_id)):
                housekeeping.look_at_request(state, request_id)
            case ("stock", str(name)) | ("election", str(name)) | ("slot", str(name), _):
                if name in state.setup.providers:
                    registered_hosts.step(state, state.setup.providers[name])
            case ("label", _):
                state.dirty.add("min-ready")
            case ("limits", str(name)):
                session.read_limits(state, name)
            case ("deadlines", str(name)):
                launches.look_at_deadlines(state, name)
            case ("leftovers", str(name)):
                leftovers.search(state, name)
            case ("leaks", str(name)):
                session.seek_leaks(state, name)
            case ("losses", str(name)):
                losses.seek(state, name)
