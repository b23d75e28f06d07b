"""What makes a machine of an image a particular one: its name, its host key, who may log in.

For a machine that boots, as credentials that systemd 252 and later take from the firmware's tables (systemd.system-
credentials(7), tmpfiles.d(5)); for one that goes on from a saved state, as a program for its shell. Pure.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a machine is."""

    hostname: str
    host_key: str
    """Private key in OpenSSH's format."""
    host_public_key: str
    username: str
    authorized_keys: Sequence[str] = ()


def credentials(identity: Identity) -> list[str]:
    """Strings for the firmware's table of type 11, one credential each."""
    home = "/root" if identity.username == "root" else f"/home/{identity.username}"
    user = identity.username
    lines = [
        _file(HOST_KEY, "0600", "root", identity.host_key),
        _file(f"{HOST_KEY}.pub", "0644", "root", f"{identity.host_public_key}\n"),
        _file("/etc/hostname", "0644", "root", f"{identity.hostname}\n"),
        f"w+ /etc/hosts - - - - 127.0.1.1 {identity.hostname}\\n",
    ]
    if identity.authorized_keys:
        lines += [
            f"d {home}/.ssh 0700 {user} {user} -",
            _file(f"{home}/.ssh/authorized_keys", "0600", user, _lines(identity.authorized_keys)),
        ]
    return [
        _credential("tmpfiles.extra", _lines(lines)),
        _credential("sysctl.extra", f"kernel.hostname={identity.hostname}\n"),
    ]


def personalisation(identity: Identity, machine_id: str, seed: bytes, now: float) -> str:
    """A program for ``sh`` that root runs in a machine that has just gone on from a saved state.

    Its clock stands where the state was saved, and its random numbers are those of all others that go on from it until
    it gets a seed of its own. The last thing it does is to make the SSH server take its new key; only then does it
    forget who may run this.
    """
    name = shlex.quote(identity.hostname)
    return f"""\
set -eu
umask 077
date -u -s @{int(now)} >/dev/null
echo {_encoded(seed)} | base64 -d >/dev/urandom
hostname {name}
echo {name} >/etc/hostname
[ ! -e /etc/hosts ] || sed -i '/^127\\.0\\.1\\.1 /d' /etc/hosts
echo 127.0.1.1 {name} >>/etc/hosts
echo {machine_id} >/etc/machine-id
chmod 644 /etc/hostname /etc/machine-id
echo {_encoded(identity.host_key)} | base64 -d >{HOST_KEY}
echo {shlex.quote(identity.host_public_key)} >{HOST_KEY}.pub
: >/root/.ssh/authorized_keys
{_let_in(identity)}kill -HUP "$(cat /run/sshd.pid)" 2>/dev/null || systemctl reload ssh || systemctl reload sshd
"""


def _let_in(identity: Identity) -> str:
    """Lines that let people in; without keys, the image's own stay."""
    if not identity.authorized_keys:
        return ""
    user = shlex.quote(identity.username)
    return f"""\
home=$(eval echo ~{user})
group=$(id -g {user})
mkdir -p "$home/.ssh"
echo {_encoded(_lines(identity.authorized_keys))} | base64 -d >"$home/.ssh/authorized_keys"
chown -R {user}:"$group" "$home/.ssh"
"""


def _file(path: str, mode: str, owner: str, content: str) -> str:
    return f"f+~ {path} {mode} {owner} {owner} - {_encoded(content)}"


def _credential(name: str, value: str) -> str:
    return f"io.systemd.credential.binary:{name}={_encoded(value)}"


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _encoded(content: str | bytes) -> str:
    return base64.b64encode(content.encode() if isinstance(content, str) else content).decode("ascii")
