"""Reads the host keys of one SSH server, over connections that the caller opens.

First the plain start of a connection tells which host key algorithms the server has; then `read_host_key` makes one
key exchange per key type. The server signs each exchange, so a recorded key is one it owns. Never logs in.
"""

import asyncio
import socket
import struct
from dataclasses import dataclass, field

import asyncssh

from nodepool.driver.nodescan import wire
from nodepool.driver.nodescan.request import ScanError, ScanFailure
from nodepool.driver.nodescan.timelimit import TimeLimit

_KEY_EXCHANGES = "curve25519-*,*"
"""The cheap and common one first, then all that asyncssh knows: old servers and network devices have only old ones."""


def client_options() -> asyncssh.SSHClientConnectionOptions:
    """Options for `read_host_key`: no files of the user, no agent, every cipher (nothing secret is ever sent).

    Raises ValueError when the process's user has no name (asyncssh wants one, although nobody logs in).
    """
    return asyncssh.SSHClientConnectionOptions(
        config=None,
        client_keys=None,
        agent_path=None,
        known_hosts=None,
        gss_kex=False,
        gss_auth=False,
        encryption_algs="*",
        mac_algs="*",
        login_timeout=0,
    )


async def read_offer(connection: socket.socket, limit: TimeLimit) -> tuple[str, ...]:
    """The host key algorithms the server offers on this fresh connection; closes the connection.

    Raises ScanError(NO_BANNER, WRONG_BANNER, BROKEN_OFF or DEADLINE).
    """
    reader, writer = await asyncio.open_connection(sock=connection, limit=wire.MAXIMUM_LINE)
    greeting = _Greeting(reader)
    try:
        writer.write(wire.IDENTIFICATION)
        await greeting.read_identification(limit)
        return await greeting.read_algorithms(limit)
    finally:
        writer.transport.abort()


@dataclass(slots=True)
class _Greeting:
    """A server's first bytes: lines, the identification, the first packets."""

    reader: asyncio.StreamReader
    lines: list[bytes] = field(default_factory=list)

    async def read_identification(self, limit: TimeLimit) -> None:
        try:
            async with limit.step(ScanFailure.NO_BANNER, "read the SSH banner"):
                await self._read_lines()
        except ScanError as error:
            if not self.lines:
                raise
            detail = f"read the SSH banner: got {wire.printable(self.lines[0].decode('utf-8', errors='replace'))}"
            raise ScanError(ScanFailure.WRONG_BANNER, detail, cut_short=error.cut_short) from None

    async def _read_lines(self) -> None:
        while len(self.lines) < wire.MAXIMUM_LINES:
            try:
                line = await self.reader.readline()
            except ValueError:
                raise ScanError(ScanFailure.WRONG_BANNER, "read the SSH banner: a line without end") from None
            except OSError:
                line = b""
            if wire.is_identification(line) and line.endswith(b"\n"):
                if wire.speaks_version_2(line):
                    return
                self.lines.insert(0, line)
                break
            if not line:
                break
            self.lines.append(line)
        raise ScanError(ScanFailure.NO_BANNER, "read the SSH banner: the connection was closed without one")

    async def read_algorithms(self, limit: TimeLimit) -> tuple[str, ...]:
        doing = "read the server's key exchange offer"
        async with limit.step(ScanFailure.DEADLINE, doing):
            try:
                while True:
                    payload = await self._read_payload()
                    if payload[0] == wire.MESSAGE_DISCONNECT:
                        raise ScanError(ScanFailure.BROKEN_OFF, f"{doing}: the server disconnected")
                    if payload[0] not in (wire.MESSAGE_IGNORE, wire.MESSAGE_DEBUG):
                        return wire.host_key_algorithms(payload)
            except wire.MalformedPacket as error:
                raise ScanError(ScanFailure.BROKEN_OFF, f"{doing}: got {error}") from None
            except (asyncio.IncompleteReadError, OSError):
                raise ScanError(ScanFailure.BROKEN_OFF, f"{doing}: the connection was closed") from None

    async def _read_payload(self) -> bytes:
        header = await self.reader.readexactly(struct.calcsize(">I"))
        return wire.payload_of(await self.reader.readexactly(wire.packet_length(header)))


async def read_host_key(
    connection: socket.socket,
    key_type: str,
    algorithms: tuple[str, ...],
    options: asyncssh.SSHClientConnectionOptions,
    limit: TimeLimit,
) -> str | None:
    """The server's key of ``key_type`` as ``"<type> <base64>"``; closes the connection.

    None when the server cannot prove such a key to us (no algorithm in common, a bad signature, an unreadable key);
    trying again would not help. Raises ScanError(BROKEN_OFF or DEADLINE).
    """
    doing = f"exchange keys for {key_type}"
    async with limit.step(ScanFailure.DEADLINE, doing):
        try:
            key = await asyncssh.get_server_host_key(
                sock=connection,
                client_version=wire.CLIENT_VERSION,
                kex_algs=_KEY_EXCHANGES,
                server_host_key_algs=list(algorithms),
                config=None,
                options=options,
            )
        except (asyncssh.KeyExchangeFailed, asyncssh.HostKeyNotVerifiable):
            return None
        except (asyncssh.Error, OSError, ValueError, LookupError) as error:
            # asyncssh passes on whatever a garbled packet makes its parsers raise.
            detail = f"{doing}: {wire.printable(str(error))}"
            raise ScanError(ScanFailure.BROKEN_OFF, detail) from None
        finally:
            connection.close()
    if key is None:
        return None
    found_type, base64 = key.export_public_key("openssh").decode("ascii").split()[:2]
    return f"{found_type} {base64}" if found_type == key_type else None
