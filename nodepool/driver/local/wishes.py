"""Whether a provider's configuration asks for more than this host has."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from nodepool.driver.local.config import LocalProviderConfig
from nodepool.driver.local.host import CORE_SHARE, PORTS
from nodepool.model.resources import Resources


def too_much(config: LocalProviderConfig, host: Resources, limits: Resources) -> Iterator[str]:
    """What cannot be had, and what to do about it, in a sentence each.

    :param host: processors, and memory in MiB, that there are
    :param limits: what the provider's machines may use in all
    """
    settings = config.host
    if (settings.max_ram or 0) > host["ram"]:
        yield f"max-ram is {settings.max_ram} MiB, but this host has {host['ram']} MiB, which is what counts."
    if (settings.max_cores or 0) > host["cores"] * CORE_SHARE:
        yield (
            f"max-cores is {settings.max_cores}, but this host has {host['cores']} processors: "
            f"with more than {CORE_SHARE} times as many given out, machines get slow."
        )
    wanted = sum(pool.max_servers or 0 for pool in config.pools.values())
    room = _room(settings.network)
    if wanted > room:
        yield (
            f"the pools' max-servers are {wanted} together, but the network {settings.network} has room for {room} "
            f"machines: set network to a larger one."
        )
    for pool in config.pools.values():
        for label in pool.labels.values():
            for name in label.machine.cost.shortage(limits):
                yield (
                    f"the label '{label.name}' wants {label.machine.cost[name]} {name}, but all machines of the "
                    f"provider together may use {limits[name]}: no such machine can be made."
                )


def _room(network: ipaddress.IPv4Network) -> int:
    """For how many machines: in a network of one address, each has a port."""
    return PORTS if network.num_addresses == 1 else max(network.num_addresses - 2, 1)
