"""Lists of what has changed, put together to a list of everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodepool.driver.adapter import Server, ServerState
from nodepool.driver.openstack.listing import FULL_EVERY, LAG, OVERLAP, Listing

CLOUD = 1_700_000_000.0


def server(external_id: str, state: ServerState = ServerState.ACTIVE) -> Server:
    return Server(external_id, state)


def ids(servers: tuple[Server, ...]) -> set[str]:
    return {one.external_id for one in servers}


def test_the_first_list_is_full_and_the_next_builds_upon_it() -> None:
    listing = Listing()
    plan = listing.begin(1000.0)
    assert plan.since is None
    assert ids(listing.take(plan, {"a": server("a"), "b": server("b")}, CLOUD)) == {"a", "b"}
    plan = listing.begin(1001.0)
    assert plan.since == CLOUD - OVERLAP
    changes = {"b": None, "c": server("c")}
    assert ids(listing.take(plan, changes, CLOUD + 1)) == {"a", "c"}
    assert listing.begin(1002.0).since == CLOUD + 1 - OVERLAP


def test_a_change_replaces_what_was_known() -> None:
    listing = Listing()
    listing.take(listing.begin(0.0), {"a": server("a", ServerState.BUILDING)}, CLOUD)
    (changed,) = listing.take(listing.begin(1.0), {"a": server("a")}, CLOUD)
    assert changed.state is ServerState.ACTIVE


def test_a_full_list_is_due_now_and_then_and_replaces_everything() -> None:
    listing = Listing()
    listing.take(listing.begin(0.0), {"a": server("a")}, CLOUD)
    assert listing.begin(FULL_EVERY - 1).since is not None
    plan = listing.begin(FULL_EVERY)
    assert plan.since is None
    assert listing.take(plan, {}, CLOUD) == ()


def test_a_cloud_without_a_clock_gets_full_lists_only() -> None:
    listing = Listing()
    listing.take(listing.begin(0.0), {"a": server("a")}, None)
    assert listing.begin(1.0).since is None


def test_a_list_that_failed_changes_nothing() -> None:
    listing = Listing()
    listing.take(listing.begin(0.0), {"a": server("a")}, CLOUD)
    listing.begin(1.0)
    assert listing.begin(2.0).since == CLOUD - OVERLAP


def test_distrust_makes_the_next_list_full_even_if_one_is_under_way() -> None:
    listing = Listing()
    listing.take(listing.begin(0.0), {}, CLOUD)
    under_way = listing.begin(1.0)
    listing.distrust()
    listing.take(under_way, {}, CLOUD)
    full = listing.begin(2.0)
    assert full.since is None
    listing.take(full, {}, CLOUD)
    assert listing.begin(3.0).since is not None


def test_a_full_list_that_failed_stays_due() -> None:
    listing = Listing()
    listing.take(listing.begin(0.0), {}, CLOUD)
    listing.distrust()
    assert listing.begin(1.0).since is None
    assert listing.begin(2.0).since is None


def test_a_server_that_we_made_is_known_before_the_cloud_counts_it_as_changed() -> None:
    listing = Listing()
    listing.take(listing.begin(0.0), {}, CLOUD)
    listing.made(server("new", ServerState.BUILDING), 1.0)
    assert ids(listing.take(listing.begin(2.0), {}, CLOUD)) == {"new"}


def test_a_full_list_must_show_it_when_the_lag_is_over() -> None:
    listing = Listing()
    listing.made(server("new"), 1.0)
    assert ids(listing.take(listing.begin(1.0 + LAG - 0.1), {}, None)) == {"new"}
    assert listing.take(listing.begin(1.0 + LAG), {}, None) == ()


def test_a_server_that_we_made_and_the_cloud_shows_is_as_the_cloud_shows_it() -> None:
    listing = Listing()
    plan = listing.begin(0.0)
    listing.take(plan, {"new": server("new")}, CLOUD)
    listing.made(server("new", ServerState.BUILDING), 1.0)
    assert listing.take(listing.begin(2.0), {}, CLOUD)[0].state is ServerState.ACTIVE


def test_a_list_that_ends_after_a_later_one_is_not_taken() -> None:
    listing = Listing()
    early, late = listing.begin(0.0), listing.begin(1.0)
    listing.take(late, {"a": server("a")}, CLOUD)
    assert ids(listing.take(early, {"b": server("b")}, CLOUD)) == {"a"}


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["make", "change", "delete", "list", "full"])), max_size=60
    )
)
def test_lists_of_changes_tell_what_full_lists_would(steps: list[tuple[str, str]]) -> None:
    listing, truth = Listing(), dict[str, Server]()
    changed: dict[str, Server | None] = {}
    now = 0.0
    for name, step in steps:
        now += 1.0
        match step:
            case "make" if name not in truth:
                truth[name] = changed[name] = server(name, ServerState.BUILDING)
            case "change" if name in truth:
                truth[name] = changed[name] = server(name)
            case "delete" if name in truth:
                del truth[name]
                changed[name] = None
            case "full":
                listing.distrust()
            case "list":
                plan = listing.begin(now)
                found = dict(truth) if plan.since is None else changed
                assert {one.external_id: one for one in listing.take(plan, found, CLOUD + now)} == truth
                changed = {}


def test_after_a_deletion_during_the_build_everything_is_listed() -> None:
    listing = Listing()
    listing.take(listing.begin(0.0), {"a": server("a", ServerState.BUILDING), "b": server("b")}, CLOUD)
    listing.deleting("b")
    assert listing.begin(1.0).since is not None
    listing.deleting("a")
    plan = listing.begin(2.0)
    assert plan.since is None
    assert ids(listing.take(plan, {"b": server("b")}, CLOUD)) == {"b"}


def test_what_was_made_and_deleted_at_once_is_gone_with_the_next_list() -> None:
    listing = Listing()
    listing.take(listing.begin(0.0), {}, CLOUD)
    listing.made(server("a", ServerState.BUILDING), 1.0)
    listing.deleting("a")
    assert ids(listing.take(listing.begin(1.5), {}, CLOUD)) == set()
