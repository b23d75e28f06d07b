"""Deleting a node at once, in the foreground, with this machine's access to its cloud (``delete --now``).

The order is that of every cloud effect: write the intent (state ``deleting``), make the call, look at the outcome in
the cloud's own list, and only then forget the record. Whatever goes wrong leaves a record with which the launchers go
on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from nodepool.admin.cloud import CALL_DEADLINE, opened
from nodepool.admin.failure import CommandFailed
from nodepool.admin.locking import locked_node, remove, write
from nodepool.admin.nodes import Clock, to_be_deleted
from nodepool.admin.snapshot import find_node, snapshot
from nodepool.config.settings import Config
from nodepool.driver.adapter import NODE_TAG, PROVIDER_TAG, CloudAdapter, Server, ServerState
from nodepool.driver.contract import Provider, ProviderConfig
from nodepool.driver.errors import CloudError, Misconfigured, NotFound
from nodepool.model.node import Node
from nodepool.zk import paths
from nodepool.zk.client import Client

LIMIT = 600.0
"""Seconds until the servers of a node must be gone."""
_SHORTEST_PAUSE = 1.0

Pause = Callable[[float], object]
"""Waits for some seconds."""


def delete_now(client: Client, node_id: str, who: str, config: Config, clock: Clock, pause: Pause) -> None:
    """Delete a node and its record. ``pause`` waits for some seconds. Raises :class:`CommandFailed`."""
    provider = _provider_of(find_node(snapshot(client, paths.node(node_id)), node_id)[0], config)
    with locked_node(client, node_id, who) as held:
        node, version = find_node(snapshot(client, paths.node(node_id)), node_id)
        wanted = to_be_deleted(node, clock())
        running = provider.driver.getProvider(provider)
        if running.stock is None:
            if wanted is not node and not write(client, [(held, wanted, version)]):
                raise CommandFailed(f"Node {node_id} was changed meanwhile by somebody without its lock; try again")
            _remove_servers(running, provider, wanted, clock, pause)
        remove(client, held, node_id)


def _provider_of(node: Node, config: Config) -> ProviderConfig:
    provider = config.providers.get(node.provider or "")
    if provider is None:
        raise CommandFailed(
            f"Provider {node.provider} for node {node.id} not defined on this launcher; nothing was changed "
            "(run the command where it is, or without --now)"
        )
    return provider


def _remove_servers(running: Provider, provider: ProviderConfig, node: Node, clock: Clock, pause: Pause) -> None:
    try:
        with opened(running, provider) as adapter:
            remove_servers(adapter, node, clock, pause)
    except CommandFailed:
        raise
    # A driver from outside this package may fail in any way; the record is left for the launchers in each case.
    except Exception as error:
        raise CommandFailed(_given_up(node, f"{type(error).__name__}: {error}")) from error


def remove_servers(adapter: CloudAdapter, node: Node, clock: Clock, pause: Pause, limit: float = LIMIT) -> None:
    """Delete what the cloud has of a node, and return when its list shows nothing of it any more.

    A list may lag (:attr:`CloudAdapter.list_lag`), so an empty one counts only after that time. Raises
    :class:`CommandFailed` after ``limit`` seconds, or at once when the provider cannot be used as it is configured.
    """
    began = clock()
    asked: dict[str, float] = {}
    trouble = "the cloud still lists it"
    while True:
        try:
            left = [server for server in adapter.list_servers(CALL_DEADLINE) if _belongs(server, node)]
            if not left and clock() >= began + adapter.list_lag:
                return
            for server in left:
                _ask_to_delete(adapter, server, asked, clock())
        except Misconfigured as error:
            raise CommandFailed(_given_up(node, f"the provider cannot be used: {error}")) from error
        except CloudError as error:
            trouble = str(error)
        if clock() >= began + limit:
            raise CommandFailed(_given_up(node, f"not gone within {limit:g} s: {trouble}"))
        pause(max(adapter.poll_interval, _SHORTEST_PAUSE))


def _belongs(server: Server, node: Node) -> bool:
    """Whether a server is of this node: tagged with it, or the one of its record if nobody else's tag is on it."""
    owner = server.tags.get(PROVIDER_TAG)
    if owner is None:
        return node.external_id is not None and server.external_id == node.external_id
    return owner == node.provider and (
        server.tags.get(NODE_TAG) == node.id
        or (node.external_id is not None and server.external_id == node.external_id)
    )


def _ask_to_delete(adapter: CloudAdapter, server: Server, asked: dict[str, float], now: float) -> None:
    """Delete a server, unless it is being deleted or was asked for within the time of one call."""
    key = repr(server.external_id)
    if server.state is ServerState.DELETING or now < asked.get(key, -CALL_DEADLINE) + CALL_DEADLINE:
        return
    with contextlib.suppress(NotFound):
        adapter.delete_server(server.external_id, CALL_DEADLINE)
    asked[key] = now


def _given_up(node: Node, why: str) -> str:
    return (
        f"Node {node.id} was not deleted: {why}; its record stays in deleting, so a launcher of {node.provider} goes on"
    )
