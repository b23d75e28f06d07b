"""The user and group ids that containers are given: in a container they begin at 0, on this host they are nobody's.

A container's root is thus no root of this host. An unprivileged user has such ids from ``/etc/subuid`` and
``/etc/subgid`` (subuid(5)), and a program that may hand them out, ``newuidmap``; root takes a range of its own choice.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodepool.driver.errors import CloudError, Misconfigured

COUNT = 65536
"""Ids that a container has."""
ROOTS_OWN = 0x80000
"""Where root's containers begin: in the range that systemd leaves to containers."""
_FILES = (Path("/etc/subuid"), Path("/etc/subgid"))


@dataclass(frozen=True, slots=True)
class Ids:
    """Which ids of this host are those of containers."""

    owner: int
    """User id that is root (0) in a container."""
    owner_group: int
    others: tuple[int, int] | None = None
    """User and group id that are 1 there, and so on; None: the numbers after the owner's."""

    @property
    def are_roots(self) -> bool:
        """Whether this process is root, and the owner somebody else."""
        return self.others is None

    def assign(self, pid: int) -> None:
        """Give the ids to the user namespace of a process that has none yet. Raises CloudError."""
        if self.others is None:
            for name, first in (("gid_map", self.owner_group), ("uid_map", self.owner)):
                Path(f"/proc/{pid}/{name}").write_text(f"0 {first} {COUNT}\n", encoding="ascii")
            return
        pairs = ((self.owner, self.others[0]), (self.owner_group, self.others[1]))
        for program, (owner, first) in zip(("newuidmap", "newgidmap"), pairs, strict=True):
            _run([program, str(pid), "0", str(owner), "1", "1", str(first), str(COUNT - 1)])


def ids_of_this_process() -> Ids:
    """The ids that this process may give to containers. Raises Misconfigured with the remedy."""
    if os.geteuid() == 0:
        return Ids(ROOTS_OWN, ROOTS_OWN)
    name = pwd.getpwuid(os.geteuid()).pw_name
    first_user, first_group = (_first(path, (name, str(os.geteuid()))) for path in _FILES)
    if first_user is None or first_group is None:
        raise Misconfigured(
            f"the user {name} has no {COUNT} subordinate ids in {_FILES[0]} and {_FILES[1]}, which containers need: "
            f"as root, run usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
        )
    return Ids(os.geteuid(), os.getegid(), (first_user, first_group))


def _first(path: Path, names: Sequence[str]) -> int | None:
    """The first of a range of a user that is large enough."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, numbers = line.partition(":")
        first, _, count = numbers.partition(":")
        if name in names and first.isdecimal() and count.isdecimal() and int(count) >= COUNT - 1:
            return int(first)
    return None


def _run(command: Sequence[str]) -> None:
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CloudError(f"cannot run {command[0]}: {error.strerror}") from error
    if result.returncode:
        raise CloudError(f"{command[0]} refused ids for a container: {result.stderr.strip()}")
