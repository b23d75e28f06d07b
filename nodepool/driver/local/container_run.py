"""Runs scripts with the ids of containers, and tells them step by step what to do.

No variable of our own environment gets into a container, and no other descriptors than those that are meant to.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from nodepool.driver.errors import CloudError
from nodepool.driver.local import container_scripts as scripts
from nodepool.driver.local import disk
from nodepool.driver.local.container_ids import Ids, ids_of_this_process
from nodepool.driver.local.machine import Patience

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the programs of this host are looked for."""
LAST_WORDS = 2000
"""Most characters of what a program said that go into a message."""
NO_HURRY = Patience(pause=lambda _seconds: None, left=lambda: float("inf"))
"""Of somebody who waits for as long as it takes."""
_REMOVE_ALL = "rm -rf -- * .[!.]* ..?*"
_STEP = 0.02
"""Seconds between two looks whether anybody still waits."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a process finds when it starts."""

    place: Path
    """Its working directory."""
    variables: Mapping[str, str]
    """All that it gets."""
    input: int
    """Descriptor of its standard input."""
    errors: IO[bytes]
    """Its standard error."""
    descriptors: Sequence[int] = ()
    """What else it inherits."""


class Conversation:
    """A process and the socket that is its standard output. A context manager: at its end the process may go on."""

    def __init__(self, command: Sequence[str], surroundings: Surroundings, patience: Patience) -> None:
        self._patience = patience
        self._socket, theirs = socket.socketpair()
        try:
            self.process = subprocess.Popen(
                command,
                cwd=surroundings.place,
                env={"PATH": PATH, **surroundings.variables},
                stdin=surroundings.input,
                stdout=theirs.fileno(),
                stderr=surroundings.errors,
                pass_fds=surroundings.descriptors,
                start_new_session=True,
            )
        except OSError as error:
            self._socket.close()
            raise CloudError(f"cannot run {command[0]}: {error.strerror}") from error
        finally:
            theirs.close()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()
        if kind is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def line(self) -> str:
        """The next line; "" when all that could say one have ended. Raises what ``patience`` raises."""
        text = b""
        while not text.endswith(b"\n"):
            readable(self._socket.fileno(), self._patience)
            try:
                byte = self._socket.recv(1)
            except ConnectionResetError:
                return ""
            if not byte:
                return ""
            text += byte
        return text.decode("ascii", "replace").strip()

    def assign(self, ids: Ids, first: Callable[[int], None] | None = None) -> int:
        """Hear the process's number, give it its ids and tell it so; the number, 0 if it has ended.

        :param first: what is to be done before, with the number
        """
        pid = self.line()
        if not pid:
            return 0
        if first is not None:
            first(int(pid))
        ids.assign(int(pid))
        self._socket.sendall(b"assigned\n")
        return int(pid)


def readable(descriptor: int, patience: Patience) -> None:
    """Wait until something can be read, be it the end. Raises what ``patience`` raises."""
    while not select.select([descriptor], [], [], _STEP)[0]:
        patience.pause(0.0)


def run_inside(
    ids: Ids, script: str, place: Path, file: Path | None, patience: Patience, descriptors: Sequence[int] = ()
) -> None:
    """Run a script with the ids of a container and wait for its end.

    :param place: its working directory, which must belong to the container's root
    :param file: its standard input
    :param descriptors: what it keeps open as long as it runs, even longer than this process
    :raises CloudError: with what it said
    """
    command = ["sh", "-c", scripts.COMMAND]
    if ids.owner != os.geteuid():
        command = [*as_owner(ids), *command]
    with open(file or os.devnull, "rb") as source, tempfile.TemporaryFile() as said:
        surroundings = Surroundings(place, {"INSIDE": script}, source.fileno(), said, descriptors)
        with Conversation(command, surroundings, patience) as conversation:
            conversation.assign(ids)
            conversation.line()
            status = conversation.process.wait()
        if status:
            raise CloudError(last_words(said) or f"exit status {status}")


def remove_tree(tree: Path) -> None:
    """Remove a directory in which there may be files of the ids of containers. Raises CloudError."""
    if not tree.exists():
        return
    if os.geteuid() != 0:
        run_inside(ids_of_this_process(), _REMOVE_ALL, tree, None, NO_HURRY)
    with disk.cloud_errors(f"remove {tree}"):
        shutil.rmtree(tree)


def as_owner(ids: Ids, *, listening: bool = False) -> list[str]:
    """Words before a command that root wants done by the containers' owner.

    :param listening: whether it may take ports below 1024 all the same
    """
    capability = ["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"] if listening else []
    return ["setpriv", f"--reuid={ids.owner}", f"--regid={ids.owner_group}", "--clear-groups", *capability]


def last_words(file: IO[bytes]) -> str:
    """The end of what a program said."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - LAST_WORDS))
    return file.read().decode("utf-8", "replace").strip()
