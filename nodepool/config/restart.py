"""What a running daemon cannot take over from a new configuration (spec config 13). Pure."""

from __future__ import annotations

from nodepool.config.settings import Config


def needs_restart(old: Config, new: Config) -> tuple[str, ...]:
    """Keys of the settings that changed and take effect only when the process is started again; to be logged."""
    changed = {
        "webapp": old.webapp != new.webapp,
        "images-dir": old.images_dir != new.images_dir,
        "zookeeper-servers (chroot)": old.zookeeper.chroot != new.zookeeper.chroot,
        "zookeeper-tls": old.zookeeper.tls != new.zookeeper.tls,
        "zookeeper-timeout": old.zookeeper.timeout != new.zookeeper.timeout,
    }
    return tuple(key for key, differs in changed.items() if differs)
