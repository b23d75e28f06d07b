"""The files that make one container of an image: who it is, and who may log in."""

from __future__ import annotations

import io
import os
import tarfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from nodepool.driver.errors import BadLabel
from nodepool.driver.local.machine import NodePlan

_NAME_SERVER = "10.0.2.3"
"""Where slirp4netns answers questions for names."""
_PASSWORDS = "etc/passwd"
_MOST_LINKS = 40
"""As many as the kernel follows."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of an image."""

    uid: int
    gid: int
    home: str


def account(tree: Path, username: str) -> Account:
    """A user of an unpacked image. Raises BadLabel if there is none of this name."""
    passwords = tree / _real(tree, _PASSWORDS)
    if not passwords.is_file():
        raise BadLabel(f"the image has no /{_PASSWORDS}")
    for line in passwords.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(":")
        if fields[0] == username and len(fields) == 7:
            return Account(int(fields[2]), int(fields[3]), fields[5].strip("/"))
    raise BadLabel(f"the image has no user {username}: see username of the disk image")


def archive_for(plan: NodePlan, tree: Path) -> int:
    """A descriptor of an archive that is in memory only, since it has the host key.

    Its names lead over none of the image's links, which would lead to this host's files while it is unpacked.
    """
    user = account(tree, plan.username)
    files = {
        "etc/hostname": (f"{plan.hostname}\n", 0o644),
        "etc/hosts": (f"127.0.0.1 localhost\n127.0.1.1 {plan.hostname}\n::1 localhost\n", 0o644),
        "etc/resolv.conf": (f"nameserver {_NAME_SERVER}\n", 0o644),
        "etc/ssh/ssh_host_ed25519_key": (plan.host_key, 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (f"{plan.host_public_key}\n", 0o644),
    }
    descriptor = os.memfd_create("container-files")
    with open(descriptor, "wb", closefd=False) as memory, tarfile.open(fileobj=memory, mode="w") as archive:
        for name, (text, mode) in files.items():
            place, _, base = name.rpartition("/")
            _add(archive, f"{_real(tree, place)}/{base}", text, mode, Account(0, 0, ""))
        logins = _real(tree, f"{user.home}/.ssh")
        directory = _entry(logins, 0o700, user)
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        keys = "".join(f"{line}\n" for line in plan.authorized_keys)
        _add(archive, f"{logins}/authorized_keys", keys, 0o600, user)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _real(tree: Path, name: str) -> str:
    """Where a file of the image is, with links followed as they are where the image is the root."""
    steps, found, links = deque(name.split("/")), list[str](), 0
    while steps:
        step = steps.popleft()
        place = tree.joinpath(*found, step)
        if step == "..":
            del found[-1:]
        elif step not in ("", ".") and place.is_symlink():
            links += 1
            if links > _MOST_LINKS:
                raise BadLabel(f"the image's /{name} leads over too many symbolic links")
            target = os.readlink(place)
            if target.startswith("/"):
                found.clear()
            steps.extendleft(reversed(target.split("/")))
        elif step not in ("", "."):
            found.append(step)
    return "/".join(found)


def _add(archive: tarfile.TarFile, name: str, text: str, mode: int, owner: Account) -> None:
    content = text.encode()
    entry = _entry(name, mode, owner)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _entry(name: str, mode: int, owner: Account) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.uid, entry.gid = mode, owner.uid, owner.gid
    return entry
