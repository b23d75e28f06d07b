"""Registers this launcher and its pools as components of the system (spec zookeeper 4.6)."""

from __future__ import annotations

from nodepool.model.component import LAUNCHER, POOL, Component
from nodepool.zk.registry import Registry


class Components:
    """Adds to each component what only this process knows: its host and version. Any thread may call."""

    def __init__(self, registry: Registry, hostname: str, version: str) -> None:
        self._registry = registry
        self._hostname = hostname
        self._version = version
        self._put(LAUNCHER, LAUNCHER, Component(kind=LAUNCHER, state="running"))

    def publish(self, key: str, component: Component | None) -> None:
        """Keep the component of one of our pools registered under its launcher id; None removes it."""
        if component is None:
            self._registry.drop(key)
        else:
            self._put(key, POOL, component)

    def _put(self, key: str, kind: str, component: Component) -> None:
        complete = component.replace(hostname=self._hostname, version=self._version)
        self._registry.put(key, kind, complete.to_json())
