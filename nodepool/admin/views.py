"""Records as the rows that operators and scripts see, in tables and in JSON (spec launcher 6, cli 3 and 4).

Pure: what ZooKeeper holds comes as a :class:`~nodepool.zk.mirror.Mirror`, the time as an argument. Credentials never
get into a row. A record that cannot be read is in no row but in :func:`problems`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nodepool.admin.table import Column, Row, printable
from nodepool.model.node import Node
from nodepool.model.request import NodeRequest
from nodepool.zk.mirror import Entry, Mirror

NODE_COLUMNS = (
    Column("id", "ID"),
    Column("provider", "Provider"),
    Column("label", "Label"),
    Column("server_id", "Server ID"),
    Column("public_ipv4", "Public IPv4"),
    Column("ipv6", "IPv6"),
    Column("state", "State"),
    Column("age", "Age"),
    Column("locked", "Locked"),
)
"""Columns of ``nodepool list``."""

NODE_DETAIL_COLUMNS = (
    *NODE_COLUMNS,
    Column("pool", "Pool"),
    Column("hostname", "Hostname"),
    Column("private_ipv4", "Private IPv4"),
    Column("AZ", "AZ"),
    Column("username", "Username"),
    Column("connection_port", "Port"),
    Column("launcher", "Launcher"),
    Column("allocated_to", "Allocated To"),
    Column("hold_job", "Hold Job"),
    Column("comment", "Comment"),
    Column("user_data", "User Data"),
    Column("driver_data", "Driver Data"),
)
"""Columns of ``nodepool list --detail`` and of the web server's ``/node-list``."""

REQUEST_COLUMNS = (
    Column("id", "Request ID"),
    Column("relative_priority", "Priority"),
    Column("state", "State"),
    Column("requestor", "Requestor"),
    Column("node_types", "Node Types"),
    Column("nodes", "Nodes"),
    Column("declined_by", "Declined By"),
    Column("event_id", "Event ID"),
)
"""Columns of ``nodepool request-list`` and of the web server's ``/request-list``."""

PROVIDER_IMAGE_COLUMNS = (
    Column("image_name", "Image Name"),
    Column("build_id", "Build ID"),
    Column("upload_ids", "Upload IDs"),
)
PROVIDER_NODE_COLUMNS = (Column("id", "ID"), Column("server_id", "Server ID"))
"""Columns of the two tables of ``nodepool info``."""

_NODE_ATTRIBUTES = (
    "provider",
    "public_ipv4",
    "pool",
    "hostname",
    "private_ipv4",
    "username",
    "launcher",
    "allocated_to",
    "hold_job",
    "comment",
    "user_data",
    "driver_data",
)
"""Columns of a node that show the attribute of the same name as it is."""


def nodes(mirror: Mirror, now: float) -> list[Row]:
    """All nodes by id. ``now`` is in epoch seconds."""
    readable = sorted((node_id, entry.record) for node_id, entry in mirror.nodes.items() if entry.record is not None)
    return [node_row(node, bool(mirror.node_locks.get(node_id)), now) for node_id, node in readable]


def node_row(node: Node, locked: bool, now: float) -> Row:
    """One node. ``now`` is in epoch seconds."""
    row = {name: getattr(node, name) for name in _NODE_ATTRIBUTES}
    row["id"] = node.id
    row["label"] = list(node.type)
    row["server_id"] = node.external_id
    row["ipv6"] = node.public_ipv6
    row["state"] = node.state.value
    row["age"] = None if node.state_time is None else age(now - node.state_time)
    row["locked"] = "locked" if locked else "unlocked"
    row["AZ"] = node.az
    row["connection_port"] = node.connection_port if type(node.connection_port) is int else "redacted"
    return row


def requests(mirror: Mirror) -> list[Row]:
    """All node requests by id, so the urgent ones first."""
    readable = sorted((key, entry.record) for key, entry in mirror.requests.items() if entry.record is not None)
    return [_request_row(request) for _, request in readable]


def provider_images(mirror: Mirror, provider: str) -> list[Row]:
    """Uploads to a provider, one row for each build, by image and build."""
    uploads: dict[tuple[str, str], list[str]] = {}
    for image, build_id, owner, upload_id in sorted(mirror.uploads):
        if owner == provider:
            uploads.setdefault((image, build_id), []).append(upload_id)
    return [
        {"image_name": image, "build_id": build_id, "upload_ids": ids} for (image, build_id), ids in uploads.items()
    ]


def provider_nodes(mirror: Mirror, provider: str) -> list[Row]:
    """Nodes of a provider by id."""
    readable = ((node_id, mirror.node(node_id)) for node_id in sorted(mirror.nodes))
    return [
        {"id": node_id, "server_id": node.external_id}
        for node_id, node in readable
        if node is not None and node.provider == provider
    ]


def chosen(columns: Iterable[Column], row: Row) -> dict[str, Any]:
    """The JSON object with the values of these columns, in their order."""
    return {column.key: row[column.key] for column in columns}


def problems(mirror: Mirror) -> list[str]:
    """One line for each node and request that cannot be read."""
    return [*_problems("node", mirror.nodes), *_problems("request", mirror.requests)]


def age(seconds: float) -> str:
    """``DD:HH:MM:SS``; a time to come (clocks differ) counts as now."""
    minutes, second = divmod(max(int(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"{day:02d}:{hour:02d}:{minute:02d}:{second:02d}"


def _request_row(request: NodeRequest) -> Row:
    return {
        "id": request.id,
        "relative_priority": request.relative_priority,
        "state": request.state.value,
        "requestor": request.requestor,
        "node_types": list(request.node_types),
        "nodes": list(request.nodes),
        "declined_by": list(request.declined_by),
        "event_id": request.event_id,
    }


def _problems(kind: str, entries: Mapping[str, Entry[Any]]) -> Iterable[str]:
    for key, entry in sorted(entries.items()):
        if entry.problem:
            yield f"{kind} {printable(key)}: cannot be read: {printable(entry.problem)}; it is left alone"
