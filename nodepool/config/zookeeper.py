"""The ZooKeeper part of the configuration: servers, the one chroot, TLS (spec config 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodepool.config.report import Report
from nodepool.config.rules import entries
from nodepool.config.settings import (
    DEFAULT_ZOOKEEPER_PORT,
    DEFAULT_ZOOKEEPER_TIMEOUT,
    TLSSettings,
    ZooKeeperSettings,
)

_SERVERS = "zookeeper-servers"
_TLS = "zookeeper-tls"
_TIMEOUT = "zookeeper-timeout"


def read_zookeeper(main: Report, secure: Report | None) -> ZooKeeperSettings:
    """The settings of both files; what the secure file gives replaces the main file's as a whole (spec config 3)."""
    servers_from = _giver(_SERVERS, main, secure)
    tls_from = _giver(_TLS, main, secure)
    servers = _servers(servers_from)
    chroot = _chroot(servers_from)
    timeout = main.document.data.get(_TIMEOUT, DEFAULT_ZOOKEEPER_TIMEOUT)
    settings = ZooKeeperSettings(
        servers=servers,
        chroot=chroot,
        tls=_tls(tls_from),
        timeout=float(timeout) if main.usable((_TIMEOUT,)) else DEFAULT_ZOOKEEPER_TIMEOUT,
    )
    if servers and _TLS not in tls_from.document.data and not settings.is_local:
        message = (
            "there is no zookeeper-tls, so the connection is neither encrypted nor authenticated "
            "(give cert, key and ca, unless this network is trusted)"
        )
        servers_from.warn((_SERVERS,), message)
    return settings


def _giver(section: str, main: Report, secure: Report | None) -> Report:
    """The report of the file whose section counts."""
    return secure if secure is not None and secure.document.data.get(section) else main


def _servers(report: Report) -> tuple[tuple[str, int], ...]:
    return tuple(
        (_bare(entry["host"]), int(entry.get("port", DEFAULT_ZOOKEEPER_PORT)))
        for index, entry in entries(report.document.data, _SERVERS)
        if report.usable((_SERVERS, index))
    )


def _chroot(report: Report) -> str:
    """The chroot, which may stand on one, several or all servers, but must be the same everywhere."""
    first: str | None = None
    for index, entry in entries(report.document.data, _SERVERS):
        path = (_SERVERS, index, "chroot")
        if not entry.get("chroot") or not report.usable(path):
            continue
        steps = entry["chroot"].strip("/")
        chroot = f"/{steps}" if steps else ""
        if first is None:
            first = chroot
            first_line = report.line(path)
        elif chroot != first:
            message = f"all servers are one ensemble with one chroot, but this is not the one of line {first_line}"
            report.error(path, f"{message} (make them equal, or give it once)")
    return first or ""


def _tls(report: Report) -> TLSSettings | None:
    section: Any = report.document.data.get(_TLS)
    if not isinstance(section, Mapping) or not report.usable((_TLS,)):
        return None
    missing = [name for name in ("cert", "key", "ca") if not section.get(name)]
    if missing:
        message = f"TLS needs cert, key and ca (paths of PEM files); missing here: {', '.join(missing)}"
        report.error((_TLS,), message)
        return None
    return TLSSettings(section["cert"], section["key"], section["ca"])


def _bare(host: str) -> str:
    return host.strip("[]")
