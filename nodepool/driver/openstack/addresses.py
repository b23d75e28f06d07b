"""Addresses of a server, from what Nova lists, chosen by the rules of openstacksdk.

One difference: the SDK tries to connect where there are several, which a list of all servers cannot do; here the
floating address comes first. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nodepool.driver.openstack.networks import NetworkRules, Networks

_TYPE = "OS-EXT-IPS:type"
_MAC = "OS-EXT-IPS-MAC:mac_addr"
_ByNetwork = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses of a server; None for each that it does not have."""

    interface_ip: str | None = None
    public_ipv4: str | None = None
    public_ipv6: str | None = None
    private_ipv4: str | None = None
    """An address of an internal network; without one, the public address (spec drivers 2)."""
    private_ipv6: str | None = None


def choose_addresses(server: Mapping[str, Any], networks: Networks, rules: NetworkRules) -> Addresses:
    """The addresses of a server of ``GET /servers/detail``."""
    found: _ByNetwork = server.get("addresses") or {}
    if not found and not server.get("accessIPv4") and not server.get("accessIPv6"):
        return Addresses()
    public_ipv4 = _public_ipv4(server, found, networks, rules)
    public_ipv6 = None if rules.force_ipv4 else server.get("accessIPv6") or _first(found, version=6)
    private_ipv4 = _private_ipv4(found, networks, rules)
    interface_ip = _default(found, networks, rules)
    if interface_ip is None and rules.private:
        interface_ip = private_ipv4
    if interface_ip is None:
        preferred = (public_ipv6, public_ipv4) if rules.prefer_ipv6 else (public_ipv4, public_ipv6)
        interface_ip = preferred[0] or preferred[1] or private_ipv4 or _first(found)
    return Addresses(
        interface_ip=interface_ip,
        public_ipv4=public_ipv4,
        public_ipv6=public_ipv6,
        private_ipv4=private_ipv4 or public_ipv4,
        private_ipv6=_private_ipv6(found),
    )


def floating_addresses(server: Mapping[str, Any]) -> tuple[str, ...]:
    """The floating addresses that Nova knows of."""
    return tuple(_matching(server.get("addresses") or {}, kind="floating"))


def _public_ipv4(server: Mapping[str, Any], found: _ByNetwork, networks: Networks, rules: NetworkRules) -> str | None:
    if not rules.use_external:
        return None
    if access := server.get("accessIPv4"):
        return str(access)
    for name in networks.external_ipv4:
        if address := _first(found, name):
            return address
    floating = _first(found, kind="floating") or _first(found, "public")
    return floating or next((address for address in _matching(found) if _is_global(address)), None)


def _private_ipv4(found: _ByNetwork, networks: Networks, rules: NetworkRules) -> str | None:
    if not rules.use_internal:
        return None
    mac = next((entry.get(_MAC) for entries in found.values() for entry in entries if _is_floating(entry)), None)
    for name in networks.internal_ipv4:
        if address := _first(found, name, kind="fixed", mac=mac):
            return address
    for name in networks.internal_ipv4:
        if address := _first(found, name, mac=mac):
            return address
    return _first(found, "private", kind="fixed", mac=mac) or _first(found, "private")


def _private_ipv6(found: _ByNetwork) -> str | None:
    return next((address for address in _matching(found, version=6) if not _is_global(address)), None)


def _default(found: _ByNetwork, networks: Networks, rules: NetworkRules) -> str | None:
    if networks.default is None:
        return None
    address = _first(found, networks.default, version=6) if rules.prefer_ipv6 else None
    return address or _first(found, networks.default)


def _first(
    found: _ByNetwork, network: str | None = None, kind: str | None = None, mac: str | None = None, version: int = 4
) -> str | None:
    """The first address that fits, floating ones before fixed ones."""
    if not found or (network is not None and network not in found):
        return None
    fixed = None
    for entry in _entries(found, network):
        if entry["version"] != version or (kind and entry.get(_TYPE) != kind) or (mac and entry.get(_MAC) != mac):
            continue
        if _is_floating(entry):
            return str(entry["addr"])
        fixed = fixed or str(entry["addr"])
    return fixed


def _entries(found: _ByNetwork, network: str | None) -> Iterator[Mapping[str, Any]]:
    if network is not None:
        yield from found[network]
        return
    for entries in found.values():
        yield from entries


def _matching(found: _ByNetwork, kind: str | None = None, version: int = 4) -> Iterator[str]:
    for entry in _entries(found, None):
        if entry["version"] == version and (kind is None or entry.get(_TYPE) == kind):
            yield str(entry["addr"])


def _is_floating(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get(_TYPE) == "floating")


def _is_global(address: str) -> bool:
    try:
        return not ipaddress.ip_address(address).is_private
    except ValueError:
        return False
