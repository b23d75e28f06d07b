"""What a reload changes: two configurations in, the difference out (spec config 13). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nodepool.config.settings import Config

_Names = frozenset[str]


@dataclass(frozen=True, slots=True)
class Difference:
    """What is to be done about a new configuration."""

    providers_added: _Names
    providers_removed: _Names
    providers_changed: _Names
    """Their entry differs, so they get a new connection; the old one finishes what it has begun."""
    providers_unchanged: _Names
    """Their connection stays. What labels and diskimages say is to be looked up in the new configuration."""
    labels: _Names
    """Top-level labels that were added, removed or changed."""
    diskimages: _Names
    """Images that were added, removed or changed, the environment from the secure file included."""
    zookeeper_servers: bool
    """Whether the client must be given the new list of servers."""
    live: tuple[str, ...]
    """Keys of further settings that changed and take effect by using the new configuration."""
    restart: tuple[str, ...]
    """Keys of settings that changed but only take effect when the process is started again; to be logged."""

    def __bool__(self) -> bool:
        """Whether anything changed."""
        names = (self.providers_added, self.providers_removed, self.providers_changed, self.labels, self.diskimages)
        return any(names) or self.zookeeper_servers or bool(self.live) or bool(self.restart)


def compare(old: Config, new: Config) -> Difference:
    """What changes from ``old`` to ``new``."""
    both = old.providers.keys() & new.providers.keys()
    changed = frozenset(name for name in both if old.providers[name] != new.providers[name])
    live = {
        "max-hold-age": old.max_hold_age != new.max_hold_age,
        "tenant-resource-limits": old.tenant_limits != new.tenant_limits,
        "elements-dir": old.elements_dir != new.elements_dir,
        "images-dir": old.images_dir != new.images_dir,
        "images-min-free-space": old.images_min_free_space != new.images_min_free_space,
        "build-log-dir": old.build_log_dir != new.build_log_dir,
        "build-log-retention": old.build_log_retention != new.build_log_retention,
    }
    restart = {
        "webapp": old.webapp != new.webapp,
        "zookeeper-servers (chroot)": old.zookeeper.chroot != new.zookeeper.chroot,
        "zookeeper-tls": old.zookeeper.tls != new.zookeeper.tls,
        "zookeeper-timeout": old.zookeeper.timeout != new.zookeeper.timeout,
    }
    return Difference(
        providers_added=frozenset(new.providers.keys() - both),
        providers_removed=frozenset(old.providers.keys() - both),
        providers_changed=changed,
        providers_unchanged=frozenset(both - changed),
        labels=_differing(old.labels, new.labels),
        diskimages=_differing(old.diskimages, new.diskimages),
        zookeeper_servers=old.zookeeper.servers != new.zookeeper.servers,
        live=tuple(key for key, differs in live.items() if differs),
        restart=tuple(key for key, differs in restart.items() if differs),
    )


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> _Names:
    return frozenset(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
