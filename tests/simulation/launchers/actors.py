"""Whoever acts on ZooKeeper besides our launchers: a life as a generator that yields the seconds until it goes on."""

from __future__ import annotations

import json
import random
from collections.abc import Generator
from typing import TYPE_CHECKING, TypeVar

from nodepool.zk import paths
from nodepool.zk.contenders import queue
from nodepool.zk.store import Committed, Create, Delete, Operation, Refused, SetData
from tests.simulation.records import Fields, decoded

if TYPE_CHECKING:
    from tests.simulation.launchers.world import LauncherWorld

T = TypeVar("T")
Life = Generator[float, None, T]


class SessionGone(Exception):
    """The actor's session has expired."""


class Actor:
    """See the module's description. Writes go through at once; the yields are where others come in between."""

    def __init__(self, world: LauncherWorld, name: str) -> None:
        self.world = world
        self.name = name
        self.chance: random.Random = world.chance(name)
        self.session = 0
        self.ended = False

    def start(self) -> None:
        """Begin to live."""
        self._go_on(self.life())

    def life(self) -> Life[None]:
        """What the actor does."""
        raise NotImplementedError

    def session_gone(self) -> None:
        """The session has expired under our hands."""

    def _go_on(self, life: Life[None]) -> None:
        if self.ended:
            return
        try:
            delay = next(life)
        except StopIteration:
            self.ended = True
        except SessionGone:
            self.ended = True
            self.session_gone()
        else:
            self.world.clock.schedule(delay, lambda: self._go_on(life))

    # ZooKeeper

    def say(self, text: str) -> None:
        """A line for the log."""
        self.world.say(self.name, text)

    def moment(self, longest: float = 0.1) -> float:
        """A short time."""
        return self.chance.uniform(0.0, longest)

    def open_session(self) -> None:
        """Connect."""
        self.session = self.world.ensemble.open_session()

    def close_session(self) -> None:
        """Disconnect; all locks are free then."""
        self.world.ensemble.expire(self.session)
        self.session = 0

    def commit(self, *operations: Operation) -> Committed | Refused:
        """Do something. Raises SessionGone."""
        if self.session and not self.world.ensemble.is_alive(self.session):
            raise SessionGone
        return self.world.ensemble.commit(operations, self.session)

    def read(self, path: str) -> Fields | None:
        """The record at a path, None if there is none that can be read."""
        fields = decoded(self.world.ensemble.read(path))
        return fields if "state" in fields else None

    def write(self, path: str, fields: Fields, version: int = -1) -> bool:
        """Replace the JSON object at a path; False if it is not there or has changed."""
        return isinstance(self.commit(SetData(path, json.dumps(fields).encode(), version)), Committed)

    def make(self, path: str) -> None:
        """Create a znode and its parents as kazoo does: whatever is missing."""
        for parent in (*paths.parents(path), path):
            if self.world.ensemble.read(parent) is None:
                self.commit(Create(parent))

    def lock(self, directory: str, patience: float) -> Life[str | None]:
        """kazoo's recipe; the path of our contender when the lock is ours, None after ``patience`` seconds."""
        self.make(directory)
        yield self.moment()
        prefix = f"{directory}/{self.chance.getrandbits(128):032x}__lock__"
        outcome = self.commit(Create(prefix, ephemeral=True, sequence=True))
        if isinstance(outcome, Refused):
            return None
        contender = str(outcome.results[0])
        give_up = self.world.clock.now + patience
        yield self.moment()
        while True:
            order = queue(self.world.ensemble.children(directory) or ())
            if contender.rpartition("/")[2] not in order:
                return None
            if order[0] == contender.rpartition("/")[2]:
                return contender
            if self.world.clock.now >= give_up:
                self.commit(Delete(contender))
                return None
            yield self.moment(1.0)

    def unlock(self, contender: str) -> None:
        """Give the lock up."""
        self.commit(Delete(contender))
