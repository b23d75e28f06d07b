"""Networks: what clouds.yaml and Neutron say of them, and what follows for addresses.

The rules are those of openstacksdk, so that a node has the address that it would have had there. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class NetworkRules:
    """What clouds.yaml says of a cloud's networks; networks are named by name or id."""

    external_ipv4: frozenset[str] = frozenset()
    """Networks whose addresses can be reached from outside."""
    internal_ipv4: frozenset[str] = frozenset()
    default: str | None = None
    """``default_interface``: the network by which servers are reached."""
    nat_source: str | None = None
    """Where floating addresses come from."""
    nat_destination: str | None = None
    """Where they lead to."""
    use_external: bool = True
    use_internal: bool = True
    private: bool = False
    """Whether servers are reached by their private addresses."""
    prefer_ipv6: bool = False
    """Whether this host has IPv6 and clouds.yaml does not forbid it."""
    force_ipv4: bool = False
    floating: bool = True
    """Whether Neutron gives floating addresses."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a cloud, sorted by what they are good for. Names are keys of a server's ``addresses``."""

    ids: Mapping[str, str] = field(default_factory=dict)
    """Name or id to id. A name that several networks have stands for none of them."""
    external_ipv4: tuple[str, ...] = ()
    """Names."""
    internal_ipv4: tuple[str, ...] = ()
    """Names."""
    default: str | None = None
    """Name."""
    default_id: str | None = None
    nat_source: str | None = None
    """Id."""
    nat_destination: str | None = None
    """Id; None if clouds.yaml names none."""
    ambiguous: frozenset[str] = frozenset()
    """Names that several networks have."""


def sort_networks(entries: Iterable[Mapping[str, Any]], rules: NetworkRules) -> Networks:
    """Make sense of ``GET /networks``."""
    entries = tuple(entries)
    counts = Counter(entry["name"] for entry in entries)
    ambiguous = frozenset(name for name, count in counts.items() if count > 1)
    ids = {entry["name"]: entry["id"] for entry in entries if entry["name"] not in ambiguous}
    ids |= {entry["id"]: entry["id"] for entry in entries}
    default = _named(entries, rules.default)
    nat_source = _named(entries, rules.nat_source)
    if rules.nat_source is None:
        nat_source = next((entry for entry in entries if entry.get("router:external")), None)
    nat_destination = _named(entries, rules.nat_destination)
    return Networks(
        ids=ids,
        external_ipv4=tuple(entry["name"] for entry in entries if _is_external(entry, rules)),
        internal_ipv4=tuple(entry["name"] for entry in entries if _is_internal(entry, rules)),
        default=default["name"] if default else None,
        default_id=default["id"] if default else None,
        nat_source=nat_source["id"] if nat_source else None,
        nat_destination=nat_destination["id"] if nat_destination else None,
        ambiguous=ambiguous,
    )


def networks_with_gateway(subnets: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Ids of the networks that floating addresses can lead to, when clouds.yaml names none."""
    return frozenset(subnet["network_id"] for subnet in subnets if subnet.get("gateway_ip"))


def _is_external(entry: Mapping[str, Any], rules: NetworkRules) -> bool:
    if _is(entry, rules.external_ipv4):
        return True
    return _leads_out(entry) and not _is(entry, rules.internal_ipv4)


def _is_internal(entry: Mapping[str, Any], rules: NetworkRules) -> bool:
    if _is(entry, rules.internal_ipv4):
        return True
    return not _leads_out(entry) and not _is(entry, rules.external_ipv4)


def _leads_out(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("router:external") or entry.get("provider:physical_network"))


def _is(entry: Mapping[str, Any], named: frozenset[str]) -> bool:
    return entry["name"] in named or entry["id"] in named


def _named(entries: tuple[Mapping[str, Any], ...], name: str | None) -> Mapping[str, Any] | None:
    return next((entry for entry in entries if name is not None and name in (entry["name"], entry["id"])), None)
