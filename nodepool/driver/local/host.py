"""What this host can bear: memory, processors, addresses. Linux."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Collection, Iterator
from pathlib import Path

from nodepool.driver.errors import CloudError, NoCapacity
from nodepool.model.resources import Resources

SSH_PORT = 22
UNPRIVILEGED_PORT = 2222
"""Where 22 needs rights that this process has not, or somebody listens on it at all addresses."""
PORTS = 1000
"""How many ports from the first one on are tried where all machines share one address."""
TRIES = 100
"""How many places are tried: what keeps one from being used mostly holds for all."""
CORE_SHARE = 4
"""How many processors are given out for one that there is: machines of a CI system wait most of the time."""
RAM_SHARE = 0.9
"""What of the memory is given out."""
SPARE_RAM = 128
"""MiB that a start leaves to the host."""

Endpoint = tuple[str, int]


def resources() -> Resources:
    """What this host has; RAM in MiB."""
    return Resources(cores=os.cpu_count() or 1, ram=_memory("MemTotal"))


def limits(max_cores: int | None, max_ram: int | None) -> Resources:
    """What machines may use of this host in all; RAM in MiB, and never more than there is."""
    there = resources()
    cores = max_cores or there["cores"] * CORE_SHARE
    ram = min(max_ram, there["ram"]) if max_ram else int(there["ram"] * RAM_SHARE)
    return Resources.limit({"cores": cores, "ram": ram})


def has_memory(ram: int) -> bool:
    """Whether there are so many MiB for another machine just now."""
    return _memory("MemAvailable") >= ram + SPARE_RAM


def choose_endpoint(
    network: ipaddress.IPv4Network, port: int | None, taken: Collection[Endpoint], number: int
) -> Endpoint:
    """A free address of the network with a free port on it.

    Each machine has an address of its own, and which one it gets depends on ``number``, so that one is not used again
    soon. Where the network is a single address, each has a port of its own.
    """
    ports = (port,) if port else (SSH_PORT, UNPRIVILEGED_PORT)
    shared = network.num_addresses == 1
    busy = {address for address, _ in taken}
    troubles: list[OSError] = []
    for endpoint in _candidates(network, ports, number):
        if endpoint in taken or (not shared and endpoint[0] in busy):
            continue
        trouble = _trouble(endpoint)
        if trouble is None:
            return endpoint
        troubles.append(trouble)
        if len(troubles) >= TRIES:
            break
    if not troubles:
        raise NoCapacity(f"all addresses of the network {network} are in use: give the provider a larger one")
    if all(trouble.errno in (errno.EACCES, errno.EPERM) for trouble in troubles):
        remedy = "only root may listen there; set 'port' to 1024 or more"
    else:
        remedy = "somebody else listens there; set 'port' or 'network' to something that is free"
    raise CloudError(f"no address of {network} can be used with port {' or '.join(map(str, ports))}: {remedy}")


def _candidates(network: ipaddress.IPv4Network, ports: tuple[int, ...], number: int) -> Iterator[Endpoint]:
    if network.num_addresses == 1:
        yield from ((str(network[0]), port) for port in range(ports[-1], min(ports[-1] + PORTS, 65536)))
        return
    last = max(network.num_addresses - 2, 1)
    for step in range(last):
        address = str(network[(number - 1 + step) % last + 1])
        yield from ((address, port) for port in ports)


def _trouble(endpoint: Endpoint) -> OSError | None:
    """Why nobody can listen there, None if one can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(endpoint)
            probe.listen(1)
        except OSError as error:
            return error
    return None


def _memory(name: str) -> int:
    """An entry of /proc/meminfo in MiB."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        key, _, amount = line.partition(":")
        if key == name:
            return int(amount.split()[0]) >> 10
    raise CloudError(f"/proc/meminfo says nothing of {name}")
