"""The provider of a driver that consists of an adapter: the rest of the contract follows from that."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from nodepool.driver.adapter import CloudAdapter
from nodepool.driver.contract import NodeRequestHandler, Provider

_DEADLINE = 60.0


class AdapterProvider(Provider):
    """A provider of which the launcher uses the ``adapter``, and the builder the ``image_adapter``."""

    adapter: CloudAdapter

    def listNodes(self) -> Sequence[Any]:
        """All servers that the adapter lists."""
        servers = self.adapter.list_servers(_DEADLINE)
        return [SimpleNamespace(id=server.external_id, metadata=dict(server.tags)) for server in servers]

    def cleanupNode(self, node_id: Any) -> None:
        """Delete a server."""
        self.adapter.delete_server(node_id, _DEADLINE)

    def getRequestHandler(self, poolworker: Any, request: Any) -> NodeRequestHandler:
        """Not used: the launcher drives the adapter."""
        raise NotImplementedError("this driver is driven through its adapter")
