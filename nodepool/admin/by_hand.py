"""``nodepool request``: a person asks for nodes, gets them, and gives them back or has them held."""

from __future__ import annotations

import math
import os
import select
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nodepool.admin import access, views
from nodepool.admin.failure import CommandFailed
from nodepool.admin.handover import Handover, handed_over
from nodepool.admin.operator import Operator, show_json, tell
from nodepool.admin.requests import check_labels, follow, new_request, submit
from nodepool.admin.snapshot import snapshot
from nodepool.admin.table import cell, printable
from nodepool.model.node import Node
from nodepool.model.states import NodeState
from nodepool.zk import paths
from nodepool.zk.client import Client
from nodepool.zk.store import Connection, SessionChange


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for."""

    labels: Sequence[str]
    hold: bool = False
    """Leave the nodes in state ``hold`` instead of waiting for the end of their use."""
    limit: float = math.inf
    """Seconds to wait for the nodes."""
    known_hosts: str | None = None
    """File to which the host keys are added."""
    as_json: bool = False


def request(operator: Operator, wish: Wish) -> None:
    """Get nodes. Whatever ends this, our session ends with it, and so do the request and our locks."""
    client = operator.client
    check_labels(wish.labels, snapshot(client, paths.components("pool")).pools())
    record = new_request(wish.labels, operator.who, uuid.uuid4().hex, operator.clock())
    request_id = submit(client, record)
    tell(f"Request {request_id} for {', '.join(wish.labels)} is made")
    fulfilled = follow(client, request_id, operator.clock, tell, wish.limit)
    with handed_over(client, fulfilled, operator.who, operator.clock) as handover:
        if wish.known_hosts is not None:
            _write_known_hosts(wish.known_hosts, handover.nodes())
        if wish.hold:
            handover.set_state(NodeState.HOLD, f"nodepool request --hold by {operator.who.rpartition(':')[2]}")
            _show(operator, request_id, handover, wish)
        else:
            _use(operator, request_id, handover, wish)


def _use(operator: Operator, request_id: str, handover: Handover, wish: Wish) -> None:
    handover.set_state(NodeState.IN_USE)
    lost = False
    try:
        _show(operator, request_id, handover, wish)
        lost = not _kept_until_end(operator.client, handover.session)
    finally:
        if not lost:
            handover.set_state(NodeState.USED)
            tell("Returned.")
    if lost:
        raise CommandFailed("The ZooKeeper session was lost, and the locks with it: the nodes are being deleted")


def _kept_until_end(client: Client, session: int) -> bool:
    """Wait for Enter at a terminal, or for a signal. False if the session is lost before."""
    at_terminal = sys.stdin is not None and sys.stdin.isatty()
    how = (
        "Press Enter or Ctrl-C to return them."
        if at_terminal
        else "They are returned at SIGINT (Ctrl-C), SIGTERM or SIGHUP."
    )
    tell(f"The nodes are in use by you. {how}")
    lost, losing = os.pipe()

    def watch(change: SessionChange) -> None:
        if change.connection is Connection.LOST or change.session != session:
            os.write(losing, b"!")

    client.store.listen(watch)
    try:
        ready, _, _ = select.select([lost, sys.stdin] if at_terminal else [lost], [], [])
    except KeyboardInterrupt:
        return True
    if sys.stdin in ready:
        sys.stdin.readline()
    return lost not in ready


def _show(operator: Operator, request_id: str, handover: Handover, wish: Wish) -> None:
    nodes = handover.nodes()
    if wish.as_json:
        show_json({"id": request_id, "nodes": [_as_json(node, operator.clock(), wish) for node in nodes]})
    else:
        for node in nodes:
            print("\n".join(_as_text(node, wish)))
    sys.stdout.flush()


def _as_json(node: Node, now: float, wish: Wish) -> dict[str, Any]:
    row = views.node_row(node, not wish.hold, now)
    return {**views.chosen(views.NODE_DETAIL_COLUMNS, row), **access.description(node, wish.known_hosts)}


def _as_text(node: Node, wish: Wish) -> list[str]:
    lines = [f"Node {node.id} ({cell(node.type)}) of {cell(node.provider)}: {node.state}"]
    command = access.ssh_command(node, wish.known_hosts)
    if command is None:
        kind, port = cell(node.connection_type), cell(views.node_row(node, True, 0.0)["connection_port"])
        lines.append(
            f"  reached by {kind or 'unknown means'} at {cell(node.interface_ip) or 'no address'}, port {port}"
        )
        return lines
    lines.append(f"  {printable(command)}")
    marks = access.fingerprints(node)
    if wish.known_hosts is not None and marks:
        lines.append(f"  ssh checks the host key with {wish.known_hosts}")
    elif marks:
        lines += ["  compare the host key that ssh shows with one of:", *(f"    {mark}" for mark in marks)]
    else:
        lines.append("  no host key is recorded: whether it is the right host cannot be checked")
    if wish.hold:
        lines.append(f"  held until you give it back: nodepool delete {node.id}")
    return lines


def _write_known_hosts(file: str, nodes: Sequence[Node]) -> None:
    try:
        with open(file, "a", encoding="utf-8") as stream:
            for node in nodes:
                stream.writelines(f"{printable(line)}\n" for line in access.known_hosts_lines(node))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CommandFailed(f"{file}: the host keys cannot be written: {reason}; the nodes were given back") from None
