"""Presents a driver that knows only the public contract as a cloud adapter, so that the launcher has one way to work.

Each server that is wanted gets a request handler of its own. Its node object is the driver's to fill; what it says goes
to the node record with the next list. After a restart only :meth:`Provider.listNodes` knows of what was made before.
Foreign code runs behind every call: any error that is not one of :mod:`nodepool.driver.errors` becomes UnknownOutcome.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from nodepool.driver.adapter import NODE_TAG, CloudAdapter, Server, ServerOrder, ServerState
from nodepool.driver.contract import NodeRequestHandler, Provider, ProviderConfig, ProviderNotifications
from nodepool.driver.errors import BadLabel, CloudError, NotFound, QuotaExceeded, UnknownOutcome
from nodepool.model.node import Node
from nodepool.model.resources import Resources
from nodepool.model.states import NodeState

ID_WAIT = 5.0
"""Seconds to wait for a driver to name the external id of what it makes."""

_PLACES = ("interface_ip", "public_ipv4", "private_ipv4", "public_ipv6", "host_id", "cloud", "region", "az")
_FURTHER = (
    "connection_type",
    "connection_port",
    "shell_type",
    "username",
    "python_path",
    "host_keys",
    "driver_data",
    "node_properties",
    "slot",
)
"""Attributes of the node object that go to the record if the driver has changed them."""


class DriverNode:
    """The node object that a driver gets: the attributes of a node record, to be read and set at will."""

    def __init__(self, node: Node) -> None:
        self._told = threading.Event()
        for entry in dataclasses.fields(Node):
            value = getattr(node, entry.name)
            setattr(self, entry.name, list(value) if isinstance(value, tuple) else value)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if (name == "external_id" and value is not None) or (name == "state" and value != NodeState.BUILDING):
            self._told.set()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a node record has no {name!r}")

    def wait_for_id(self, timeout: float) -> None:
        """Wait until the driver has set ``external_id`` or a final state, at most ``timeout`` seconds."""
        self._told.wait(timeout)


@dataclass(slots=True, eq=False)
class _Entry:
    """A server that a handler made, or is making."""

    node: Any
    tags: Mapping[str, str]
    cost: Resources
    handler: NodeRequestHandler | None = None
    external_id: Any = None
    """As the launcher knows it: what the driver said in time, else the node's id; None before it was told."""
    deleting: bool = False
    at_first: Mapping[str, Any] = field(default_factory=dict)


class ContractAdapter(CloudAdapter):
    """A provider of an out-of-tree driver, as a cloud."""

    lists_everything = False
    """How a machine is that an earlier process made, the contract does not tell."""

    def __init__(self, provider: Provider, provider_config: ProviderConfig, id_wait: float = ID_WAIT) -> None:
        self._provider = provider
        self._config = provider_config
        self._id_wait = id_wait
        self._entries: list[_Entry] = []
        self._costs: dict[tuple[str, str], Resources | BadLabel] = {}
        self._lock = threading.Lock()

    def prepare(self, deadline: float) -> None:  # noqa: ARG002
        """Ask the driver what a node of each label uses, if it can tell."""
        for pool in self._config.pools.values():
            for label in pool.labels:
                try:
                    self._costs[pool.name, label] = self._ask_cost(pool, label)
                except BadLabel as error:
                    self._costs[pool.name, label] = error

    def cost(self, pool: str, label: str) -> Resources:
        """One instance, unless the driver has ``quotaNeededByLabel(label, pool)`` and says otherwise."""
        if pool not in self._config.pools or label not in self._config.pools[pool].labels:
            raise BadLabel(f"the pool '{pool}' has no label '{label}'")
        cost = self._costs.get((pool, label), Resources(instances=1))
        if isinstance(cost, BadLabel):
            raise cost
        return cost

    def create_server(self, order: ServerOrder, deadline: float) -> Any:
        """Have a new handler launch a node."""
        node = DriverNode(_blank(order, self._config.name))
        entry = _Entry(node, order.tags, self.cost(order.pool, order.label))
        entry.at_first = {name: _plain(getattr(node, name)) for name in _FURTHER}
        with self._lock:
            self._entries.append(entry)
        try:
            with foreign("launch"):
                entry.handler = self._handler(order, node)
                entry.handler.launch(node)
        except CloudError:
            with self._lock:
                self._entries.remove(entry)
            raise
        node.wait_for_id(min(self._id_wait, deadline))
        entry.external_id = order.node_id if node.external_id is None else node.external_id
        return entry.external_id

    def list_servers(self, deadline: float) -> Sequence[Server]:  # noqa: ARG002
        """What the handlers are at, and what the driver lists besides."""
        with foreign("listNodes"):
            resources = list(self._provider.listNodes())
        with self._lock:
            entries = list(self._entries)
        listed = [resource.id for resource in resources]
        known = [entry.node.external_id for entry in entries]
        unnamed = [entry.node.id for entry in entries if entry.node.external_id is None]
        servers = []
        for entry in entries:
            if entry.deleting and entry.node.external_id not in listed:
                self._forget(entry)
            elif entry.external_id is not None:
                servers.append(_server(entry))
        for resource in resources:
            if resource.id not in known and resource.metadata.get(NODE_TAG) not in unnamed:
                servers.append(_stranger(resource))
        return servers

    def delete_server(self, external_id: Any, deadline: float) -> None:  # noqa: ARG002
        """Have the driver clean up; the launcher sees the end of it in the list."""
        with self._lock:
            found = [entry for entry in self._entries if external_id in (entry.external_id, entry.node.external_id)]
        entry = found[0] if found else None
        if entry is not None and entry.node.external_id is None:
            self._forget(entry)
            return
        try:
            with foreign("startNodeCleanup"):
                self._provider.startNodeCleanup(entry.node if entry else self._find(external_id))
        except NotFound:
            if entry is not None:
                self._forget(entry)
            raise
        if entry is not None:
            entry.deleting = True

    def _find(self, external_id: Any) -> Any:
        """A node object for something that an earlier process made; its id may stand for one that came too late."""
        for resource in self._provider.listNodes():
            node_id = resource.metadata.get(NODE_TAG)
            if external_id in (resource.id, node_id):
                return SimpleNamespace(id=node_id, external_id=resource.id)
        return SimpleNamespace(id=None, external_id=external_id)

    def _forget(self, entry: _Entry) -> None:
        with self._lock:
            if entry not in self._entries:
                return
            self._entries.remove(entry)
        if isinstance(self._provider, ProviderNotifications):
            with foreign("nodeDeletedNotification"):
                self._provider.nodeDeletedNotification(entry.node)

    def _ask_cost(self, pool: Any, label: str) -> Resources:
        ask: Callable[..., Any] | None = getattr(self._provider, "quotaNeededByLabel", None)
        if ask is None:
            return Resources(instances=1)
        with foreign("quotaNeededByLabel"):
            answer = ask(label, pool)
            amounts = answer if isinstance(answer, Mapping) else answer.get_resources()
            return Resources.from_json(amounts) or Resources(instances=1)

    def _handler(self, order: ServerOrder, node: DriverNode) -> NodeRequestHandler:
        pool = self._config.pools[order.pool]
        request = SimpleNamespace(node_types=[order.label], **order.request)
        handler = self._provider.getRequestHandler(self._poolworker(pool), request)
        handler.provider, handler.pool = self._config, pool
        handler.zk, handler.manager = _Records(), self._provider
        handler.nodes.append(node)
        return handler

    def _poolworker(self, pool: Any) -> Any:
        return SimpleNamespace(
            launcher_id=f"{self._config.name}-{pool.name}",
            getProviderConfig=lambda: self._config,
            getPoolConfig=lambda: pool,
            getProviderManager=lambda: self._provider,
            getZK=_Records,
        )


def launcher_adapter(provider: Provider, provider_config: ProviderConfig) -> CloudAdapter:
    """The adapter by which the launcher drives a provider that has no stock."""
    return provider.adapter or ContractAdapter(provider, provider_config)


class _Records:
    """What handlers get as ``zk``. The launcher stores the record; a driver need only say that it would like it to."""

    def storeNode(self, node: Any) -> None:
        """Accepted: the next list tells the launcher what the node object says then."""


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """Around code of an out-of-tree driver: whatever it raises comes out as one of our errors."""
    try:
        yield
    except CloudError:
        raise
    except Exception as error:
        raise UnknownOutcome(f"{what} of the driver failed: {type(error).__name__}: {error}") from error


def _blank(order: ServerOrder, provider: str) -> Node:
    return Node(
        id=order.node_id,
        state=NodeState.BUILDING,
        provider=provider,
        pool=order.pool,
        type=(order.label,),
        az=order.az,
        hostname=order.hostname,
        image_id=order.image_external_id,
    )


def _server(entry: _Entry) -> Server:
    assert entry.handler is not None, "the launcher was told its id"
    state, fault, text = _progress(entry.handler, entry.node)
    changed = {name: value for name in _FURTHER if (value := _plain(getattr(entry.node, name))) != entry.at_first[name]}
    if entry.node.external_id not in (None, entry.external_id):
        changed["external_id"] = entry.node.external_id
    return Server(
        external_id=entry.external_id,
        state=ServerState.DELETING if entry.deleting else state,
        tags=entry.tags,
        fault=fault,
        fault_text=text,
        **{name: getattr(entry.node, name) for name in _PLACES},
        resources=Resources.from_json(entry.node.resources) or entry.cost,
        record=changed,
    )


def _progress(handler: NodeRequestHandler, node: Any) -> tuple[ServerState, type[CloudError] | None, str]:
    try:
        with foreign("launchesComplete"):
            done = bool(handler.launchesComplete)
    except CloudError as error:
        return ServerState.ERROR, type(error), str(error)
    if not done:
        return ServerState.BUILDING, None, ""
    if node.state == NodeState.READY:
        return ServerState.ACTIVE, None, ""
    if node.state == NodeState.ABORTED:
        return ServerState.ERROR, QuotaExceeded, "the driver found no room for it"
    return ServerState.ERROR, CloudError, "the driver gave the launch up"


def _stranger(resource: Any) -> Server:
    """Something that no handler of this process made: how far it is, nobody knows."""
    return Server(
        external_id=resource.id,
        state=ServerState.ERROR,
        tags=dict(resource.metadata or {}),
        fault=CloudError,
        fault_text="made by an earlier process or by somebody else",
        resources=Resources(instances=1),
    )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
