"""What a person is told to log in with."""

from __future__ import annotations

import base64
import shlex

import pytest

from nodepool.admin.access import description, fingerprints, known_hosts_lines, ssh_command
from nodepool.model.node import Node
from nodepool.model.states import NodeState

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+qFPPr9sQ4PMDbMkNOtkqZZRJeQbw0gpuTYv3cZVVn"


def node(**fields: object) -> Node:
    values = {"interface_ip": "10.0.0.9", "host_keys": (KEY,), "username": "zuul", "connection_type": "ssh", **fields}
    return Node(id="0000000001", state=NodeState.READY, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({}, "ssh zuul@10.0.0.9"),
        ({"connection_port": 2222}, "ssh -p 2222 zuul@10.0.0.9"),
        ({"connection_port": None}, "ssh zuul@10.0.0.9"),
        ({"connection_type": None, "username": None}, "ssh 10.0.0.9"),
        ({"connection_type": "network_cli", "interface_ip": "2001:db8::1"}, "ssh zuul@2001:db8::1"),
        ({"username": "a; rm -rf /"}, "ssh 'a; rm -rf /@10.0.0.9'"),
        ({"connection_type": "winrm"}, None),
        ({"connection_type": "kubectl", "connection_port": {"token": "SECRET"}}, None),
        ({"interface_ip": None}, None),
        ({"interface_ip": ""}, None),
    ],
)
def test_ssh_command(fields: dict[str, object], command: str | None) -> None:
    assert ssh_command(node(**fields)) == command


def test_ssh_command_that_checks_the_host_key() -> None:
    words = shlex.split(ssh_command(node(), "/tmp/known hosts") or "")
    assert words == [
        "ssh",
        "-o",
        'UserKnownHostsFile="/tmp/known hosts"',
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        "-o",
        "ControlPath=none",
        "zuul@10.0.0.9",
    ]


def test_known_hosts_name_a_port_that_is_not_22() -> None:
    assert known_hosts_lines(node()) == [f"10.0.0.9 {KEY}"]
    assert known_hosts_lines(node(connection_port=2222)) == [f"[10.0.0.9]:2222 {KEY}"]
    assert known_hosts_lines(node(host_keys=())) == []


def test_fingerprints_as_ssh_keygen_shows_them() -> None:
    fake = base64.b64encode(b"key").decode()
    keys = (KEY, f"ecdsa-sha2-nistp256 {fake}", f"ssh-rsa {fake}", "nonsense", "ssh-rsa !!!")
    shown = fingerprints(node(host_keys=keys))
    assert [mark.split()[0] for mark in shown] == ["ED25519", "ECDSA", "RSA", "NONSENSE"]
    # From "ssh-keygen -l" of the key above.
    assert shown[0] == "ED25519 SHA256:oRlBGw3HhIFdt2Hx75Bd749rAVI6hyDpTVmXJRjbbAk"


def test_the_description_holds_no_credentials() -> None:
    shown = description(node(connection_type="kubectl", connection_port={"token": "SECRET"}))
    assert "SECRET" not in repr(shown)
