"""``nodepool drain`` and ``resume`` beside a running launcher."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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
    commands.document["providers"] = [fake_provider("fake-1", ["jammy"], max_servers=5)]
    commands.write()
    return commands


@pytest.fixture
def launcher(nodepool: Commands, zookeeper: Place, tmp_path: Path) -> Iterator[LauncherProcess]:
    providers, labels = nodepool.document["providers"], [{"name": "jammy", "min-ready": 1}]
    with LauncherProcess(tmp_path / "launcher", zookeeper, providers=providers, labels=labels) as process:
        yield process


def states(nodepool: Commands) -> list[str]:
    return [row["state"] for row in nodepool.json("list")]


def hostname(peer: KazooClient) -> str:
    (name,) = peer.get_children("/nodepool/components/launcher")
    found: str = json.loads(peer.get(f"/nodepool/components/launcher/{name}")[0])["hostname"]
    return found


@pytest.mark.usefixtures("launcher")
@pytest.mark.parametrize("whose", ["provider", "launcher"])
def test_a_drain_until_it_ends(nodepool: Commands, peer: KazooClient, whose: str) -> None:
    eventually(lambda: states(nodepool) == ["ready"])
    arguments = ["fake-1"] if whose == "provider" else ["--launcher", hostname(peer)]
    done = nodepool.run("drain", *arguments)
    assert (done.stdout, done.stderr) == ("", "")
    eventually(lambda: states(nodepool) == ([] if whose == "provider" else ["ready"]))
    request = put(peer, "/nodepool/requests/200-", REQUEST, sequence=True)
    request_id = request.rpartition("/")[2]
    eventually(lambda: "is drained by command" in nodepool.run("explain", request_id).stdout)
    assert [row["drained"] for row in nodepool.json("top")["pools"]] == [whose == "provider"]
    assert "is drained already" in nodepool.run("drain", *arguments).stderr
    assert json.loads(peer.get(request)[0])["state"] == "requested"
    nodepool.run("resume", *arguments)
    eventually(lambda: json.loads(peer.get(request)[0])["state"] == "fulfilled")


@pytest.mark.usefixtures("launcher")
def test_a_drain_outlives_a_launcher(nodepool: Commands, launcher: LauncherProcess) -> None:
    nodepool.run("drain", "fake-1")
    eventually(lambda: states(nodepool) == [])
    launcher.kill()
    launcher.start()
    eventually(lambda: [row["paused"] for row in nodepool.json("top")["pools"]] == [True])
    assert states(nodepool) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("drain", "west"), "There is no provider west; there are: fake-1"),
        (("drain", "../nodes"), "There is no provider ../nodes"),
        (("drain", "--launcher", "nl7"), "There is no launcher nl7; there are: none"),
        (("resume", "fake-1"), "The provider fake-1 is not drained; drained are: none"),
    ],
)
def test_who_is_not_there(nodepool: Commands, arguments: Sequence[str], said: str) -> None:
    assert said in nodepool.run(*arguments, status=1).stderr


@pytest.mark.parametrize("arguments", [("drain",), ("drain", "fake-1", "--launcher", "nl1"), ("resume",)])
def test_one_of_both_is_named(nodepool: Commands, arguments: Sequence[str]) -> None:
    assert nodepool.run(*arguments, status=2).stderr.startswith("usage: nodepool ")


def test_a_provider_without_launcher(nodepool: Commands, peer: KazooClient) -> None:
    assert "no running launcher has the provider fake-1" in nodepool.run("drain", "fake-1").stderr
    by = json.loads(peer.get("/nodepool/drained/provider/fake-1")[0])["by"]
    assert by.startswith("NodePool:cli:")
    nodepool.run("resume", "fake-1")
    assert peer.get_children("/nodepool/drained/provider") == []
