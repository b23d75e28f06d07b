"""The cloud in memory: time is a number, chance is a seed."""

from __future__ import annotations

import dataclasses
import random

import pytest

from nodepool.driver.adapter import Server, ServerState
from nodepool.driver.errors import CloudError, NoCapacity, NotFound, QuotaExceeded, RateLimited, UnknownOutcome
from nodepool.driver.fake.cloud import FakeCloud, FakeCloudSettings
from nodepool.driver.fake.faults import FAULT_NAMES, FaultRates
from nodepool.model.resources import Resources

ONE = Resources(instances=1, cores=4, ram=8192)
TAGS = {"nodepool_node_id": "0000000001", "nodepool_provider_name": "fake"}


class Clock:
    """A time that moves when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Sky(FakeCloud):
    """A fake cloud with a hand-moved clock."""

    def __init__(self, seed: int = 1, **settings: object) -> None:
        self.clock = Clock()
        plain = dataclasses.replace(FakeCloudSettings(), **settings)  # type: ignore[arg-type]
        super().__init__(self.clock, random.Random(seed), plain)

    def only(self) -> Server:
        (server,) = self.list()
        return server


def test_a_server_is_listed_with_its_tags_and_becomes_active() -> None:
    sky = Sky(boot_time=10.0)
    external_id = sky.create(TAGS, ONE, "az1")
    assert (sky.only().external_id, sky.only().tags, sky.only().az) == (external_id, TAGS, "az1")
    assert (sky.only().state, sky.only().interface_ip) == (ServerState.BUILDING, None)
    sky.clock.now = 10.0
    assert (sky.only().state, sky.only().interface_ip, sky.only().resources) == (ServerState.ACTIVE, "fake", ONE)


@pytest.mark.parametrize(("address", "field"), [("127.0.0.2", "public_ipv4"), ("::1", "public_ipv6")])
def test_servers_have_the_address_that_was_asked_for(address: str, field: str) -> None:
    sky = Sky(address=address, boot_time=0.0)
    sky.create(TAGS, ONE)
    assert (sky.only().interface_ip, getattr(sky.only(), field)) == (address, address)


def test_a_deleted_server_is_gone_after_a_while() -> None:
    sky = Sky(delete_time=5.0, boot_time=0.0)
    external_id = sky.create(TAGS, ONE)
    sky.delete(external_id)
    assert (sky.only().state, sky.used()) == (ServerState.DELETING, ONE)
    sky.clock.now = 5.0
    assert (sky.list(), sky.used(), sky.alive()) == ((), Resources(), ())
    with pytest.raises(NotFound):
        sky.delete(external_id)


def test_the_default_quota_is_that_of_nodepool_11() -> None:
    sky = Sky()
    assert sky.limits() == Resources.limit({"instances": 20, "cores": 100, "ram": 1_000_000, "volumes": 100})
    for _ in range(20):
        sky.create(TAGS, ONE)
    with pytest.raises(QuotaExceeded, match="instances"):
        sky.create(TAGS, ONE)
    sky.delete(sky.list()[0].external_id)
    sky.create(TAGS, ONE)
    assert sky.peak == ONE * 20


def test_lists_lag_behind_for_creation_and_end() -> None:
    sky = Sky(list_lag=10.0, boot_time=0.0)
    for _ in range(20):
        sky.create(TAGS, ONE)
    assert 0 <= len(sky.list()) < 20
    assert len(sky.alive()) == 20
    sky.clock.now = 10.0
    servers = sky.list()
    assert len(servers) == 20
    for server in servers:
        sky.delete(server.external_id)
    assert 0 < len(sky.list()) <= 20
    assert sky.alive() == ()
    sky.clock.now = 20.0
    assert sky.list() == ()


@pytest.mark.parametrize(
    ("fault", "error", "servers"),
    [
        ("create_refused", CloudError, 0),
        ("create_quota", QuotaExceeded, 0),
        ("create_no_capacity", NoCapacity, 0),
        ("create_rate_limited", RateLimited, 0),
        ("create_unknown_undone", UnknownOutcome, 0),
        ("create_unknown_done", UnknownOutcome, 1),
        ("create_late", UnknownOutcome, 1),
    ],
)
def test_creation_fails_in_each_way(fault: str, error: type[CloudError], servers: int) -> None:
    sky = Sky(faults=FaultRates(**{fault: 1.0}))
    with pytest.raises(error) as caught:
        sky.create(TAGS, ONE)
    assert type(caught.value) is error
    assert len(sky.alive()) == servers
    assert sky.faults == {fault: 1}


def test_a_late_server_appears_later_than_any_lag() -> None:
    sky = Sky(faults=FaultRates(create_late=1.0, late_appearance=30.0), list_lag=2.0)
    with pytest.raises(UnknownOutcome):
        sky.create(TAGS, ONE)
    sky.clock.now = 29.0
    assert sky.list() == ()
    sky.clock.now = 30.0
    assert sky.only().tags == TAGS


def test_a_server_goes_to_error_for_each_reason() -> None:
    sky = Sky(faults=FaultRates(boot_error=1.0), boot_time=1.0)
    for _ in range(20):
        sky.create(TAGS, ONE)
    assert {server.state for server in sky.list()} == {ServerState.BUILDING}
    sky.clock.now = 1.0
    assert {server.state for server in sky.list()} == {ServerState.ERROR}
    assert {server.fault for server in sky.list()} == {NoCapacity, QuotaExceeded, CloudError}


def test_a_server_gets_stuck_while_it_boots() -> None:
    sky = Sky(faults=FaultRates(boot_stuck=1.0))
    sky.create(TAGS, ONE)
    sky.clock.now = 1e9
    assert sky.only().state is ServerState.BUILDING


@pytest.mark.parametrize(
    ("fault", "error", "left"),
    [
        ("delete_refused", CloudError, ServerState.ACTIVE),
        ("delete_lost", None, ServerState.ACTIVE),
        ("delete_unknown", UnknownOutcome, None),
        ("delete_stuck", None, ServerState.DELETING),
    ],
)
def test_deletion_fails_in_each_way(fault: str, error: type[CloudError] | None, left: ServerState | None) -> None:
    sky = Sky(faults=FaultRates(**{fault: 1.0}), boot_time=0.0)
    external_id = sky.create(TAGS, ONE)
    if error is None:
        sky.delete(external_id)
    else:
        with pytest.raises(error):
            sky.delete(external_id)
    sky.clock.now = 1e9
    assert [server.state for server in sky.list()] == ([left] if left else [])


def test_a_stuck_deletion_ends_when_it_is_asked_for_again() -> None:
    sky = Sky(faults=FaultRates(delete_stuck=1.0))
    external_id = sky.create(TAGS, ONE)
    sky.delete(external_id)
    sky.delete(external_id)
    assert sky.list() == ()


@pytest.mark.parametrize(("fault", "error"), [("list_fails", CloudError), ("list_unknown", UnknownOutcome)])
def test_lists_fail(fault: str, error: type[CloudError]) -> None:
    with pytest.raises(error):
        Sky(faults=FaultRates(**{fault: 1.0})).list()


def test_a_repaired_cloud_works_and_loses_what_was_stuck() -> None:
    sky = Sky(faults=FaultRates(delete_stuck=1.0))
    sky.delete(sky.create(TAGS, ONE))
    sky.repair()
    assert sky.alive() == ()
    sky.delete(sky.create(TAGS, ONE))
    assert sky.alive() == ()


def test_one_seed_gives_one_history() -> None:
    def history(seed: int) -> list[str]:
        sky = Sky(seed, faults=FaultRates(**dict.fromkeys(FAULT_NAMES, 0.1)), quota=Resources.limit({}), list_lag=3.0)
        events = []
        for step in range(200):
            sky.clock.now = float(step)
            try:
                events.append(sky.create(TAGS, ONE))
                events.append(str([server.state for server in sky.list()]))
            except CloudError as error:
                events.append(f"{type(error).__name__}: {error}")
        return events

    assert history(5) == history(5)
    assert history(5) != history(6)


def test_calls_are_counted() -> None:
    sky = Sky()
    sky.delete(sky.create(TAGS, ONE))
    sky.list()
    sky.limits()
    assert sky.calls == {"create": 1, "delete": 1, "list": 1, "limits": 1}


def test_a_probability_is_from_0_to_1() -> None:
    with pytest.raises(ValueError, match="boot_error"):
        FaultRates(boot_error=1.5)
