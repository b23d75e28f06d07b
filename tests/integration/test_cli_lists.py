"""Lists of ``nodepool``: filters, JSON, what changes under the eyes of whoever looks, and colours."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from tests.command_line import Commands, cells, put
from tests.terminal import on_terminal
from tests.zookeeper import Place, Proxy

BUILD = "4c8e2c1e8a524f0b9b0e0c2f5d1e7a11"
READY = {"state": "ready", "state_time": 1.0, "provider": "static-1", "type": ["jammy"], "external_id": "a"}


@pytest.fixture
def nodepool(tmp_path: Path, zookeeper: Place) -> Commands:
    commands = Commands(tmp_path, zookeeper)
    commands.document["labels"] += [{"name": "noble"}]
    commands.write()
    return commands


def put_node(peer: KazooClient, **changes: Any) -> str:
    return put(peer, "/nodepool/nodes/", {**READY, **changes}, sequence=True).rpartition("/")[2]


def ids(nodepool: Commands, *arguments: str) -> list[str]:
    """The first column of a list."""
    return [row[0] for row in cells(nodepool.run(*arguments).stdout)[1:]]


def test_nodes_by_label_provider_and_state(nodepool: Commands, peer: KazooClient) -> None:
    first = put_node(peer)
    second = put_node(peer, type=["beos", "jammy"], provider="gone-1", state="hold")
    third = put_node(peer, type=["beos"], provider="gone-1")
    assert ids(nodepool, "list", "--label", "jammy") == [first, second]
    assert [row["id"] for row in nodepool.json("list", "--label", "jammy")] == [first, second]
    assert ids(nodepool, "list", "--label", "beos", "--provider", "gone-1", "--state", "ready") == [third]
    assert ids(nodepool, "list", "--state", "ready", "--state", "hold") == [first, second, third]
    assert ids(nodepool, "list", "--label", "noble") == []


def test_requests_by_label_and_state(nodepool: Commands, peer: KazooClient) -> None:
    record = {"state": "requested", "node_types": ["jammy", "noble"]}
    for name, changes in (("100-0000000001", {}), ("100-0000000002", {"state": "pending", "node_types": ["jammy"]})):
        put(peer, f"/nodepool/requests/{name}", {**record, **changes})
    assert ids(nodepool, "request-list", "--label", "noble") == ["100-0000000001"]
    assert ids(nodepool, "request-list", "--label", "jammy", "--state", "pending") == ["100-0000000002"]


def test_uploads_and_builds(nodepool: Commands, peer: KazooClient) -> None:
    for image, state in (("alma", "ready"), ("jammy", "failed")):
        put(peer, f"/nodepool/images/{image}/builds/{BUILD}", {"state": state})
        for provider in ("west", "east"):
            put(
                peer,
                f"/nodepool/images/{image}/builds/{BUILD}/providers/{provider}/images/0000000001",
                {"state": state},
            )
    put(peer, "/nodepool/images/alma/pause", b"")
    assert ids(nodepool, "dib-image-list", "--image", "jammy") == [f"jammy-{BUILD}"]
    assert ids(nodepool, "dib-image-list", "--state", "paused") == [f"alma-{BUILD}"]
    found = nodepool.json("image-list", "--provider", "west", "--state", "ready")
    assert [(row["image"], row["provider"]) for row in found] == [("alma", "west")]
    assert len(nodepool.json("image-list", "--image", "alma", "--image", "jammy")) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--label", "beos"), "Unknown label beos: neither this configuration nor any record of the list has"),
        (("list", "--provider", "x", "--json"), "Unknown provider x: "),
        (("list", "--provider", "x", "--watch"), "there are: static-1"),
        (("request-list", "--label", "beos"), "there are: jammy, noble"),
        (("image-list", "--image", "x"), "there are: none"),
    ],
)
def test_names_that_nobody_knows(nodepool: Commands, arguments: Sequence[str], said: str) -> None:
    done = nodepool.run(*arguments, status=1)
    assert done.stdout == ""
    assert said in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--state", "melted"),
        ("request-list", "--state", "ready"),
        ("request-list", "--provider", "static-1"),
        ("dib-image-list", "--state", "uploading"),
        ("list", "--watch", "-1"),
    ],
)
def test_wrong_usage(nodepool: Commands, arguments: Sequence[str]) -> None:
    assert nodepool.run(*arguments, status=2).stderr.startswith("usage: nodepool ")


@pytest.mark.parametrize("words", [("image-update", "west", "jammy"), ("image-update", "--all"), ("dib-image-update",)])
def test_words_of_old_releases(nodepool: Commands, words: Sequence[str]) -> None:
    said = nodepool.run(*words, status=2).stderr
    assert said.startswith(f"nodepool: {words[0]} is of an older Nodepool: use 'nodepool image-build IMAGE', ")


def test_a_list_that_is_watched_by_a_script(nodepool: Commands, peer: KazooClient) -> None:
    first = put_node(peer)
    with nodepool.started("list", "--json", "--watch", "0.2", "--state", "ready") as process:
        assert process.stdout is not None
        (row,) = json.loads(process.stdout.readline())
        assert (row["id"], row["state"]) == (first, "ready")
        second = put_node(peer)
        assert [row["id"] for row in json.loads(process.stdout.readline())] == [first, second]
        peer.set(f"/nodepool/nodes/{first}", json.dumps({**READY, "state": "used"}).encode())
        assert [row["id"] for row in json.loads(process.stdout.readline())] == [second]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_a_table_that_is_watched_through_a_pipe_is_the_usual_one(nodepool: Commands, peer: KazooClient) -> None:
    put(peer, "/nodepool/requests/100-0000000001", {"state": "requested", "node_types": ["jammy"]})
    usual = nodepool.run("request-list").stdout
    with nodepool.started("request-list", "--watch") as process:
        assert process.stdout is not None
        written = [process.stdout.readline() for _ in range(6)]
        assert "".join(written) == usual + "\n"
        process.terminate()
        assert process.wait(20) == 130


def test_a_list_that_is_watched_at_a_terminal(nodepool: Commands, peer: KazooClient) -> None:
    node_id = put_node(peer)
    with on_terminal(nodepool.command("list", "--watch", "0.2")) as terminal:
        page = terminal.wait_for("\x1b[J")
        assert page.startswith("\x1b[?1049h")
        assert "Nodes: 1 " in page
        assert f"| {node_id} | static-1 |" in page
        assert "\x1b[32mready\x1b[0m" in page
        peer.set(f"/nodepool/nodes/{node_id}", json.dumps({**READY, "state": "failed"}).encode())
        terminal.wait_for("\x1b[31mfailed\x1b[0m")
        for _ in range(30):
            put_node(peer)
        terminal.wait_for("Nodes: 31 ")
        terminal.wait_for("... and 13 more lines")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert terminal.seen.endswith("\x1b[?1049l")


def test_a_list_that_is_watched_while_zookeeper_is_away(
    nodepool: Commands, peer: KazooClient, zookeeper: Place
) -> None:
    node_id = put_node(peer)
    with Proxy(int(zookeeper.hosts.rpartition(":")[2])) as proxy:
        server = {"host": "127.0.0.1", "port": proxy.port, "chroot": zookeeper.chroot}
        nodepool.write(**{"zookeeper-servers": [server], "zookeeper-timeout": 2.0})
        with on_terminal(nodepool.command("list", "--watch", "0.2")) as terminal:
            terminal.wait_for("Nodes: 1 ")
            proxy.refuse()
            assert f"| {node_id} |" in terminal.wait_for("ZooKeeper is away") + terminal.wait_for("\x1b[J")
            put_node(peer)
            proxy.resume()
            terminal.wait_for("Nodes: 2 ")


def test_colours_only_at_a_terminal_that_wants_them(nodepool: Commands, peer: KazooClient) -> None:
    put_node(peer)
    plain = nodepool.run("list").stdout
    assert "\x1b" not in plain
    with on_terminal(nodepool.command("list")) as terminal:
        assert terminal.end() == 0
        assert "| \x1b[32mready\x1b[0m |" in terminal.seen
    with on_terminal(nodepool.command("list"), {"NO_COLOR": "1"}) as terminal:
        assert terminal.end() == 0
        assert "\x1b" not in terminal.seen
        assert cells(terminal.seen)[0] == cells(plain)[0]


def test_config_validate_for_editors(nodepool: Commands) -> None:
    nodepool.write(labels=[{"name": "jammy"}])
    assert nodepool.json("config-validate") == []
    nodepool.write(labels=[{"nam": "jammy"}])
    done = nodepool.run("config-validate", "--json", status=1)
    problem = json.loads(done.stdout)[0]
    assert set(problem) == {"file", "line", "path", "message", "severity"}
    assert (problem["file"], problem["path"], problem["severity"]) == (str(nodepool.file), "labels[0].nam", "error")
    assert done.stderr == ""


def test_top(nodepool: Commands, peer: KazooClient) -> None:
    node_id = put_node(peer, pool="main")
    lines = nodepool.run("top").stdout.splitlines()
    assert lines[:2] == ["requests: none", "nodes: 1 ready"]
    assert cells("\n".join(lines))[1][0] == "static-1/main"
    told = nodepool.json("top")
    assert (told["nodes"], told["pools"][0]["ready"], told["waiting"]) == ({"ready": 1}, 1, [])
    with on_terminal(nodepool.command("top", "0.2")) as terminal:
        assert "nodes: 1 ready" in terminal.wait_for("\x1b[J")
        peer.set(f"/nodepool/nodes/{node_id}", json.dumps({**READY, "state": "in-use"}).encode())
        terminal.wait_for("nodes: 1 in-use")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 130
        assert terminal.seen.endswith("\x1b[?1049l")
