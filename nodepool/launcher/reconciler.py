"""The decision core: events in, instructions out.

Runs on the decision thread; no I/O, no clock, no chance of its own. It is level-triggered: what is asked for follows
from the records and the last lists of the clouds, so that a lost or doubled event costs time and never correctness.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

from nodepool.launcher import admission, housekeeping, publishing, results, session, stocking
from nodepool.launcher import hosts as registered_hosts
from nodepool.launcher.events import Event
from nodepool.launcher.instructions import Instruction, Level
from nodepool.launcher.state import State

if TYPE_CHECKING:
    import random

MOST_ROUNDS = 50
"""Most times that a decision may entail others at once; a handful is usual."""


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
        return self.state.next_timer()

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for and nothing is under way any more."""
        state = self.state
        under_way = (state.claims, state.launches, state.busy, state.creating)
        return state.stopping and not (state.working and any(under_way))

    def _settle(self) -> None:
        """Look at everything that changed; what needs the whole picture comes last."""
        state = self.state
        for _ in range(MOST_ROUNDS):
            keys = [key for key in state.dirty if isinstance(key, tuple)]
            if not keys:
                break
            state.dirty.difference_update(keys)
            for key in keys:
                self._look_at(key)
        else:
            state.say(Level.ERROR, "nodepool.launcher", f"Decisions do not come to rest: {sorted(map(str, keys))[:5]}")
        if state.stopping:
            return
        if "min-ready" in state.dirty:
            state.dirty.discard("min-ready")
            stocking.step(state)
        if "admission" in state.dirty:
            state.dirty.discard("admission")
            admission.run(state)

    def _look_at(self, key: tuple[Hashable, ...]) -> None:
        state = self.state
        match key:
            case ("node", str(node_id)):
                housekeeping.look_at_node(state, node_id)
            case ("request", str(request_id)):
                housekeeping.look_at_request(state, request_id)
            case ("stock", str(name)) | ("election", str(name)) | ("slot", str(name), _) if name in state.setup.providers:
                registered_hosts.step(state, state.setup.providers[name])
            case ("label", _):
                state.dirty.add("min-ready")
            case ("limits", str(name)):
                session.read_limits(state, name)
            case ("leaks", str(name)):
                session.seek_leaks(state, name)
