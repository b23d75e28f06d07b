"""Limits of a project, from what Nova, Cinder and Neutron say (spec launcher 2.6).

The launcher takes off what servers use. What else uses volumes is taken off here. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nodepool.model.resources import Resources

_COMPUTE = {"instances": "maxTotalInstances", "cores": "maxTotalCores", "ram": "maxTotalRAMSize"}
_VOLUME = {"volumes": "maxTotalVolumes", "volume-gb": "maxTotalVolumeGigabytes"}
_ON_THEIR_WAY = frozenset({"creating", "downloading", "attaching", "reserved", "deleting"})
"""States of volumes that have no server yet, or any more, although one has asked for them."""


def compute_limits(answer: Mapping[str, Any]) -> Resources:
    """From Nova's ``GET /limits``; negative numbers mean no limit."""
    return _absolute(answer, _COMPUTE)


def volume_limits(answer: Mapping[str, Any], volumes: Iterable[Mapping[str, Any]]) -> Resources:
    """From Cinder's ``GET /limits`` and ``GET /volumes/detail``, less the volumes that no server has."""
    loose = [entry for entry in volumes if not entry.get("attachments") and entry.get("status") not in _ON_THEIR_WAY]
    used = Resources({"volumes": len(loose), "volume-gb": sum(entry["size"] for entry in loose)})
    limit = _absolute(answer, _VOLUME)
    return Resources.limit({name: max(limit[name] - used[name], 0) for name in limit.names()})


def network_limits(answer: Mapping[str, Any], ports_per_server: int, without_address: int | None) -> Resources:
    """From Neutron's ``GET /quotas/PROJECT``: as many servers as there may be ports and floating addresses for.

    These are not counted by themselves: a node's resources are what clients know them to be (spec drivers 2).

    :param without_address: by how many the servers of others exceed their floating addresses, as their servers are
        taken off; None if there are nodes without a floating address
    """
    quota = answer["quota"]
    ports, addresses = (_amount(quota.get(name)) for name in ("port", "floatingip"))
    by_ports = Resources.limit({"instances": None if ports is None else ports // ports_per_server})
    if addresses is None or without_address is None:
        return by_ports
    return by_ports.both(Resources.limit({"instances": max(addresses + without_address, 0)}))


def _amount(limit: int | None) -> int | None:
    """A limit; None if there is none."""
    return limit if limit is not None and limit >= 0 else None


def _absolute(answer: Mapping[str, Any], names: Mapping[str, str]) -> Resources:
    absolute = answer["limits"]["absolute"]
    return Resources.limit({name: absolute.get(key) for name, key in names.items()})
