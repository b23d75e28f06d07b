"""``nodepool alien-list`` and ``nodepool console`` against a simulated OpenStack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from nodepool.config.load import load
from nodepool.driver.adapter import ATTEMPT_TAG, NODE_TAG, POOL_TAG, PROVIDER_TAG, ServerOrder
from tests.command_line import STATIC, Commands, cells, put
from tests.terminal import on_terminal
from tests.zookeeper import Place, eventually
from tools.cloud.process import CloudProcess

LABEL = {"name": "jammy", "cloud-image": "base", "flavor-name": "m1.small"}
WEST = {
    "name": "west",
    "cloud": "simulated",
    "rate": 0.001,
    "cloud-images": [{"name": "base"}],
    "pools": [{"name": "main", "labels": [LABEL]}],
}


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudProcess]:
    with CloudProcess(tmp_path / "openstack") as process:
        yield process


@pytest.fixture
def nodepool(tmp_path: Path, zookeeper: Place, cloud: CloudProcess, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    commands = Commands(tmp_path, zookeeper)
    commands.document["providers"] = [STATIC, WEST]
    commands.write()
    return commands


def made(nodepool: Commands, name: str, provider: str = "", node_id: str = "") -> str:
    """A server of the cloud, with our tags if a provider is given; returns its id."""
    config = load(str(nodepool.file)).providers["west"]
    running = config.driver.getProvider(config)
    assert running.adapter is not None
    running.adapter.prepare(30.0)
    tags = {PROVIDER_TAG: provider, NODE_TAG: node_id, POOL_TAG: "main", ATTEMPT_TAG: "1"} if provider else {}
    server_id: str = running.adapter.create_server(ServerOrder(node_id, name, "main", "jammy", tags), 30.0)
    running.adapter.stop()
    return server_id


def put_node(peer: KazooClient, **changes: Any) -> str:
    record = {"state": "ready", "provider": "west", "type": ["jammy"], **changes}
    return put(peer, "/nodepool/nodes/", record, sequence=True).rpartition("/")[2]


def test_servers_without_a_record(nodepool: Commands, peer: KazooClient) -> None:
    node_id = put_node(peer)
    made(nodepool, "known", "west", node_id)
    forgotten, foreign = made(nodepool, "forgotten", "west", "0000004711"), made(nodepool, "office-web")
    header, *rows = cells(nodepool.run("alien-list").stdout)
    assert header == ["Provider", "Name", "Server ID", "State", "Address", "Node ID", "Owner"]
    assert [(row[0], row[1], row[2], row[5], row[6]) for row in rows] == [
        ("west", "forgotten", forgotten, "0000004711", "west"),
        ("west", "office-web", foreign, "", ""),
    ]
    assert [row["server_id"] for row in nodepool.json("alien-list", "west")] == [forgotten, foreign]


def test_providers_that_cannot_be_asked(nodepool: Commands, cloud: CloudProcess) -> None:
    assert "static-1 has no cloud" in nodepool.run("alien-list", "static-1", status=1).stderr
    assert "is not in this configuration; there are: static-1, west" in nodepool.run("alien-list", "x", status=1).stderr
    cloud.stop()
    done = nodepool.run("alien-list", status=1)
    assert len(cells(done.stdout)) == 1
    assert "provider west could not be asked: " in done.stderr


def test_the_console_of_a_node(nodepool: Commands, peer: KazooClient, cloud: CloudProcess) -> None:
    cloud.control.change(console="booting\x1b[2J\nlogin: ")
    server = made(nodepool, "np1", "west", "0000000000")
    eventually(lambda: [one["status"] for one in cloud.control.resources()["servers"]] == ["ACTIVE"])
    node_id = put_node(peer, external_id=server)
    assert nodepool.run("console", node_id).stdout == "booting\x1b[2J\nlogin: \n"
    with on_terminal(nodepool.command("console", node_id)) as terminal:
        assert terminal.end() == 0
        assert "booting\\x1b[2J\r\nlogin: \r\n" in terminal.seen


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"external_id": "0b4e"}, "provider west could not be asked: "),
        ({"external_id": None, "state": "building"}, "has no server (yet): its state is building"),
        ({"provider": "east", "external_id": "a"}, "Provider east of node 0000000000 is not in this configuration"),
        ({"provider": "static-1", "external_id": "a"}, "is a host of the static driver, which has no consoles"),
    ],
)
def test_nodes_without_a_console(nodepool: Commands, peer: KazooClient, changes: dict[str, Any], said: str) -> None:
    assert said in nodepool.run("console", put_node(peer, **changes), status=1).stderr
