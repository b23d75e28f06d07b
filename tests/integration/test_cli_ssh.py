"""``nodepool ssh`` against a real OpenSSH server."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from tests.command_line import Commands, put
from tests.sshd import Sshd, generate_key
from tests.terminal import on_terminal
from tests.zookeeper import Place

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBoy4x8yK9k3uQ1iT2l0cYxYcQp1sVd0Q2VQb0mWJ3Kp"


@pytest.fixture
def nodepool(tmp_path: Path, zookeeper: Place, monkeypatch: pytest.MonkeyPatch) -> Commands:
    temporary = tmp_path / "temporary files"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    return Commands(tmp_path, zookeeper)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id"
    generate_key(path)
    return path


@pytest.fixture(scope="module")
def sshd(key: Path) -> Iterator[Sshd]:
    with Sshd(authorized_key=" ".join(Path(f"{key}.pub").read_text().split()[:2])) as server:
        yield server


def put_node(peer: KazooClient, sshd: Sshd, **changes: Any) -> str:
    record = {
        "state": "hold",
        "provider": "static-1",
        "type": ["jammy"],
        "interface_ip": sshd.address,
        "connection_type": "ssh",
        "connection_port": sshd.port,
        "username": getpass.getuser(),
        "host_keys": sorted(sshd.host_keys),
    }
    return put(peer, "/nodepool/nodes/", {**record, **changes}, sequence=True).rpartition("/")[2]


def options(key: Path) -> list[str]:
    return ["-F", "none", "-i", str(key), "-o", "BatchMode=yes"]


def test_a_command_on_the_node(nodepool: Commands, peer: KazooClient, sshd: Sshd, key: Path, tmp_path: Path) -> None:
    node_id = put_node(peer, sshd)
    done = nodepool.run("ssh", node_id, *options(key), "echo hello; cat; exit 7", answer="typed\n", status=7)
    assert (done.stdout, done.stderr) == ("hello\ntyped\n", "")
    assert list((tmp_path / "temporary files").iterdir()) == []


def test_at_a_terminal_ctrl_c_is_for_the_node(nodepool: Commands, peer: KazooClient, sshd: Sshd, key: Path) -> None:
    node_id = put_node(peer, sshd)
    script = "trap 'echo interrupted; exit 5' INT; echo waiting; while :; do sleep 1; done"
    with on_terminal(nodepool.command("ssh", node_id, "-t", *options(key), f'bash -c "{script}"')) as terminal:
        terminal.wait_for("waiting\r\n")
        terminal.type("\x03")
        terminal.wait_for("interrupted")
        assert terminal.end() == 5


def test_another_host_key_than_the_recorded_one_is_refused(
    nodepool: Commands, peer: KazooClient, sshd: Sshd, key: Path
) -> None:
    node_id = put_node(peer, sshd, host_keys=[OTHER_KEY])
    done = nodepool.run("ssh", node_id, *options(key), "echo hello", status=255)
    assert done.stdout == ""
    assert "Host key verification failed" in done.stderr


def test_without_a_recorded_key_ssh_decides(nodepool: Commands, peer: KazooClient, sshd: Sshd, key: Path) -> None:
    node_id = put_node(peer, sshd, host_keys=[])
    own = ["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no"]
    done = nodepool.run("ssh", node_id, *options(key), *own, "echo hello")
    assert done.stdout == "hello\n"
    assert done.stderr.startswith(f"WARNING: no host key of node {node_id} is recorded")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"interface_ip": None, "state": "building"}, "its address not known, its state building"),
        ({"connection_type": "winrm"}, "its connection type is winrm"),
        ({"interface_ip": "-oProxyCommand=touch x", "username": None}, "cannot be reached by ssh"),
        ({"username": "-oProxyCommand=touch x"}, "cannot be reached by ssh"),
    ],
)
def test_nodes_without_ssh(
    nodepool: Commands, peer: KazooClient, sshd: Sshd, changes: dict[str, Any], said: str
) -> None:
    assert said in nodepool.run("ssh", put_node(peer, sshd, **changes), "true", status=1).stderr


@pytest.mark.parametrize("arguments", [("ssh", "0000000099"), ("ssh", "../x"), ("console", "0000000099")])
def test_unknown_nodes(nodepool: Commands, arguments: Sequence[str]) -> None:
    assert nodepool.run(*arguments, status=1).stderr.endswith(" not found\n")


def test_without_ssh_installed(
    nodepool: Commands, peer: KazooClient, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nope")
    assert "ssh is not installed" in nodepool.run("ssh", put_node(peer, sshd), status=1).stderr
