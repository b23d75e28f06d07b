"""Servers in the clouds that no record knows of (``alien-list``, spec cli 9).

What Nodepool has made and forgotten goes by itself (the launchers remove leaks); what others have made uses the
quota, and is never touched.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from nodepool.admin.cloud import CALL_DEADLINE, opened
from nodepool.admin.failure import CommandFailed
from nodepool.admin.table import Column, Row, printable
from nodepool.config.settings import Config
from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG, Server
from nodepool.driver.bridge import foreign
from nodepool.driver.contract import ProviderConfig
from nodepool.driver.errors import CloudError
from nodepool.zk.mirror import Mirror

COLUMNS = (
    Column("provider", "Provider"),
    Column("name", "Name"),
    Column("server_id", "Server ID"),
    Column("state", "State"),
    Column("address", "Address"),
    Column("node_id", "Node ID"),
    Column("owner", "Owner"),
)
"""Columns of ``nodepool alien-list``."""


@dataclass(frozen=True, slots=True)
class ServerSearch:
    """What a provider's cloud lists, or why that is not known."""

    provider: str
    servers: tuple[Server, ...] = ()
    problem: str = ""


def search(config: Config, provider: str | None) -> list[ServerSearch]:
    """The servers of one provider's cloud, or of all providers that have a cloud, in the order of the file.

    Asks the clouds. Raises :class:`CommandFailed` if the provider is not in the configuration or has no cloud.
    """
    if provider is None:
        return [found for entry in config.providers.values() if (found := _ask(entry)) is not None]
    if provider not in config.providers:
        known = ", ".join(config.providers) or "none"
        raise CommandFailed(f"Provider {printable(provider)} is not in this configuration; there are: {known}")
    found = _ask(config.providers[provider])
    if found is None:
        raise CommandFailed(f"Provider {provider} has no cloud: its nodes are those that the configuration names")
    return [found]


def aliens(found: ServerSearch, providers: Collection[str], before: Mirror, after: Mirror) -> list[Row]:
    """The servers of one list that no node record knows.

    :param providers: names that the configuration has: what bears another of them is shown with that one's list
    :param before: records from before the cloud was asked: the record of a server is removed after the server
    :param after: records from after it: the record of a server is made before the server
    """
    known = _Known(before, after)
    return [
        _row(found.provider, server)
        for server in sorted(found.servers, key=lambda server: (server.name, str(server.external_id)))
        if not known.has(server) and (_owner(server) == found.provider or _owner(server) not in providers)
    ]


class _Known:
    """What the records know of servers."""

    def __init__(self, *mirrors: Mirror) -> None:
        entries = [(node_id, entry) for mirror in mirrors for node_id, entry in mirror.nodes.items()]
        self._owners = {(node_id, entry.record.provider) for node_id, entry in entries if entry.record}
        self._unreadable = {node_id for node_id, entry in entries if entry.record is None}
        self._external_ids = {str(entry.record.external_id) for _, entry in entries if entry.record} - {"None"}

    def has(self, server: Server) -> bool:
        """Whether some record is, or may be, about this server."""
        owner, node_id = _owner(server), server.tags.get(NODE_TAG)
        if owner is None:
            return str(server.external_id) in self._external_ids
        return node_id in self._unreadable or (node_id, owner) in self._owners


def _owner(server: Server) -> str | None:
    return server.tags.get(PROVIDER_TAG)


def _row(provider: str, server: Server) -> Row:
    return {
        "provider": provider,
        "name": server.name or None,
        "server_id": server.external_id,
        "state": server.state.value,
        "address": server.interface_ip or server.public_ipv4 or server.private_ipv4 or server.public_ipv6,
        "node_id": server.tags.get(NODE_TAG),
        "owner": _owner(server),
    }


def _ask(entry: ProviderConfig) -> ServerSearch | None:
    try:
        with foreign("asking the cloud"):
            running = entry.driver.getProvider(entry)
            if running.stock is not None:
                return None
            with opened(running, entry) as adapter:
                return ServerSearch(entry.name, tuple(adapter.list_servers(CALL_DEADLINE)))
    except CloudError as error:
        return ServerSearch(entry.name, problem=str(error))
