"""Keys of SSH: made for machines, and those of the people who may log in to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from nodepool.driver.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key (ed25519)."""

    private: str = field(repr=False)
    """In OpenSSH's format; never for a log or a command line."""
    public: str
    """``"ssh-ed25519 BASE64"``."""


def new_key() -> KeyPair:
    """Make a key."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    public = " ".join(key.export_public_key("openssh").decode("ascii").split()[:2])
    return KeyPair(key.export_private_key("openssh").decode("ascii"), public)


def authorized_keys(entries: Sequence[str]) -> tuple[str, ...]:
    """Public keys, and those in the files that are named. Raises Misconfigured."""
    found: list[str] = []
    for entry in entries:
        if entry.startswith(("/", "~")):
            found += _keys_of(Path(entry).expanduser())
        else:
            found.append(entry.strip())
    return tuple(found)


def _keys_of(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise Misconfigured(f"authorized-keys: {path} cannot be read: {error}") from error
    if any("PRIVATE KEY" in line for line in lines):
        raise Misconfigured(f"authorized-keys: {path} is a private key; name the public one, {path}.pub")
    return [line for line in lines if line and not line.startswith("#")]
