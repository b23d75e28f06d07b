"""How a person logs in to a node: the command, and what to compare the host key with.

Pure. Never shows credentials: nodes of container drivers carry them in the place of a port.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import shlex
from collections.abc import Mapping
from typing import Any

from nodepool.model.node import Node

SSH_PORT = 22
_OVER_SSH = ("ssh", "network_cli")


def ssh_command(node: Node, known_hosts: str | None = None) -> str | None:
    """The command line of :func:`ssh_words`, quoted for a shell."""
    words = ssh_words(node, known_hosts)
    return None if words is None else shlex.join(words)


def ssh_words(node: Node, known_hosts: str | None = None) -> list[str] | None:
    """The words of the command line; None if the node is not reached by SSH or its address is not known.

    With ``known_hosts``, the name of a file with the lines of :func:`known_hosts_lines`, ssh itself refuses any
    other host key.
    """
    if (node.connection_type or "ssh") not in _OVER_SSH or not node.interface_ip:
        return None
    words = ["ssh"]
    if known_hosts is not None:
        # ssh takes the words of the value for several files.
        file = f'"{known_hosts}"' if any(map(str.isspace, known_hosts)) else known_hosts
        words += ["-o", f"UserKnownHostsFile={file}", "-o", "StrictHostKeyChecking=yes"]
        # Addresses are used again: a key that the host trusts, or a connection that is still open, may be another's.
        words += ["-o", "GlobalKnownHostsFile=/dev/null", "-o", "ControlPath=none"]
    if _port(node) != SSH_PORT:
        words += ["-p", str(_port(node))]
    place = f"{node.username}@{node.interface_ip}" if node.username else node.interface_ip
    # Records are written by many parties: what ssh would take for an option is no place.
    return None if place.startswith("-") else [*words, place]


def known_hosts_lines(node: Node) -> list[str]:
    """The host keys in the form of OpenSSH's ``known_hosts`` (sshd(8))."""
    host = node.interface_ip if _port(node) == SSH_PORT else f"[{node.interface_ip}]:{_port(node)}"
    return [f"{host} {key}" for key in node.host_keys]


def fingerprints(node: Node) -> list[str]:
    """The host keys as ssh shows them at the first login: ``ED25519 SHA256:…``; one that is no key is left out."""
    found = []
    for key in node.host_keys:
        name, _, encoded = key.partition(" ")
        try:
            digest = hashlib.sha256(base64.b64decode(encoded, validate=True)).digest()
        except binascii.Error:
            continue
        kind = name.removeprefix("ssh-").removeprefix("ecdsa-sha2-").upper()
        kind = "ECDSA" if kind.startswith("NISTP") else kind
        found.append(f"{kind} SHA256:{base64.b64encode(digest).decode().rstrip('=')}")
    return found


def description(node: Node, known_hosts: str | None = None) -> Mapping[str, Any]:
    """What a script needs to log in, as a JSON object."""
    return {
        "connection_type": node.connection_type,
        "interface_ip": node.interface_ip,
        "host_keys": list(node.host_keys),
        "known_hosts": known_hosts_lines(node),
        "ssh_command": ssh_command(node, known_hosts),
        "python_path": node.python_path,
        "shell_type": node.shell_type,
    }


def _port(node: Node) -> int:
    return node.connection_port if type(node.connection_port) is int else SSH_PORT
