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
        """Whether they are the containers' of root, which is not their owner."""
        return self.others is None

    def assign(self, pid: int) -> None:
        """Give the ids to the user namespace of a process that has none yet. Raises CloudError."""
        firsts = self.others or (None, None)
        for kind, owner, first in zip("gu", (self.owner_group, self.owner), reversed(firsts), strict=True):
            numbers = (0, owner, COUNT) if first is None else (0, owner, 1, 1, first, COUNT - 1)
            words = [str(number) for number in numbers]
            if os.geteuid() == 0:
                lines = "".join(" ".join(words[index : index + 3]) + "\n" for index in range(0, len(words), 3))
                Path(f"/proc/{pid}/{kind}id_map").write_text(lines, encoding="ascii")
            else:
                _run([f"new{kind}idmap", str(pid), *words])


def ids_of_this_process() -> Ids:
    """The ids that this process may give to containers. Raises Misconfigured with the remedy."""
    return _ids(os.geteuid(), os.getegid())


def ids_of(user: int) -> Ids:
    """The ids that another user's processes may give to containers; for root. Raises Misconfigured with the remedy."""
    if user == os.geteuid():
        return ids_of_this_process()
    try:
        return _ids(user, pwd.getpwuid(user).pw_gid)
    except KeyError:
        raise Misconfigured(f"the user {user} is not in the system's list of users, so it has no containers") from None


def _ids(user: int, group: int) -> Ids:
    if user == 0:
        return Ids(ROOTS_OWN, ROOTS_OWN)
    name = pwd.getpwuid(user).pw_name
    first_user, first_group = (_first(path, (name, str(user))) for path in _FILES)
    if first_user is None or first_group is None:
        raise Misconfigured(
            f"the user {name} has no {COUNT} subordinate ids in {_FILES[0]} and {_FILES[1]}, which containers need: "
            f"as root, run usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
        )
    return Ids(user, group, (first_user, first_group))


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
