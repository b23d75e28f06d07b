"""Talks to a running QEMU (QEMU Machine Protocol). One client at a time, so: connect, ask, close."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

from nodepool.driver.errors import CloudError
from nodepool.driver.local.qemu.command import MONITOR

TIMEOUT = 10.0
"""Seconds for one answer."""


def listens(directory: Path) -> bool:
    """Whether a machine's QEMU is ready to be talked to."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            _connect(probe, directory)
        except OSError:
            return False
        return True


class Monitor(contextlib.AbstractContextManager["Monitor"]):
    """A connection to the QEMU of a machine's directory. Raises CloudError when QEMU does not answer, or refuses."""

    def __init__(self, directory: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT)
        self._buffer = b""
        try:
            _connect(self._socket, directory)
            self._read()
            self.ask("qmp_capabilities")
        except OSError as error:
            self._socket.close()
            raise CloudError(f"QEMU in {directory} does not answer: {error}") from error

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, command: str, descriptor: int | None = None, **arguments: Any) -> Any:
        """Have QEMU do something; returns what it answers. ``descriptor`` is handed over with the command."""
        message = json.dumps({"execute": command, "arguments": arguments}).encode()
        try:
            socket.send_fds(self._socket, [message], [] if descriptor is None else [descriptor])
            while True:
                answer = self._read()
                if "error" in answer:
                    raise CloudError(f"QEMU refuses {command}: {answer['error'].get('desc')}")
                if "return" in answer:
                    return answer["return"]
        except OSError as error:
            raise CloudError(f"QEMU does not answer to {command}: {error}") from error

    def _read(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the connection was closed")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


def _connect(connection: socket.socket, directory: Path) -> None:
    """By way of the open directory: the name of a socket may have 107 characters only."""
    place = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{place}/{MONITOR}")
    finally:
        os.close(place)
