"""The component registry in both worlds."""

from __future__ import annotations

from functools import partial

from nodepool.zk.registry import Registry
from nodepool.zk.store import Connection, Delete, SetData, Uncertain
from tests.contract.worlds import Caller, Follower, MemoryWorld, World

POOLS = "/nodepool/components/pool"


def registered(caller: Caller, kind: str = "pool") -> list[bytes]:
    """Data of all components of a kind, as ZooKeeper holds them."""
    names = caller.children(f"/nodepool/components/{kind}")
    found = [caller.read(f"/nodepool/components/{kind}/{name}") for name in sorted(names)]
    return [datum.data for datum in found if datum]


def test_components_are_registered_and_kept_up_to_date(world: World) -> None:
    caller, other = Caller(world), Caller(world)
    registry = Registry(caller.store, "nl1")
    registry.put("launcher", "launcher", b"L")
    registry.put("p1", "pool", b"one")
    registry.put("p2", "pool", b"two")
    world.until(lambda: registry.path("p2"))
    assert registry.path("p1") == f"{POOLS}/nl10000000000"
    assert registered(other) == [b"one", b"two"]
    assert registered(other, "launcher") == [b"L"]
    datum = other.read(f"{POOLS}/nl10000000000")
    assert datum is not None
    assert datum.ephemeral_owner == caller.store.session()
    for number in range(20):
        registry.put("p1", "pool", f"{number}".encode())
    world.until(lambda: registered(other) == [b"19", b"two"])
    registry.drop("p2")
    world.until(lambda: registered(other) == [b"19"])
    assert registry.path("p2") is None


def test_all_are_registered_again_in_a_new_session(world: World) -> None:
    caller, other = Caller(world), Caller(world)
    registry = Registry(caller.store, "nl1")
    registry.put("p1", "pool", b"one")
    registry.put("p2", "pool", b"two")
    world.until(lambda: registry.path("p2"))
    old = registry.path("p1")
    world.expire(caller.store)
    world.until(lambda: caller.connections[-2:] == [Connection.LOST, Connection.CONNECTED] and registry.path("p2"))
    assert registered(other) == [b"one", b"two"]
    assert registry.path("p1") != old


def test_an_interruption_changes_nothing(world: World) -> None:
    caller, other = Caller(world), Caller(world)
    registry = Registry(caller.store, "nl1")
    registry.put("p1", "pool", b"one")
    world.until(lambda: registry.path("p1"))
    path = registry.path("p1")
    world.interrupt(caller.store)
    world.until(lambda: caller.connections[-1] is Connection.SUSPENDED)
    registry.put("p1", "pool", b"new")
    world.until(lambda: registered(other) == [b"new"])
    assert registry.path("p1") == path


def test_what_others_did_to_a_component_is_undone(world: World) -> None:
    caller, other = Caller(world), Caller(world)
    registry = Registry(caller.store, "nl1")
    registry.put("p1", "pool", b"one")
    world.until(lambda: registry.path("p1"))
    path = str(registry.path("p1"))
    other.must(SetData(path, b"scribble", 0))
    registry.put("p1", "pool", b"two")
    world.until(lambda: registered(other) == [b"two"])
    other.must(Delete(path))
    registry.put("p1", "pool", b"three")
    world.until(lambda: registered(other) == [b"three"])


def test_an_orderly_stop_removes_all(world: World) -> None:
    caller, other = Caller(world), Caller(world)
    registry = Registry(caller.store, "nl1")
    registry.put("p1", "pool", b"one")
    registry.put("p2", "pool", b"two")
    world.until(lambda: registry.path("p2"))
    closed: list[bool] = []
    registry.close(partial(closed.append, True))
    world.until(lambda: closed)
    assert registered(other) == []


def test_a_host_name_that_begins_like_ours_is_left_alone(world: World) -> None:
    ours, theirs = Caller(world), Caller(world)
    long = Registry(theirs.store, "nl10")
    long.put("p", "pool", b"theirs")
    world.until(lambda: long.path("p"))
    short = Registry(ours.store, "nl1")
    short.put("p", "pool", b"ours")
    world.interrupt(ours.store)
    world.until(lambda: sorted(registered(theirs)) == [b"ours", b"theirs"])


def test_lost_answers_leave_no_second_record() -> None:
    """Only in memory: the answer to each kind of write is lost, after it was done and instead of doing it."""
    for executed in (True, False):
        for verdict in (Uncertain.CONNECTION_LOST, Uncertain.TIMED_OUT):
            world = MemoryWorld()
            store = world.store()
            caller = Caller(world, store)
            registry = Registry(store, "nl1")
            follower = Follower(store, [POOLS])
            for data in (b"one", b"two"):
                store.lose_answer(executed=executed, verdict=verdict)
                registry.put("p", "pool", data)
                world.settle()
                assert registered(caller) == [data]
            store.lose_answer(executed=executed, verdict=verdict)
            registry.drop("p")
            world.settle()
            assert registered(caller) == []
            assert set(follower.znodes) == {POOLS}
