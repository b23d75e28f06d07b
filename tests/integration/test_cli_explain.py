"""``nodepool explain`` beside a real launcher, and of what somebody else has written."""

from __future__ import annotations

from pathlib import Path

import pytest
from kazoo.client import KazooClient

from tests.command_line import Commands, put
from tests.launcher_process import LauncherProcess, fake_provider
from tests.zookeeper import Place, eventually

REQUEST = {"state": "requested", "node_types": ["jammy"], "requestor": "zuul", "state_time": 1.0}


@pytest.fixture
def nodepool(tmp_path: Path, zookeeper: Place) -> Commands:
    commands = Commands(tmp_path, zookeeper)
    commands.document["providers"] = [fake_provider("fake-1", ["jammy"], max_servers=1)]
    commands.write()
    return commands


def test_beside_a_launcher_whose_pool_is_full(
    nodepool: Commands, peer: KazooClient, zookeeper: Place, tmp_path: Path
) -> None:
    providers = nodepool.document["providers"]
    with LauncherProcess(tmp_path / "launcher", zookeeper, providers=providers, labels=["jammy"]):
        first = put(peer, "/nodepool/requests/200-", REQUEST, sequence=True).rpartition("/")[2]
        eventually(lambda: [row["state"] for row in nodepool.json("request-list")] == ["fulfilled"])
        second = put(peer, "/nodepool/requests/200-", REQUEST, sequence=True).rpartition("/")[2]
        (node_id,) = peer.get_children("/nodepool/nodes")
        done = nodepool.run("explain", second).stdout.splitlines()
        assert done[0].startswith(f"Request {second}, requested for ")
        assert ": waits for fake-1/main" in done[0]
        assert done[-1].startswith("  fake-1/main on ")
        assert "has no room for it: " in done[-1]
        assert "the pool is at its limit: in use are 1 of 1 instances" in done[-1]
        told = nodepool.json("explain", first)
        assert (told["kind"], told["state"]) == ("request", "fulfilled")
        assert any(f"node {node_id} (jammy) of fake-1/main is ready" in detail for detail in told["details"])
        told = nodepool.json("explain", node_id)
        assert f"it is for the request {first}, which is fulfilled" in "\n".join(told["details"])


def test_images(nodepool: Commands, peer: KazooClient) -> None:
    put(peer, "/nodepool/images/jammy/pause", b"")
    lines = nodepool.run("explain", "jammy").stdout.splitlines()
    assert lines[0] == "Image jammy, missing: there is no build of it that can be used"
    assert any("nodepool image-unpause jammy" in line for line in lines)


@pytest.mark.parametrize("name", ["0000000099", "", "../nodes", "be\nos"])
def test_what_is_not_there(nodepool: Commands, name: str) -> None:
    done = nodepool.run("explain", name, status=1)
    assert done.stderr.startswith("nodepool: There is no request, node or image ")
    assert len(done.stderr.splitlines()) == 1
