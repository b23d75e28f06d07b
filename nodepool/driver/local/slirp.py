"""Talks to a running slirp4netns: has it listen on this host for a machine (slirp4netns(1), "API socket")."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from nodepool.driver.errors import CloudError, NoCapacity

SOCKET = "network.socket"
TIMEOUT = 30.0
"""Seconds in which it must answer."""


def forward(directory: Path, address: str, port: int, inner_port: int) -> None:
    """Listen on a node's address for the machine whose slirp4netns has its socket in ``directory``.

    Raises NoCapacity if somebody else listens there, CloudError if it does not answer.
    """
    order = {"proto": "tcp", "host_addr": address, "host_port": port, "guest_port": inner_port}
    answer = _ask(directory, {"execute": "add_hostfwd", "arguments": order})
    if "error" in answer:
        raise NoCapacity(f"{address} port {port} cannot be listened on: {answer['error'].get('desc')}")


def _ask(directory: Path, question: dict[str, Any]) -> dict[str, Any]:
    place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            # By its directory, since the whole path may be longer than the address of a socket can be.
            connection.connect(f"/proc/self/fd/{place}/{SOCKET}")
            connection.sendall(json.dumps(question).encode())
            connection.shutdown(socket.SHUT_WR)
            answer: dict[str, Any] = json.loads(connection.makefile().read())
            return answer
    except (OSError, ValueError) as error:
        raise CloudError(f"slirp4netns does not answer: {error}") from error
    finally:
        os.close(place)
