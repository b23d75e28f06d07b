"""Elections in both worlds."""

from __future__ import annotations

import pytest

from nodepool.zk.contenders import queue
from nodepool.zk.election import Election, Step, next_step
from nodepool.zk.store import Connection, Delete
from tests.contract.worlds import Caller, Follower, World

FIRST, SECOND = "a__lock__0000000001", "b__lock__0000000002"


@pytest.mark.parametrize(
    ("ours", "seen", "connected", "step"),
    [
        (None, [], True, Step.JOIN),
        (None, [FIRST], True, Step.JOIN),
        (FIRST, [], True, Step.WAIT),
        (FIRST, [SECOND, FIRST], True, Step.LEAD),
        (SECOND, [SECOND, FIRST], True, Step.WAIT),
        (SECOND, [SECOND, "nonsense"], True, Step.LEAD),
        (FIRST, [FIRST], False, Step.WAIT),
        (None, [], False, Step.WAIT),
    ],
)
def test_next_step(ours: str | None, seen: list[str], connected: bool, step: Step) -> None:
    assert next_step(ours, seen, connected) is step


class Candidate:
    """A process with an election and the feed that it needs."""

    def __init__(self, world: World, name: str) -> None:
        self.caller = Caller(world)
        self.election = Election(self.caller.store, "stats", name.encode())
        self.follower = Follower(self.caller.store, ["/nodepool/elections/stats"], self._seen)

    def _seen(self) -> None:
        self.election.seen([path.rpartition("/")[2] for path in self.follower.znodes])


def test_one_leads_and_the_next_follows_when_it_goes(world: World) -> None:
    first = Candidate(world, "first-1")
    world.until(lambda: first.election.leading)
    second = Candidate(world, "second-2")
    names: list[str] = []

    def both_queue() -> bool:
        names[:] = queue(first.caller.children("/nodepool/elections/stats"))
        return len(names) == 2

    world.until(both_queue)
    data = [first.caller.read(f"/nodepool/elections/stats/{name}") for name in names]
    assert [datum.data for datum in data if datum] == [b"first-1", b"second-2"]
    assert not second.election.leading
    world.close(first.caller.store)
    world.until(lambda: second.election.leading)


def test_a_new_session_enters_again(world: World) -> None:
    first = Candidate(world, "first-1")
    world.until(lambda: first.election.leading)
    second = Candidate(world, "second-2")
    world.until(lambda: len(first.follower.znodes) == 3)
    world.expire(first.caller.store)
    world.until(lambda: second.election.leading and not first.election.leading)
    world.until(lambda: first.caller.connections[-1] is Connection.CONNECTED and len(second.follower.znodes) == 3)
    second.election.leave()
    world.until(lambda: first.election.leading and not second.election.leading)


def test_a_removed_contender_enters_again(world: World) -> None:
    candidate = Candidate(world, "first-1")
    world.until(lambda: candidate.election.leading)
    (path,) = [path for path in candidate.follower.znodes if "__lock__" in path]
    candidate.caller.must(Delete(path))
    world.until(lambda: candidate.election.leading and path not in candidate.follower.znodes)
