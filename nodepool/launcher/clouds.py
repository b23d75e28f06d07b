"""What a provider told last, and what it means for our nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG, Server
from nodepool.model.resources import Resources


@dataclass(slots=True)
class Cloud:
    """The last that a provider told."""

    servers: dict[str, list[Server]] = field(default_factory=dict)
    """Servers that bear our tag, by node id."""
    by_external_id: dict[str, Server] = field(default_factory=dict)
    foreign_use: Resources = field(default_factory=Resources)
    """Use of servers that are not ours."""
    strays: dict[str, Resources] = field(default_factory=dict)
    """Use of servers that bear our tag and belonged to no node that we knew, by the node id of the tag."""
    list_began: float = 0.0
    limits: Resources | None = None
    limits_read: float = 0.0
    """When limits were asked for last (epoch seconds), 0 to ask anew."""
    refused_until: float = 0.0
    """After a refusal for quota nothing is launched until then (epoch seconds)."""
    leaks_sought: float = 0.0
    """When the last search for leaks was made (epoch seconds)."""
    leak_suspects: frozenset[str] = frozenset()
    """External ids of servers that the sweep before found without a node."""
    waiting: set[str] = field(default_factory=set)
    """Nodes that wait for the next list."""
    list_asked: bool = False


def sort_servers(cloud: Cloud, provider: str, servers: Iterable[Server], known: Iterable[str]) -> None:
    """Take over a list: our servers by node, and what is used beside the nodes that are ``known``."""
    known = set(known)
    cloud.servers, cloud.by_external_id, cloud.strays = {}, {}, {}
    foreign: list[Resources] = []
    for server in servers:
        node_id = server.tags.get(NODE_TAG) if server.tags.get(PROVIDER_TAG) == provider else None
        cloud.by_external_id[str(server.external_id)] = server
        use = server.resources or Resources(instances=1)
        if node_id is None:
            foreign.append(use)
            continue
        cloud.servers.setdefault(node_id, []).append(server)
        if node_id not in known:
            cloud.strays[node_id] = cloud.strays.get(node_id, Resources()) + use
    cloud.foreign_use = Resources.total(foreign)
