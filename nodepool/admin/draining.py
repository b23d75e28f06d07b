"""``nodepool drain`` and ``resume``: launchers take nothing new for a provider, or one launcher takes nothing new.

The flag is a znode of our own, which launchers watch: Nodepool 11 knows nothing of it.
"""

from __future__ import annotations

import json

from nodepool.admin.failure import CommandFailed
from nodepool.admin.operator import Operator, tell, warn
from nodepool.admin.snapshot import is_name, snapshot
from nodepool.admin.table import printable
from nodepool.model.component import LAUNCHER
from nodepool.zk import paths
from nodepool.zk.client import TransactionRefused
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Create, Delete, RefusedBy

PROVIDER = "provider"
"""The other kind is :data:`~nodepool.model.component.LAUNCHER`."""


def drain(operator: Operator, kind: str, name: str) -> None:
    """Set the flag. Raises :class:`CommandFailed` for a name that nobody knows."""
    mirror = snapshot(operator.client, paths.COMPONENTS, paths.NODES, paths.DRAINED)
    known = _known(operator, mirror, kind)
    if not is_name(name) or name not in known:
        there = ", ".join(map(printable, sorted(known))) or "none"
        raise CommandFailed(f"There is no {kind} {printable(name)}; there are: {there}")
    operator.client.ensure(f"{paths.DRAINED}/{kind}")
    try:
        data = json.dumps({"by": operator.who}).encode()
        operator.client.commit([Create(paths.drained(kind, name), data)])
    except TransactionRefused as error:
        if error.refused.reason is not RefusedBy.NODE_EXISTS:
            raise
        tell(f"The {kind} {name} is drained already")
    if kind == PROVIDER and not any(pool.provider_name == name for pool in mirror.pools()):
        warn([f"no running launcher has the provider {name}: the flag is for those that come"])


def resume(operator: Operator, kind: str, name: str) -> None:
    """Take the flag away. Raises :class:`CommandFailed` if there is none."""
    drained = sorted(snapshot(operator.client, paths.DRAINED).drained)
    if f"{kind}/{name}" not in drained:
        names = [path.partition("/")[2] for path in drained if path.startswith(f"{kind}/")]
        there = ", ".join(map(printable, names)) or "none"
        raise CommandFailed(f"The {kind} {printable(name)} is not drained; drained are: {there}")
    try:
        operator.client.commit([Delete(paths.drained(kind, name))])
    except TransactionRefused as error:
        if error.refused.reason is not RefusedBy.NO_NODE:
            raise


def _known(operator: Operator, mirror: Mirror, kind: str) -> set[str]:
    if kind == LAUNCHER:
        launchers = (entry.record for path, entry in mirror.components.items() if path.startswith(f"{LAUNCHER}/"))
        return {one.hostname for one in launchers if one is not None and one.hostname}
    names = {pool.provider_name for pool in mirror.pools()} | {
        entry.record.provider for entry in mirror.nodes.values() if entry.record
    }
    return {name for name in names if name} | operator.config.providers.keys()
