"""A complete driver outside the package, in one small file.

Its cloud is a dictionary. Everything else is what any driver has to do: read its part of nodepool.yaml, make and
remove machines in the background, and say what there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

from nodepool.driver.contract import (
    ConfigLabel,
    ConfigPool,
    Driver,
    NodeRequestHandler,
    Provider,
    ProviderConfig,
    ProviderNotifications,
)
from nodepool.driver.errors import NotFound


class DemoConfig(ProviderConfig):
    pools: Mapping[str, ConfigPool] = {}

    def getSchema(self) -> dict[Any, Any]:
        pool = ConfigPool.getCommonSchemaDict() | {"name": str, "labels": [{"name": str}]}
        return self.getCommonSchemaDict() | {"color": str, "pools": [pool]}

    def load(self, config: Any) -> None:
        pools = {}
        for entry in self.provider["pools"]:
            pool = ConfigPool()
            pool.load(entry, config, self)
            pool.labels = {label["name"]: ConfigLabel(label["name"]) for label in entry["labels"]}
            pools[pool.name] = pool
        self.pools = pools


class DemoHandler(NodeRequestHandler):
    work: Future[None]

    def launch(self, node: Any) -> None:
        self.work = self.manager.threads.submit(self.make, node)

    def make(self, node: Any) -> None:
        machine = self.manager.make_machine(node)
        node.external_id = machine.id
        self.zk.storeNode(node)
        node.interface_ip = node.public_ipv4 = machine.address
        node.username = "demo"
        node.host_keys = ["ssh-ed25519 AAAA"]
        node.state = "ready"
        self.zk.storeNode(node)

    @property
    def launchesComplete(self) -> bool:
        return self.work.done()


class DemoProvider(Provider, ProviderNotifications):
    def __init__(self, config: ProviderConfig) -> None:
        self.config = config
        self.machines: dict[str, Any] = {}
        self.threads = ThreadPoolExecutor(4)

    def make_machine(self, node: Any) -> Any:
        tags = {"nodepool_node_id": node.id, "nodepool_pool_name": node.pool, "nodepool_provider_name": node.provider}
        machine = SimpleNamespace(id=f"demo-{node.id}", metadata=tags, address="192.0.2.7")
        self.machines[machine.id] = machine
        return machine

    def stop(self) -> None:
        self.threads.shutdown(wait=False)

    def listNodes(self) -> Sequence[Any]:
        return list(self.machines.values())

    def cleanupNode(self, node_id: str) -> None:
        if self.machines.pop(node_id, None) is None:
            raise NotFound(f"no machine {node_id}")

    def getRequestHandler(self, poolworker: Any, request: Any) -> DemoHandler:
        return DemoHandler(poolworker, request)


class DemoDriver(Driver):
    def getProviderConfig(self, provider: dict[str, Any]) -> DemoConfig:
        return DemoConfig(self, provider)

    def getProvider(self, provider_config: ProviderConfig) -> DemoProvider:
        return DemoProvider(provider_config)
