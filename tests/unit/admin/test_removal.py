"""Deleting the servers of a node in the foreground, in a cloud in memory with a clock of its own."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from nodepool.admin.failure import CommandFailed
from nodepool.admin.removal import remove_servers
from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG, Server
from nodepool.driver.errors import Unauthorized
from nodepool.driver.fake.adapter import FakeAdapter
from nodepool.driver.fake.cloud import FakeCloud, FakeCloudSettings
from nodepool.driver.fake.faults import FaultRates
from nodepool.model.node import Node
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState

ONE = Resources(instances=1)


class World:
    """A cloud, its adapter and the time."""

    def __init__(self, **settings: object) -> None:
        self.time = 1000.0
        chance = random.Random(7)
        self.cloud = FakeCloud(self.now, chance, FakeCloudSettings(**settings))  # type: ignore[arg-type]
        self.adapter = FakeAdapter(self.cloud, {})

    def now(self) -> float:
        return self.time

    def pause(self, seconds: float) -> None:
        self.time += seconds

    def server(self, node_id: str | None, provider: str | None = "p") -> str:
        tags = {NODE_TAG: node_id, PROVIDER_TAG: provider}
        return self.cloud.create({key: value for key, value in tags.items() if value}, ONE)

    def remove(self, external_id: str | None = None, limit: float = 600.0) -> None:
        node = Node(id="0000000001", provider="p", state=NodeState.DELETING, external_id=external_id)
        remove_servers(self.adapter, node, self.now, self.pause, limit)

    def left(self) -> list[str]:
        return [server.external_id for server in self.cloud.alive()]


def test_all_servers_of_the_node_go_and_nothing_else() -> None:
    world = World(delete_time=3.0)
    world.server("0000000001")
    untagged_but_recorded = world.server(None, None)
    world.server("0000000001")
    kept = [world.server("0000000002"), world.server("0000000001", "other"), world.server(None, None)]
    world.remove(untagged_but_recorded)
    assert world.left() == kept


def test_a_recorded_id_that_bears_the_tag_of_others_is_not_touched() -> None:
    world = World()
    foreign = world.server("0000000001", "other")
    world.remove(foreign)
    assert world.left() == [foreign]


def test_a_list_that_lags_is_waited_for() -> None:
    world = World(list_lag=30.0)
    world.server("0000000001")
    world.remove()
    assert world.left() == []


def test_trouble_of_the_cloud_is_outlasted() -> None:
    world = World(faults=FaultRates(list_fails=0.3, list_unknown=0.2, delete_refused=0.3, delete_unknown=0.2))
    for _ in range(5):
        world.server("0000000001")
    world.remove()
    assert world.left() == []


def test_what_does_not_go_is_given_up_and_said() -> None:
    world = World(faults=FaultRates(delete_stuck=1.0))
    world.server("0000000001")
    with pytest.raises(CommandFailed) as caught:
        world.remove(limit=90.0)
    assert str(caught.value) == (
        "Node 0000000001 was not deleted: not gone within 90 s: the cloud still lists it; "
        "its record stays in deleting, so a launcher of p goes on"
    )
    assert 1090.0 <= world.time < 1095.0


def test_wrong_credentials_are_told_at_once() -> None:
    class Closed(FakeAdapter):
        def list_servers(self, deadline: float) -> Sequence[Server]:
            raise Unauthorized(f"no access within {deadline}")

    world = World()
    world.adapter = Closed(world.cloud, {})
    with pytest.raises(CommandFailed, match="the provider cannot be used: "):
        world.remove()
    assert world.time == 1000.0
