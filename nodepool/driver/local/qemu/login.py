"""Runs a program as root in a machine, over SSH. The only place of the driver that logs in anywhere."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

import asyncssh

from nodepool.driver.errors import CloudError


@dataclass(frozen=True, slots=True)
class Access:
    """How to log in as root."""

    address: str
    port: int
    key: str
    """Private key in OpenSSH's format."""
    host_public_key: str
    """Nothing is sent to whoever does not prove to have it."""


def run(access: Access, program: str, connection: socket.socket, timeout: float) -> None:
    """Run a program of ``sh`` by way of an open connection; ``timeout`` is in seconds.

    Raises CloudError, also when the program fails.
    """
    try:
        asyncio.run(asyncio.wait_for(_run(access, program, connection), timeout))
    except TimeoutError as error:
        raise CloudError(f"no end of the login at {access.address} port {access.port} in {timeout:.0f} s") from error
    except (asyncssh.Error, OSError) as error:
        raise CloudError(f"no login at {access.address} port {access.port}: {error}") from error


async def _run(access: Access, program: str, connection: socket.socket) -> None:
    host = access.address if access.port == 22 else f"[{access.address}]:{access.port}"
    options = asyncssh.SSHClientConnectionOptions(
        config=None,
        agent_path=None,
        username="root",
        client_keys=[asyncssh.import_private_key(access.key)],
        known_hosts=asyncssh.import_known_hosts(f"{host} {access.host_public_key}\n"),
        # The cheap ones: every round of anything else costs tenths of a second in an emulated machine.
        kex_algs="curve25519-sha256",
        encryption_algs="chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,*",
        compression_algs="none",
        gss_kex=False,
        gss_auth=False,
        login_timeout=0,
    )
    connection.setblocking(False)
    async with asyncssh.connect(access.address, access.port, sock=connection, options=options) as session:
        ended = await session.run("sh", input=program, check=False)
    if ended.exit_status != 0:
        raise CloudError(f"the machine could not be made its own: status {ended.exit_status}, {ended.stderr!s}")
