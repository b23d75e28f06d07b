"""What a provider told last, and what it means for our nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nodepool.driver.adapter import NODE_TAG, POOL_TAG, PROVIDER_TAG, Server, ServerState
from nodepool.driver.breaker import Health
from nodepool.launcher.ceiling import Ceiling
from nodepool.model.node import Node
from nodepool.model.resources import Resources


@dataclass(slots=True)
class Cloud:
    """The last that a provider told."""

    servers: dict[str, list[Server]] = field(default_factory=dict)
    """Servers that bear our tag, by node id."""
    by_external_id: dict[str, Server] = field(default_factory=dict)
    by_address: dict[tuple[str | None, str | None], list[str]] = field(default_factory=dict)
    """:func:`address_key` to the ids of the nodes whose active servers have the address."""
    foreign_use: Resources = field(default_factory=Resources)
    """Use of servers that are not ours."""
    strays: dict[str, Resources] = field(default_factory=dict)
    """Use of servers that bear our tag and belonged to no node that we knew, by the node id of the tag."""
    list_began: float = 0.0
    limits: Resources | None = None
    limits_read: float = 0.0
    """When limits were asked for last (epoch seconds), 0 to ask anew."""
    ceilings: dict[str | None, Ceiling] = field(default_factory=dict)
    """How many nodes are believed to have room, after a refusal for quota: of the provider (None), or of one pool."""
    refused_until: float = 0.0
    """Until when pools that do not heed the quota launch nothing after a refusal (epoch seconds)."""
    leaks_sought: float = 0.0
    """When the last search for leaks was made (epoch seconds)."""
    leak_suspects: frozenset[str] = frozenset()
    """External ids of servers that the sweep before found without a node."""
    leftovers: dict[tuple[str, str], float] = field(default_factory=dict)
    """Kind and external id of what the search before took for leftovers, to when it was first seen (epoch seconds)."""
    leftovers_error: str | None = None
    """Why the last search failed, None if it did not."""
    search_again: float = 0.0
    """When a search is due because something of the last one failed (epoch seconds)."""
    searches_again: int = 0
    """How many such searches there were in a row."""
    lost: dict[str, float] = field(default_factory=dict)
    """Free nodes without a living machine in the last list, to when a list first showed that (epoch seconds)."""
    waiting: set[str] = field(default_factory=set)
    """Nodes that wait for the next list."""
    list_asked: bool = False
    health: Health = field(default_factory=Health)
    told: set[str] = field(default_factory=set)
    """The reasons for the present outage that the log tells."""
    failures: dict[str, int] = field(default_factory=dict)
    """How often in a row something could not be read, such as ``limits``."""
    silent: set[str] = field(default_factory=set)
    """What the log says cannot be read."""


def sort_servers(cloud: Cloud, provider: str, servers: Iterable[Server], known: Iterable[str]) -> None:
    """Take over a list: our servers by node, and what is used beside the nodes that are ``known``."""
    known = set(known)
    cloud.servers, cloud.by_external_id, cloud.by_address, cloud.strays = {}, {}, {}, {}
    foreign: list[Resources] = []
    for server in servers:
        node_id = server.tags.get(NODE_TAG) if server.tags.get(PROVIDER_TAG) == provider else None
        cloud.by_external_id[str(server.external_id)] = server
        use = server.resources or Resources(instances=1)
        if node_id is None:
            foreign.append(use)
            continue
        cloud.servers.setdefault(node_id, []).append(server)
        if server.state is ServerState.ACTIVE and server.interface_ip is not None:
            cloud.by_address.setdefault(address_key(server, server.tags.get(POOL_TAG)), []).append(node_id)
        if node_id not in known:
            cloud.strays[node_id] = cloud.strays.get(node_id, Resources()) + use
    cloud.foreign_use = Resources.total(foreign)


def servers_of(cloud: Cloud, node: Node) -> list[Server]:
    """What the last list has of a node: the servers that bear its tag, and the one that its record names."""
    servers = list(cloud.servers.get(node.id, ()))
    known = cloud.by_external_id.get(str(node.external_id)) if node.external_id is not None else None
    if known is not None and known not in servers:
        servers.append(known)
    return servers


def address_key(server: Server, pool: str | None) -> tuple[str | None, str | None]:
    """What no two servers have in common: a public address, or the pool and an address within its networks."""
    public = server.interface_ip in (server.public_ipv4, server.public_ipv6)
    return None if public else pool, server.interface_ip


def active_servers(cloud: Cloud) -> int:
    """How many servers of ours the last list shows as active."""
    return sum(one.state is ServerState.ACTIVE for servers in cloud.servers.values() for one in servers)
