"""The contract of a store, held by the real one and by the one in memory alike."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodepool.zk.contenders import sequence_of
from nodepool.zk.store import (
    SIZE_LIMIT,
    Check,
    Committed,
    Connection,
    Contended,
    Create,
    Delete,
    Operation,
    Outcome,
    Refused,
    RefusedBy,
    SetData,
    Uncertain,
)
from tests.contract.worlds import Caller, Follower, MemoryWorld, RealWorld, World
from tests.zookeeper import new_place


def refusal(outcome: Outcome) -> tuple[int, RefusedBy]:
    assert isinstance(outcome, Refused), outcome
    return outcome.index, outcome.reason


# Transactions


def test_a_created_znode_can_be_read_with_its_times_and_versions(caller: Caller) -> None:
    before = time.time() if isinstance(caller.world, RealWorld) else caller.world.now  # type: ignore[attr-defined]
    zxid = caller.must(Create("/a", b"one")).zxid
    datum = caller.read("/a")
    assert datum is not None
    assert (datum.data, datum.version, datum.ephemeral_owner) == (b"one", 0, 0)
    assert zxid == datum.czxid == datum.mzxid > 0
    assert datum.ctime == datum.mtime
    assert before - 1 < datum.ctime < before + 60


def test_a_change_keeps_the_creation_and_counts_the_version(caller: Caller) -> None:
    created = caller.must(Create("/a", b"one"))
    changed = caller.must(SetData("/a", b"two", 0))
    datum = caller.read("/a")
    assert datum is not None
    assert changed.results == (1,)
    assert (datum.data, datum.version, datum.czxid, datum.mzxid) == (b"two", 1, created.zxid, changed.zxid)


def test_results_are_one_per_operation(caller: Caller) -> None:
    caller.make("/a")
    done = caller.must(Check("/a", 0), Create("/a/s", sequence=True), SetData("/a", b"x", 0), Delete("/a/s0000000000"))
    assert done.results == (None, "/a/s0000000000", 1, None)


def test_all_operations_of_a_transaction_have_one_zxid(caller: Caller) -> None:
    done = caller.must(Create("/a"), Create("/a/b"), SetData("/a", b"x", 0))
    top, below = caller.read("/a"), caller.read("/a/b")
    assert top is not None
    assert below is not None
    assert done.zxid == top.czxid == top.mzxid == below.mzxid


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (Create("/a/b"), RefusedBy.NODE_EXISTS),
        (Create("/x/y"), RefusedBy.NO_NODE),
        (SetData("/x", b"", 0), RefusedBy.NO_NODE),
        (SetData("/a", b"", 7), RefusedBy.BAD_VERSION),
        (Delete("/x"), RefusedBy.NO_NODE),
        (Delete("/a"), RefusedBy.NOT_EMPTY),
        (Delete("/a/b", 7), RefusedBy.BAD_VERSION),
        (Check("/x"), RefusedBy.NO_NODE),
        (Check("/a", 7), RefusedBy.BAD_VERSION),
    ],
)
def test_a_refused_transaction_names_the_operation_and_changes_nothing(
    caller: Caller, operation: Operation, reason: RefusedBy
) -> None:
    caller.make("/a", "/a/b")
    before = caller.tree("/a")
    outcome = caller.commit(
        SetData("/a", b"new", 0), Create("/a/c"), Create("/a/s", sequence=True), operation, Delete("/a/b")
    )
    assert refusal(outcome) == (3, reason)
    assert isinstance(outcome, Refused)
    assert operation.path in outcome.detail
    assert caller.tree("/a") == before
    assert caller.must(Create("/a/s", sequence=True)).results == ("/a/s0000000001",)


def test_a_check_without_version_means_that_the_znode_exists(caller: Caller) -> None:
    caller.make("/a")
    caller.must(SetData("/a", b"x", 0))
    assert isinstance(caller.commit(Check("/a")), Committed)
    assert refusal(caller.commit(Create("/b"), Check("/x"))) == (1, RefusedBy.NO_NODE)


def test_operations_see_what_those_before_them_did(caller: Caller) -> None:
    caller.must(Create("/a"), SetData("/a", b"x", 0), Check("/a", 1), Create("/a/b"), Delete("/a/b"), Delete("/a", 1))
    assert caller.read("/a") is None


def test_version_minus_one_sets_and_deletes_whatever_is_there(caller: Caller) -> None:
    caller.make("/a")
    caller.must(SetData("/a", b"x", -1), SetData("/a", b"y", -1))
    caller.must(Delete("/a"))
    assert caller.read("/a") is None


def test_a_recreated_znode_starts_again_at_version_zero(caller: Caller) -> None:
    caller.make("/a")
    caller.must(SetData("/a", b"x", 0))
    caller.must(Delete("/a"))
    caller.make("/a")
    datum = caller.read("/a")
    assert datum is not None
    assert datum.version == 0


@pytest.mark.parametrize("sizes", [(SIZE_LIMIT,), (SIZE_LIMIT // 2, SIZE_LIMIT // 2)])
def test_what_is_too_long_is_refused_and_hurts_nothing_else(caller: Caller, sizes: tuple[int, ...]) -> None:
    operations = [Create(f"/n{index}", bytes(size)) for index, size in enumerate(sizes)]
    outcome = caller.commit(*operations)
    assert refusal(outcome) == (len(sizes) - 1, RefusedBy.OTHER)
    assert isinstance(outcome, Refused)
    assert "longer than" in outcome.detail
    assert isinstance(caller.commit(Create("/n0", bytes(SIZE_LIMIT - 1000))), Committed)
    assert caller.connections == [Connection.CONNECTED]


# Sequence numbers


def test_sequence_numbers_count_all_creations_and_no_deletions(caller: Caller) -> None:
    caller.make("/q")
    assert caller.must(Create("/q/a", sequence=True)).results == ("/q/a0000000000",)
    caller.make("/q/plain")
    caller.must(Delete("/q/a0000000000"))
    assert caller.must(Create("/q/", sequence=True)).results == ("/q/0000000002",)
    refused = caller.commit(Create("/q/b", sequence=True), Check("/x"))
    assert refusal(refused) == (1, RefusedBy.NO_NODE)
    done = caller.must(Create("/q/b", sequence=True), Create("/q/b", sequence=True))
    assert done.results == ("/q/b0000000003", "/q/b0000000004")


# Sessions


def test_ephemeral_znodes_bear_the_session_and_go_with_it(world: World, caller: Caller) -> None:
    other = Caller(world)
    caller.make("/e")
    session = caller.store.session()
    caller.must(Create("/e/ours", ephemeral=True), Create("/e/s", ephemeral=True, sequence=True), Create("/e/stays"))
    datum = other.read("/e/ours")
    assert datum is not None
    assert datum.ephemeral_owner == session
    world.expire(caller.store)
    assert other.children("/e") == ("stays",)


def test_ephemeral_znodes_go_at_once_when_the_store_is_closed(world: World, caller: Caller) -> None:
    other = Caller(world)
    caller.must(Create("/e", ephemeral=True))
    world.close(caller.store)
    assert other.read("/e") is None


def test_an_ephemeral_znode_cannot_have_children(caller: Caller) -> None:
    caller.must(Create("/e", ephemeral=True))
    assert refusal(caller.commit(Create("/e/x"))) == (0, RefusedBy.OTHER)


def test_after_a_lost_session_there_is_another_one(world: World, caller: Caller) -> None:
    first = caller.store.session()
    world.expire(caller.store)
    world.until(lambda: caller.connections[-2:] == [Connection.LOST, Connection.CONNECTED])
    lost = caller.changes[-2]
    assert lost.session == first
    assert caller.store.session() == caller.changes[-1].session != first
    assert isinstance(caller.commit(Create("/a")), Committed)


def test_an_interruption_keeps_the_session_and_its_znodes(world: World, caller: Caller) -> None:
    session = caller.store.session()
    caller.must(Create("/e", ephemeral=True))
    world.interrupt(caller.store)
    wanted = [Connection.CONNECTED, Connection.SUSPENDED, Connection.CONNECTED]
    world.until(lambda: caller.connections == wanted)
    assert caller.store.session() == session
    assert {change.session for change in caller.changes} == {session}
    assert caller.read("/e") is not None


def test_a_late_listener_is_told_the_present_state(world: World, caller: Caller) -> None:
    world.expire(caller.store)
    world.until(lambda: caller.connections[-2:] == [Connection.LOST, Connection.CONNECTED])
    late = Caller(world, caller.store)
    world.until(lambda: late.changes)
    assert late.changes == caller.changes[-1:]


def test_a_call_while_interrupted_ends_as_uncertain_and_was_not_done(world: World, caller: Caller) -> None:
    outcomes: list[Outcome] = []

    def write_when_suspended(*_: object) -> None:
        if caller.connections[-1] is Connection.SUSPENDED:
            caller.store.commit([Create("/late")], outcomes.append)

    caller.store.listen(write_when_suspended)
    world.interrupt(caller.store)
    world.until(lambda: outcomes and caller.connections[-1] is Connection.CONNECTED)
    assert outcomes == [Uncertain.CONNECTION_LOST]
    assert caller.read("/late") is None


def test_calls_that_are_interrupted_end_exactly_once_and_before_the_change_is_told(
    world: World, caller: Caller
) -> None:
    caller.make("/n")
    news: list[object] = []
    caller.store.listen(news.append)
    world.until(lambda: news)
    for number in range(300):
        caller.store.commit([Create(f"/n/{number}")], news.append)
    world.interrupt(caller.store)
    world.until(lambda: caller.connections[-2:] == [Connection.SUSPENDED, Connection.CONNECTED])
    suspended = news.index(caller.changes[-2])
    outcomes = [item for item in news if isinstance(item, Committed | Uncertain)]
    assert len(outcomes) == 300
    assert not any(isinstance(item, Committed | Uncertain) for item in news[suspended:])
    done = [item.results[0] for item in outcomes if isinstance(item, Committed)]
    assert {f"/n/{name}" for name in caller.children("/n")} >= set(done)


def test_calls_are_done_in_the_order_in_which_they_were_made(world: World, caller: Caller) -> None:
    caller.make("/n")
    done: list[Outcome] = []
    for _ in range(500):
        caller.store.commit([Create("/n/", sequence=True)], done.append)
    world.until(lambda: len(done) == 500)
    assert [outcome.results[0] for outcome in done if isinstance(outcome, Committed)] == [
        f"/n/{number:010d}" for number in range(500)
    ]


# Fencing


def test_a_transaction_for_another_session_is_not_sent(world: World, caller: Caller) -> None:
    old = caller.store.session()
    assert caller.commit(Create("/x"), session=old + 1) is Uncertain.SESSION_LOST
    world.expire(caller.store)
    world.until(lambda: caller.connections[-2:] == [Connection.LOST, Connection.CONNECTED])
    assert caller.commit(Create("/x"), session=old) is Uncertain.SESSION_LOST
    assert caller.contend("/", b"", session=old) is Uncertain.SESSION_LOST
    assert caller.read("/x") is None
    assert isinstance(caller.commit(Create("/x"), session=caller.store.session()), Committed)


def test_a_write_that_checks_our_contender_is_refused_once_the_session_is_gone(world: World, caller: Caller) -> None:
    caller.make("/r", "/r/lock")
    held = caller.contend("/r/lock")
    contender = Check(f"/r/lock/{held.contender}")
    assert isinstance(caller.commit(contender, SetData("/r", b"ours", 0)), Committed)
    world.expire(caller.store)
    world.until(lambda: caller.connections[-2:] == [Connection.LOST, Connection.CONNECTED])
    assert refusal(caller.commit(contender, SetData("/r", b"late", 1))) == (0, RefusedBy.NO_NODE)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(delay=st.integers(0, 200))
def test_nothing_meant_for_a_session_is_done_in_the_next_one(world: World, delay: int) -> None:
    """Writes go on all the time while the session ends: each is done by its own session or not at all."""
    caller = Caller(world)
    old = caller.store.session()
    root = f"/s{old}"
    caller.make(root)
    outcomes: list[Outcome] = []
    for number in range(delay + 100):
        caller.store.commit([Create(f"{root}/{number}", ephemeral=True)], outcomes.append, session=old)
        if number == delay:
            world.expire(caller.store)
    world.until(lambda: len(outcomes) == delay + 100 and caller.store.session() not in (0, old))
    assert caller.children(root) == ()
    world.close(caller.store)


# Locks


def test_contenders_queue_in_the_order_of_their_coming(world: World, caller: Caller) -> None:
    others = [Caller(world), Caller(world)]
    caller.make("/l")
    first = caller.contend("/l", b"me")
    second, third = (other.contend("/l") for other in others)
    assert first == Contended("/l", first.contender, ())
    assert second.ahead == (first.contender,)
    assert third.ahead == (first.contender, second.contender)
    assert [sequence_of(item.contender) for item in (first, second, third)] == [0, 1, 2]
    assert len(first.contender.partition("__lock__")[0]) == 32
    datum = caller.read(f"/l/{first.contender}")
    assert datum is not None
    assert (datum.data, datum.ephemeral_owner) == (b"me", caller.store.session())
    caller.must(Delete(f"/l/{first.contender}"))
    assert others[1].contend("/l").ahead == (second.contender, third.contender)


def test_one_store_can_stand_in_a_queue_twice(caller: Caller) -> None:
    caller.make("/l")
    first = caller.contend("/l")
    assert caller.contend("/l").ahead == (first.contender,)


def test_names_that_are_no_contenders_are_not_in_the_queue(caller: Caller) -> None:
    caller.make("/l", "/l/other", "/l/x__lock__12")
    assert caller.contend("/l").ahead == ()


def test_a_lock_directory_is_never_made(caller: Caller) -> None:
    assert refusal(caller.contend("/missing/lock")) == (0, RefusedBy.NO_NODE)
    assert caller.read("/missing") is None


def test_the_lock_passes_on_when_the_session_of_its_holder_ends(world: World, caller: Caller) -> None:
    other = Caller(world)
    caller.make("/l")
    caller.contend("/l")
    mine = other.contend("/l")
    follower = Follower(other.store, ["/l"])
    world.expire(caller.store)
    world.until(lambda: set(follower.znodes) == {"/l", f"/l/{mine.contender}"})


# Reading


def test_many_znodes_are_read_in_one_call(caller: Caller) -> None:
    caller.make("/m")
    caller.must(*(Create(f"/m/{number}", str(number).encode()) for number in range(450)))
    found = caller.call(caller.store.read, [f"/m/{number}" for number in range(460)])
    assert [datum.data for datum in found.values() if datum] == [str(number).encode() for number in range(450)]
    assert [path for path, datum in found.items() if datum is None] == [f"/m/{number}" for number in range(450, 460)]
    assert caller.call(caller.store.read, []) == {}


def test_children(caller: Caller) -> None:
    caller.make("/c", "/c/a", "/c/b")
    assert sorted(caller.children("/c")) == ["a", "b"]
    assert caller.children("/c/a") == ()
    assert refusal(caller.children("/x")) == (0, RefusedBy.NO_NODE)


# Feeds


def test_a_feed_begins_with_all_there_is(world: World, caller: Caller) -> None:
    caller.make("/f", "/f/a", "/f/a/b", "/g", "/other", "/fx")
    follower = Follower(caller.store, ["/f", "/g", "/missing"])
    world.until(lambda: follower.batches)
    assert follower.batches[0].complete
    assert follower.batches[0].session == caller.store.session()
    assert set(follower.znodes) == {"/f", "/f/a", "/f/a/b", "/g"}


def test_a_feed_of_nothing_begins_with_an_empty_batch_and_sees_its_root_come(world: World, caller: Caller) -> None:
    follower = Follower(caller.store, ["/f"])
    world.until(lambda: follower.batches)
    assert (follower.batches[0].complete, follower.batches[0].entries) == (True, {})
    caller.must(Create("/f"), Create("/f/a", b"x"))
    world.until(lambda: follower.data() == {"/f": b"", "/f/a": b"x"})
    caller.must(Delete("/f/a"), Delete("/f"))
    world.until(lambda: follower.znodes == {})
    caller.make("/f")
    world.until(lambda: set(follower.znodes) == {"/f"})


def test_a_feed_tells_what_other_sessions_do(world: World, caller: Caller) -> None:
    other = Caller(world)
    follower = Follower(caller.store, ["/f"])
    world.until(lambda: follower.batches)
    other.must(Create("/f", b"1"), Create("/elsewhere"), Create("/fx"))
    other.must(SetData("/f", b"2", 0), Create("/f/e", ephemeral=True))
    world.until(lambda: follower.data() == {"/f": b"2", "/f/e": b""})
    assert follower.znodes == caller.tree("/f")
    world.close(other.store)
    world.until(lambda: set(follower.znodes) == {"/f"})
    assert not any(batch.complete for batch in follower.batches[1:])


def test_a_feed_sees_subtrees_come_and_go_in_one_transaction(world: World, caller: Caller) -> None:
    follower = Follower(caller.store, ["/f"])
    caller.must(Create("/f"), *(Create(f"/f/{number}") for number in range(300)))
    caller.must(*(Create(f"/f/{number}/lock") for number in range(300)))
    world.until(lambda: len(follower.znodes) == 601)
    caller.must(*(Delete(f"/f/{number}{below}") for number in range(300) for below in ("/lock", "")), Delete("/f"))
    world.until(lambda: not follower.znodes)


def test_a_feed_is_complete_again_after_an_interruption(world: World, caller: Caller) -> None:
    other = Caller(world)
    caller.make("/f", "/f/gone", "/f/stays")
    follower = Follower(caller.store, ["/f"])
    world.until(lambda: follower.batches)
    world.interrupt(caller.store)
    other.must(Delete("/f/gone"), Create("/f/new"))
    world.until(lambda: sum(batch.complete for batch in follower.batches) == 2)
    world.until(lambda: set(follower.znodes) == {"/f", "/f/stays", "/f/new"})
    other.must(SetData("/f", b"on", 0))
    world.until(lambda: follower.data()["/f"] == b"on")


def test_a_feed_goes_on_in_a_new_session(world: World, caller: Caller) -> None:
    caller.make("/f")
    caller.must(Create("/f/ours", ephemeral=True))
    follower = Follower(caller.store, ["/f"])
    world.until(lambda: "/f/ours" in follower.znodes)
    old = caller.store.session()
    world.expire(caller.store)
    world.until(lambda: follower.batches[-1].complete and follower.batches[-1].session not in (0, old))
    assert set(follower.znodes) == {"/f"}
    caller.make("/f/next")
    world.until(lambda: "/f/next" in follower.znodes)


PATHS = ["/t", "/t/a", "/t/b", "/t/a/x", "/t/a/y", "/t/b/x"]
OPERATIONS = st.one_of(
    st.builds(
        Create, st.sampled_from(PATHS), st.sampled_from([b"", b"1"]), ephemeral=st.booleans(), sequence=st.booleans()
    ),
    st.builds(SetData, st.sampled_from(PATHS), st.sampled_from([b"2", b"3"]), st.sampled_from([-1, 0, 1])),
    st.builds(Delete, st.sampled_from(PATHS), st.sampled_from([-1, 0, 1])),
    st.builds(Check, st.sampled_from(PATHS), st.sampled_from([-1, 0, 1])),
)
HISTORIES = st.lists(st.one_of(st.lists(OPERATIONS, min_size=1, max_size=4), st.just("interrupt")), max_size=20)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=HISTORIES)
def test_a_feed_ends_as_the_tree_whatever_happens(world: World, history: list[list[Operation] | str]) -> None:
    caller, watcher = Caller(world), Caller(world)
    root = f"/h{caller.store.session()}"
    caller.make(root)
    newest: dict[str, int] = {}
    follower = Follower(watcher.store, [root])
    for step in history:
        if isinstance(step, str):
            world.interrupt(watcher.store)
        else:
            caller.commit(*(_below(root, operation) for operation in step))
    tree = caller.tree(root)
    world.until(lambda: follower.znodes == tree)
    for batch in follower.batches:
        for path, datum in batch.entries.items():
            assert datum is None or datum.mzxid >= newest.get(path, 0)
            newest[path] = datum.mzxid if datum else newest.get(path, 0)
    for each in (caller, watcher):
        world.close(each.store)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(st.lists(OPERATIONS, min_size=1, max_size=4), min_size=1, max_size=20))
def test_both_stores_answer_alike(zookeeper_hosts: str, history: list[list[Operation]]) -> None:
    real, memory = RealWorld(new_place(zookeeper_hosts)), MemoryWorld()
    callers = [Caller(real), Caller(memory)]
    for step in history:
        left, right = (caller.commit(*step) for caller in callers)
        assert _essence(left) == _essence(right)
    trees = [
        {path: (datum.data, datum.version, datum.ephemeral_owner != 0) for path, datum in caller.tree("/t").items()}
        for caller in callers
    ]
    assert trees[0] == trees[1]
    real.end()


def _below(root: str, operation: Operation) -> Operation:
    match operation:
        case Create(path, data, ephemeral, sequence):
            return Create(root + path, data, ephemeral, sequence)
        case SetData(path, data, version):
            return SetData(root + path, data, version)
        case Delete(path, version):
            return Delete(root + path, version)
        case Check(path, version):
            return Check(root + path, version)


def _essence(outcome: Outcome) -> object:
    match outcome:
        case Committed(results):
            return results
        case Refused(index, reason):
            return index, reason
    return outcome
