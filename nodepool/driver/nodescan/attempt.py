"""One attempt at one host: resolve, connect, read the offer, one key exchange per key type. Raises ScanError."""

from dataclasses import dataclass

import asyncssh

from nodepool.driver.nodescan.connect import Address, Resolver, connect, connect_first
from nodepool.driver.nodescan.hostkeys import read_host_key, read_offer
from nodepool.driver.nodescan.request import ScanError, ScanFailure, ScanRequest, ScanResult
from nodepool.driver.nodescan.timelimit import TimeLimit
from nodepool.driver.nodescan.wire import algorithms_by_key_type, printable


@dataclass(frozen=True, slots=True)
class Attempts:
    """What all attempts share."""

    resolver: Resolver
    options: asyncssh.SSHClientConnectionOptions

    async def scan_once(self, request: ScanRequest, deadline: float) -> ScanResult:
        """A success, with keys unless only a connection was asked for; ``deadline`` is a time of the loop's clock.

        All or nothing: a key type that the server has but that was not read in time fails the attempt.
        Raises ScanError.
        """
        limit = TimeLimit(request.attempt_timeout, deadline)
        addresses = await self.resolver.addresses(request.host, request.port, limit)
        connection, address = await connect_first(addresses, limit)
        if not request.wants_keys:
            connection.close()
            return ScanResult(request.key, address=address.numeric_host)
        offered = await read_offer(connection, limit)
        keys = await self._read_keys(address, offered, limit)
        if not keys:
            detail = f"the server offers the algorithms {printable(','.join(offered))}"
            raise ScanError(ScanFailure.NO_HOST_KEY, detail)
        return ScanResult(request.key, keys, address=address.numeric_host)

    async def _read_keys(self, address: Address, offered: tuple[str, ...], limit: TimeLimit) -> tuple[str, ...]:
        keys = []
        # One after the other: sshd drops connections at random when too many are not logged in (MaxStartups).
        for key_type, algorithms in algorithms_by_key_type(offered).items():
            connection = await connect(address, limit)
            key = await read_host_key(connection, key_type, algorithms, self.options, limit)
            if key is not None:
                keys.append(key)
        return tuple(keys)
