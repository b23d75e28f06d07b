"""The decision core of the builder: events in, instructions out.

Runs on the decision thread; no I/O, no clock, no chance of its own. It is level-triggered: what is asked for follows
from the records, the files and the configuration, so that a lost or doubled event costs time and never correctness.
There is at most one transaction under way per image; an image is planned anew after each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nodepool.builder import building, removing, results, uploading, views
from nodepool.builder.events import Event
from nodepool.builder.instructions import Instruction
from nodepool.builder.plan import plan
from nodepool.builder.state import Identity, State, Workers
from nodepool.builder.steps import Build, Plan, Upload

if TYPE_CHECKING:
    import random

RETRY_AFTER_DEFECT = 5.0
"""Seconds until everything is looked at again after a decision that failed."""


class Reconciler:
    """See the module's description. One per builder process."""

    def __init__(self, chance: random.Random, identity: Identity, workers: Workers) -> None:
        self.state = State(chance, identity, workers)
        self._look_at_all_at: float | None = None
        self._begun = False

    def handle(self, events: Iterable[Event], now: float) -> list[Instruction]:
        """Take over what happened until ``now`` (epoch seconds) and say what is to be done."""
        state = self.state
        state.now = now
        if not self._begun:
            self._begun = True
            results.list_files(state)
        for event in events:
            results.take(state, event)
        state.fire_timers()
        if state.files_due:
            state.files_due = False
            results.list_files(state)
        if self._look_at_all_at is not None and now >= self._look_at_all_at:
            self._look_at_all_at = None
            state.look_at_all()
        state.publish()
        if state.working:
            self._settle()
        out, state.out = state.out, []
        return out

    def next_wake(self) -> float | None:
        """When :meth:`handle` should be called though nothing happens (epoch seconds)."""
        times = [at for at in (self.state.timers.next(), self._look_at_all_at) if at is not None]
        return min(times, default=None)

    def failed(self, now: float) -> None:
        """A call of :meth:`handle` raised: what it did not come to is done with the next, and all is looked at anew."""
        self._look_at_all_at = now + RETRY_AFTER_DEFECT

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for, and nothing is under way any more that is waited for."""
        state = self.state
        if not state.stopping:
            return False
        builds = any(isinstance(step, Build) for step in state.starting.values()) or bool(state.builds)
        return not builds and (state.stopping_now or not (state.uploads or state.starting))

    def _settle(self) -> None:
        state = self.state
        while state.dirty:
            self._look_at(state.dirty.pop())
        if state.work_wanted:
            state.work_wanted = False
            if not state.stopping:
                building.begin_some(state)
                uploading.begin_some(state)

    def _look_at(self, image: str) -> None:
        """Do what an image needs next."""
        state = self.state
        if image in state.busy:
            return
        if building.store_end(state, image) or uploading.store_end(state, image):
            return
        removing.see_to_strays(state, image)
        made = plan(views.image_of(state, image), views.rule_of(state, image), views.here_of(state, image), state.now)
        self._note(image, made)
        for step in made.steps:
            if removing.take(state, image, step):
                return

    def _note(self, image: str, made: Plan) -> None:
        """Remember what waits for a worker, or for its time."""
        state = self.state
        if made.wake is not None:
            state.wake(made.wake, image)
        due = state.removals_due.pop(image, {})
        due = {step: since for step, since in due.items() if step in made.steps}
        if due:
            state.removals_due[image] = due
        queued = state.build_queue.pop(image, None)
        uploads = {key: state.upload_queue.pop(key) for key in list(state.upload_queue) if key[0] == image}
        for step in made.steps:
            match step:
                case Build():
                    state.build_queue[image] = step
                    state.work_wanted = True
                case Upload(build_id, provider, _, _, _):
                    state.upload_queue[image, build_id, provider, ""] = step
                    state.work_wanted = True
        # How long something has waited counts only while it waits.
        if queued is not None and image not in state.build_queue:
            state.noticed.pop(("turn", image), None)
        for key in uploads.keys() - state.upload_queue.keys():
            state.noticed.pop(("upload turn", *key), None)
