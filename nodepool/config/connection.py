"""The connection to ZooKeeper that a configuration asks for."""

from __future__ import annotations

import os

from nodepool.config.settings import Config
from nodepool.zk.session import KazooStore
from nodepool.zk.tls import TLSFiles


def store_of(config: Config) -> KazooStore:
    """A store that is not started yet. Raises :class:`ValueError` for TLS files that cannot be used."""
    settings, tls = config.zookeeper, None
    if settings.tls:
        # A daemon works in another directory than the one it was started in.
        tls = TLSFiles(*(os.path.abspath(path) for path in (settings.tls.cert, settings.tls.key, settings.tls.ca)))
    return KazooStore(hosts_of(config), settings.chroot, tls, settings.timeout)


def hosts_of(config: Config) -> str:
    """The servers, without the chroot."""
    return config.zookeeper.connect_string.removesuffix(config.zookeeper.chroot)
