"""The static driver's part of nodepool.yaml (spec drivers 3)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import voluptuous as v

from nodepool.driver.adapter import LabelSettings, PoolSettings, ProviderSettings
from nodepool.driver.contract import ConfigLabel, ConfigPool, Driver, ProviderConfig, ReferenceProblem
from nodepool.driver.schema import as_list, connection_port, count, flag, number, optional_text, pool_name, text, texts
from nodepool.model.resources import Resources

DEFAULT_TIMEOUT = 5
"""Seconds for each step of a look at a host."""
_DEFAULT_PORTS = {"winrm": 5986}
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-", "rsa-")

Identity = tuple[str, str | None, int]
"""What makes a host unique: name, username, port."""


def host_keys(value: Any) -> Any:
    """One ``TYPE BASE64`` or a list of them, as ssh-keyscan prints it after the host's name; a comment may follow."""
    for index, key in enumerate(as_list(value)):
        if not isinstance(key, str) or len(key.split()) < 2 or not key.startswith(_KEY_TYPES):
            where: list[Hashable] = [index] if isinstance(value, list) else []
            raise v.Invalid("expected a host key, 'TYPE BASE64', without the host name", path=where)
    return value


def host_name(value: Any) -> str:
    """A host name or an address."""
    if not isinstance(value, str) or not value or any(not letter.isprintable() or letter in " /" for letter in value):
        raise v.Invalid("expected a host name or address")
    return value


HOST = {
    v.Required("name"): host_name,
    v.Required("labels"): texts,
    "username": optional_text,
    "connection-type": text,
    "connection-port": connection_port,
    "ssh-port": connection_port,
    "host-key": host_keys,
    "host-key-checking": flag,
    "timeout": number("a number of seconds", minimum=1),
    "python-path": optional_text,
    "shell-type": optional_text,
    "max-parallel-jobs": count,
}


@dataclass(frozen=True, slots=True)
class StaticHost:
    """One entry of ``pools[].nodes``."""

    name: str
    labels: tuple[str, ...]
    pool: str = ""
    username: str | None = "zuul"
    connection_type: str = "ssh"
    port: int = 22
    host_keys: tuple[str, ...] = ()
    """Keys that must be among those of the host, ``TYPE BASE64``; empty for any."""
    checked: bool = True
    """Whether the host is contacted at all."""
    timeout: float = DEFAULT_TIMEOUT
    """Seconds for each step of a look: connect, banner, one key."""
    python_path: str | None = "auto"
    shell_type: str | None = None
    slots: int = 1
    """How many jobs may run on it at once."""
    attributes: Mapping[str, Any] | None = None

    @property
    def identity(self) -> Identity:
        """What makes the host unique in the whole file."""
        return self.name, self.username, self.port


def read_host(entry: Mapping[str, Any], pool: str = "", attributes: Mapping[str, Any] | None = None) -> StaticHost:
    """Read one entry of ``nodes``, which has passed the schema."""
    connection_type = entry.get("connection-type", "ssh")
    port = entry.get("connection-port") or entry.get("ssh-port") or _DEFAULT_PORTS.get(connection_type, 22)
    return StaticHost(
        name=entry["name"],
        labels=read_labels(entry["labels"]),
        pool=pool,
        username=entry.get("username", "zuul"),
        connection_type=connection_type,
        port=port,
        host_keys=tuple(" ".join(key.split()[:2]) for key in as_list(entry.get("host-key"))),
        checked=entry.get("host-key-checking", True),
        timeout=float(entry.get("timeout", DEFAULT_TIMEOUT)),
        python_path=entry.get("python-path", "auto"),
        shell_type=entry.get("shell-type"),
        slots=entry.get("max-parallel-jobs", 1),
        attributes=attributes,
    )


def read_labels(value: str | list[str]) -> tuple[str, ...]:
    """Labels of a host: a list, or a text with one or several separated by blanks. Each once, in order."""
    return tuple(dict.fromkeys(value.split() if isinstance(value, str) else value))


class StaticPool(ConfigPool):
    """A pool of hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.hosts: tuple[StaticHost, ...] = ()

    def load(self, pool_config: dict[str, Any], full_config: Any, provider: ProviderConfig | None = None) -> None:
        """Read the pool and its hosts."""
        super().load(pool_config, full_config, provider)
        self.hosts = tuple(read_host(entry, self.name, self.node_attributes) for entry in pool_config["nodes"])
        names = dict.fromkeys(label for host in self.hosts for label in host.labels)
        self.labels = {name: ConfigLabel(name) for name in names}


class StaticProviderConfig(ProviderConfig):
    """A provider of existing hosts."""

    def __init__(self, driver: Driver, provider: dict[str, Any]) -> None:
        super().__init__(driver, provider)
        self._pools: dict[str, StaticPool] = {}

    @property
    def pools(self) -> dict[str, StaticPool]:
        """Pools by name."""
        return self._pools

    @property
    def hosts(self) -> tuple[StaticHost, ...]:
        """The hosts of all pools, in the order of the file."""
        return tuple(host for pool in self._pools.values() for host in pool.hosts)

    def getSchema(self) -> v.Schema:
        """Schema of the provider's mapping."""
        pool = ConfigPool.getCommonSchemaDict() | {v.Required("name"): pool_name, v.Required("nodes"): [HOST]}
        return v.Schema(self.getCommonSchemaDict() | {v.Required("pools"): [pool]})

    def load(self, config: Any) -> None:
        """Read the pools."""
        self._pools = {}
        for entry in self.provider["pools"]:
            pool = StaticPool()
            pool.load(entry, config, self)
            self._pools[pool.name] = pool

    def checkReferences(self, config: Any) -> Iterator[ReferenceProblem]:
        """Labels that the top level lacks, and hosts that are listed twice in this or an earlier provider."""
        known: dict[Identity, str] = {}
        for name, other in config.providers.items():
            if isinstance(other, StaticProviderConfig) and name != self.name:
                known.update((host.identity, f"provider {name}") for host in other.hosts)
        for path, entry in self._entries():
            host = read_host(entry)
            for index, label in enumerate(host.labels):
                if label not in config.labels:
                    place = (*path, "labels") if isinstance(entry["labels"], str) else (*path, "labels", index)
                    message = f"the label '{label}' is not in the top-level labels: add it there, or correct the name"
                    yield ReferenceProblem(place, message)
            if host.identity in known:
                yield ReferenceProblem((*path, "name"), _twice(host, known[host.identity]))
            known.setdefault(host.identity, f"pools[{path[1]}].nodes[{path[3]}]")

    def settings(self) -> ProviderSettings:
        """What the launcher has to know: pools and labels. How to connect is in the node records already."""
        return ProviderSettings(
            name=self.name,
            pools={pool.name: _settings(pool) for pool in self._pools.values()},
            max_concurrency=self.max_concurrency if self.max_concurrency > 0 else None,
        )

    def _entries(self) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
        for pool_index, pool in enumerate(self.provider["pools"]):
            for index, entry in enumerate(pool["nodes"]):
                yield ("pools", pool_index, "nodes", index), entry


def _settings(pool: StaticPool) -> PoolSettings:
    limit = None if pool.max_servers is None else max(pool.max_servers, 0)
    return PoolSettings(
        name=pool.name,
        labels={name: LabelSettings(name) for name in pool.labels},
        limits=Resources.limit({"instances": limit}),
        priority=pool.priority,
        node_attributes=pool.node_attributes,
    )


def _twice(host: StaticHost, where: str) -> str:
    return (
        f"the host '{host.name}' with username '{host.username}' and port {host.port} is already in {where}: list it "
        "once, with all its labels (max-parallel-jobs lets it run several jobs at once)"
    )
