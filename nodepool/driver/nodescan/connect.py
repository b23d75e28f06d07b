"""From a host name to a connected TCP socket, without ever blocking the event loop."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nodepool.driver.nodescan.request import ScanError, ScanFailure
from nodepool.driver.nodescan.timelimit import TimeLimit

AddressLookup = Callable[..., list[tuple[Any, ...]]]
"""Something called and answering like `socket.getaddrinfo`."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect: an address family and what `socket.socket.connect` takes for it."""

    family: int
    socket_address: tuple[Any, ...]

    @property
    def numeric_host(self) -> str:
        """The IPv4 or IPv6 address without the port."""
        return str(self.socket_address[0])


class Resolver:
    """Looks host names up in a pool of threads of its own, so that a silent name service holds up nothing else."""

    def __init__(self, pool: Executor, lookup: AddressLookup = socket.getaddrinfo) -> None:
        self._pool = pool
        self._lookup = lookup

    async def addresses(self, host: str, port: int, limit: TimeLimit) -> tuple[Address, ...]:
        """All TCP addresses of ``host``, at least one; IPv4 and IPv6 literals are taken as they are.

        Raises ScanError(NAME_NOT_RESOLVED).
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except (OSError, ValueError):
            found = await self._look_up(host, port, limit)
        return tuple(dict.fromkeys(Address(family, address) for family, _, _, _, address in found))

    async def _look_up(self, host: str, port: int, limit: TimeLimit) -> list[tuple[Any, ...]]:
        call = partial(self._lookup, host, port, type=socket.SOCK_STREAM)
        async with limit.step(ScanFailure.NAME_NOT_RESOLVED, f"look up {host}"):
            try:
                return await asyncio.get_running_loop().run_in_executor(self._pool, call)
            except (OSError, ValueError) as error:  # ValueError: a name that no resolver can be asked for.
                detail = f"look up {host}: {_text(error)}"
                raise ScanError(ScanFailure.NAME_NOT_RESOLVED, detail) from None


async def connect_first(addresses: tuple[Address, ...], limit: TimeLimit) -> tuple[socket.socket, Address]:
    """A non-blocking connected socket and its address, the first of ``addresses`` that answers; the caller closes it.

    The time of one step is shared evenly among the addresses not yet tried. Raises the last address's ScanError.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + limit.attempt_timeout
    for position, address in enumerate(addresses):
        rest = replace(limit, attempt_timeout=max(0.0, end - loop.time()))
        untried = len(addresses) - position
        try:
            return await connect(address, rest, share=1 / untried), address
        except ScanError:
            if untried == 1:
                raise
    raise ValueError("No address to connect to")


async def connect(address: Address, limit: TimeLimit, share: float = 1.0) -> socket.socket:
    """A non-blocking connected socket; the caller closes it. Raises ScanError(REFUSED or UNREACHABLE)."""
    doing = f"connect to {address.numeric_host} port {address.socket_address[1]}"
    with _as_scan_error(doing):
        connection = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        async with limit.step(ScanFailure.UNREACHABLE, doing, share):
            with _as_scan_error(doing):
                await asyncio.get_running_loop().sock_connect(connection, address.socket_address)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _as_scan_error(doing: str) -> Iterator[None]:
    try:
        yield
    except ConnectionRefusedError as error:
        raise ScanError(ScanFailure.REFUSED, f"{doing}: {_text(error)}") from None
    except OSError as error:
        raise ScanError(ScanFailure.UNREACHABLE, f"{doing}: {_text(error)}") from None


def _text(error: Exception) -> str:
    # asyncio puts words of its own into strerror; the resolver's error numbers are negative.
    number = getattr(error, "errno", None)
    if number is not None and number > 0:
        return os.strerror(number)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
