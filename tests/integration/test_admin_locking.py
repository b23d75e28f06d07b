"""How commands change and remove records while others meddle, on a real ZooKeeper."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from nodepool.admin.erase import erase_all, holdings
from nodepool.admin.failure import CommandFailed
from nodepool.admin.locking import change, contender_path, locked_node, remove, write
from nodepool.admin.snapshot import find_node, snapshot
from nodepool.model.node import Node
from nodepool.model.states import NodeState
from nodepool.zk import paths
from nodepool.zk.client import Client, connect
from nodepool.zk.store import Create, Delete, SetData
from tests.zookeeper import Place

ID = "0000000001"
RECORD = {"state": "ready", "provider": "p"}


@pytest.fixture
def client(zookeeper: Place) -> Iterator[Client]:
    with connect(zookeeper.hosts, zookeeper.chroot) as client:
        client.ensure(paths.NODES)
        client.commit([Create(paths.node(ID), json.dumps(RECORD).encode()), Create(paths.node_lock(ID))])
        yield client


def meddle(client: Client) -> None:
    """Write as Jenkins does: without a lock."""
    node, version = find_node(snapshot(client, paths.node(ID)), ID)
    client.commit([SetData(paths.node(ID), node.replace(comment="meddled").to_json(), version)])


def test_a_change_by_others_in_between_is_kept(client: Client) -> None:
    asked: list[Node] = []

    def decide(node: Node) -> Node:
        asked.append(node)
        if len(asked) == 2:
            meddle(client)
        return node.in_state(NodeState.HOLD, 5.0)

    change(client, ID, "me", decide)
    assert [node.comment for node in asked] == [None, None, "meddled"]
    assert find_node(snapshot(client, paths.node(ID)), ID)[0].state is NodeState.HOLD


def test_nothing_is_written_without_the_lock(client: Client) -> None:
    with locked_node(client, ID, "me") as held:
        node, version = find_node(snapshot(client, paths.node(ID)), ID)
        client.commit([Delete(contender_path(held))])
        with pytest.raises(CommandFailed, match="the lock was lost"):
            write(client, [(held, node.in_state(NodeState.HOLD, 5.0), version)])
        with pytest.raises(CommandFailed, match="the lock was lost"):
            remove(client, held, ID)
    assert find_node(snapshot(client, paths.node(ID)), ID)[0].state is NodeState.READY


def test_several_records_are_written_together_or_not_at_all(client: Client) -> None:
    other = "0000000002"
    client.commit([Create(paths.node(other), json.dumps(RECORD).encode())])
    with locked_node(client, ID, "me") as first, locked_node(client, other, "me") as second:
        mirror = snapshot(client, paths.NODES)
        (one, version), (two, old) = find_node(mirror, ID), find_node(mirror, other)
        meddle(client)
        held = NodeState.HOLD
        changes = [(second, two.in_state(held, 5.0), old), (first, one.in_state(held, 5.0), version)]
        assert not write(client, changes)
        assert find_node(snapshot(client, paths.NODES), other)[0].state is NodeState.READY


def test_a_record_is_removed_though_others_wait_for_its_lock(client: Client) -> None:
    with locked_node(client, ID, "me") as held:
        for number in ("0000000777", "0000000778"):
            client.commit([Create(f"{paths.node_lock(ID)}/{'a' * 32}__lock__{number}")])
        remove(client, held, ID)
    assert client.tree([paths.NODES]).keys() == {paths.NODES}


def test_our_lock_bears_our_name(client: Client) -> None:
    with locked_node(client, ID, "NodePool:cli:me@here") as held:
        assert client.tree([held.directory])[contender_path(held)].data == b"NodePool:cli:me@here"


def test_erasing_goes_on_when_others_delete_and_add(client: Client) -> None:
    records = [Create(paths.node(f"{number:010d}"), json.dumps(RECORD).encode()) for number in range(100, 350)]
    client.commit(records)
    found = holdings(client, "p")
    client.commit([Delete(paths.node("0000000200")), Create(paths.node_lock("0000000300"))])
    said: list[str] = []
    erase_all(client, "p", found, said.append)
    assert client.tree([paths.NODES]).keys() == {paths.NODES}
    assert said[1] == "Erasing node data for p: 251 node records"
