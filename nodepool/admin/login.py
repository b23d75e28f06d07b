"""``nodepool ssh``: log in to a node, at the address and with the host key that its record has."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence

from nodepool.admin import access
from nodepool.admin.failure import CommandFailed
from nodepool.admin.operator import Operator, warn
from nodepool.admin.snapshot import find_node, is_name, snapshot
from nodepool.admin.table import cell, printable
from nodepool.model.node import Node
from nodepool.zk import paths

_PROGRAM = "ssh"


def recorded_node(operator: Operator, node_id: str) -> Node:
    """The record of a node. Raises :class:`CommandFailed` if there is none."""
    if not is_name(node_id):
        raise CommandFailed(f"Node id {printable(node_id)} not found")
    return find_node(snapshot(operator.client, paths.node(node_id)), node_id)[0]


def log_in(node: Node, arguments: Sequence[str]) -> int:
    """Run ssh to a node; ``arguments`` are options of ssh and the command. Returns the exit status of ssh.

    ssh takes no other host key than those of the record. Without any, its own settings decide, after a warning.
    Raises :class:`CommandFailed` if the node is not reached by SSH, or ssh is not installed.
    """
    with _known_hosts(node) as file:
        words = access.ssh_words(node, file)
        if words is None:
            kind, state = cell(node.connection_type) or "ssh", node.state
            raise CommandFailed(
                f"Node {node.id} cannot be reached by ssh: its connection type is {kind}, "
                f"its address {cell(node.interface_ip) or 'not known'}, its state {state}"
            )
        if file is None:
            warn([f"no host key of node {node.id} is recorded: whether it is the right host cannot be checked"])
        return _run([*words, *arguments])


@contextlib.contextmanager
def _known_hosts(node: Node) -> Iterator[str | None]:
    """A file with the host keys of the node, for as long as it is needed; None if no key is known."""
    if not node.host_keys:
        yield None
        return
    with tempfile.NamedTemporaryFile("w", prefix="nodepool-known-hosts-", encoding="utf-8") as file:
        file.writelines(f"{printable(line)}\n" for line in access.known_hosts_lines(node))
        file.flush()
        yield file.name


def _run(command: Sequence[str]) -> int:
    """Run a program on our terminal; what ends us is passed on to it, and it decides."""
    try:
        process = subprocess.Popen(command)
    except FileNotFoundError:
        raise CommandFailed(f"{_PROGRAM} is not installed: install OpenSSH's client (Debian: openssh-client)") from None
    except OSError as error:
        raise CommandFailed(f"{_PROGRAM} cannot be run: {error.strerror}") from error
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: process.send_signal(received))
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            status = process.wait()
            return status if status >= 0 else 128 - status
