"""Whether a machine answers over SSH, and with the host key that it was given. Never logs in."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

from nodepool.driver.errors import CloudError
from nodepool.driver.local.machine import NodePlan, Patience
from nodepool.driver.nodescan.hostkeys import client_options, read_host_key
from nodepool.driver.nodescan.request import ScanError
from nodepool.driver.nodescan.timelimit import TimeLimit

BANNER_TIMEOUT = 3.0
"""Seconds for the banner. QEMU accepts connections before the machine is up, and such a one leads nowhere for ever."""
EXCHANGE_TIMEOUT = 20.0
"""Seconds for the rest of the handshake, in emulated code on a busy host."""
PAUSE = 0.1
"""Seconds between two attempts."""
_KEY_TYPE = "ssh-ed25519"


def wait_for_host_key(plan: NodePlan, patience: Patience, lives: Callable[[], bool]) -> None:
    """Return when the machine shows its own host key. Raises CloudError when it does not live any more.

    Another key may be seen for a while, as long as the machine is not yet what it is to become.
    """
    seen = None
    while (shown := shown_host_key(plan.address, plan.port)) != plan.host_public_key:
        seen = shown or seen
        _pause(plan.address, plan.port, patience, lives, f"it shows another host key, {seen}" if seen else "")


def wait_for_server(address: str, port: int, patience: Patience, lives: Callable[[], bool]) -> socket.socket:
    """A connection to the machine's SSH server as soon as that answers. Raises CloudError as above."""
    while (connection := connect(address, port)) is None:
        _pause(address, port, patience, lives, "")
    return connection


def connect(address: str, port: int) -> socket.socket | None:
    """A connection on which an SSH server has said its first words, which are still to be read; None if none does."""
    end = time.monotonic() + BANNER_TIMEOUT
    try:
        connection = socket.create_connection((address, port), BANNER_TIMEOUT)
    except OSError:
        return None
    try:
        connection.settimeout(max(end - time.monotonic(), 0.01))
        if connection.recv(4, socket.MSG_PEEK | socket.MSG_WAITALL) == b"SSH-":
            connection.settimeout(None)
            return connection
    except OSError:
        pass
    connection.close()
    return None


def shown_host_key(address: str, port: int) -> str | None:
    """The host key that an SSH server proves to have, as ``"ssh-ed25519 BASE64"``; None if none does."""
    connection = connect(address, port)
    return None if connection is None else asyncio.run(_exchange(connection))


async def _exchange(connection: socket.socket) -> str | None:
    limit = TimeLimit(EXCHANGE_TIMEOUT, asyncio.get_running_loop().time() + EXCHANGE_TIMEOUT)
    connection.setblocking(False)
    try:
        return await read_host_key(connection, _KEY_TYPE, (_KEY_TYPE,), client_options(), limit)
    except ScanError:
        return None


def _pause(address: str, port: int, patience: Patience, lives: Callable[[], bool], seen: str) -> None:
    if not lives():
        raise CloudError("the machine ended while it was starting; its console log may tell why")
    try:
        patience.pause(PAUSE)
    except CloudError as error:
        what = seen or "no SSH server answered"
        raise type(error)(f"{error}: {what} at {address} port {port}") from error
