"""The way out of a machine that must not reach the services on this host's loopback addresses.

QEMU's own network would let it: whatever the machine connects to, QEMU connects to on this host. So QEMU gets a network
namespace of its own, whose only way out is slirp4netns, which leaves the loopback addresses alone. It ends by itself
with QEMU. None of that needs root.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nodepool.driver.errors import CloudError
from nodepool.driver.local import disk, namespaces, processes, slirp

PROGRAMS = {"slirp4netns": "slirp4netns", "unshare": "util-linux", "mount": "mount"}
"""What it takes, and the packages of Debian that have it."""
INNER_PORT = 2222
"""Where QEMU listens in its namespace for the machine's SSH server."""
NETWORK = "10.0.3.0/24"
"""The namespace's own; the machine has QEMU's usual 10.0.2.0/24."""
NAME_SERVER = "10.0.3.3"
LOG = "network.log"
_NOTE = "network.json"
_NAMES = "resolv.conf"
_INTERFACE = "tap0"
_TIMEOUT = 30.0
_TRIAL_TIMEOUT = 30.0
"""Seconds."""
_INSIDE = f'mount --bind {_NAMES} /etc/resolv.conf && exec "$@"'


def problems() -> Sequence[str]:
    """What keeps it from working on this host, each with its remedy."""
    packages = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    other = "or say 'network-access: none' or 'host'"
    if packages:
        install = f"as root, run apt-get install --no-install-recommends {' '.join(packages)}"
        return [f"'network-access: outside' needs {' and '.join(packages)}: {install}, {other}."]
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return [f"'network-access: outside' needs /dev/net/tun: as root, run modprobe tun, {other}."]
    try:
        subprocess.run([*_unshare(), "true"], capture_output=True, timeout=_TRIAL_TIMEOUT, check=True)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", errors="replace").strip()
    except (OSError, subprocess.SubprocessError) as error:
        said = str(error)
    else:
        return []
    remedies = ", ".join(filter(None, (namespaces.remedy(), other)))
    return [f"'network-access: outside' needs namespaces, and this user may not make one ({said}): {remedies}."]


def apart(command: Sequence[str], directory: Path) -> list[str]:
    """A command for the same program in namespaces of its own, to be run in a machine's directory."""
    with disk.cloud_errors("write the machine's name server"):
        (directory / _NAMES).write_text(f"nameserver {NAME_SERVER}\n", encoding="ascii")
    return [*_unshare(), "sh", "-c", _INSIDE, "sh", *command]


def connect(directory: Path, pid: int, lifeline: int, address: str, port: int) -> None:
    """Connect the namespace of a QEMU, and make the machine reachable at an address. Raises CloudError.

    ``lifeline`` is a descriptor that becomes readable when that QEMU has ended.
    """
    ready, told = os.pipe()
    try:
        _start(directory, pid, lifeline, told)
        os.close(told)
        if not select.select([ready], [], [], _TIMEOUT)[0] or not os.read(ready, 1):
            said = (directory / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise CloudError(f"slirp4netns does not work: {said[-1] if said else 'it says nothing'}")
    finally:
        os.close(ready)
    slirp.forward(directory, address, port, INNER_PORT)


def runs(directory: Path) -> bool:
    """Whether a machine is connected, or never was."""
    note = disk.read_json(directory / _NOTE)
    return note is None or processes.start_time(note["pid"]) == note["started"]


def end(directory: Path) -> None:
    """End what connects a machine; it may be gone already."""
    note = disk.read_json(directory / _NOTE)
    if note is not None and processes.start_time(note["pid"]) == note["started"]:
        processes.end(note["pid"])


def _start(directory: Path, pid: int, lifeline: int, told: int) -> None:
    command = ["slirp4netns", "--configure", "--mtu=65520", f"--cidr={NETWORK}", "--disable-host-loopback"]
    command += [f"--api-socket={slirp.SOCKET}", f"--ready-fd={told}", f"--exit-fd={lifeline}", str(pid), _INTERFACE]
    try:
        with (directory / LOG).open("wb") as log:
            started = subprocess.run(
                ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *command],
                cwd=directory,
                env=processes.environment(directory),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=(told, lifeline),
                start_new_session=True,
                check=True,
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise CloudError(f"slirp4netns cannot be run: {error}") from error
    number = int(started.stdout)
    with disk.cloud_errors("note the network of a machine"):
        disk.write_json(directory / _NOTE, {"pid": number, "started": processes.start_time(number)})


def _unshare() -> list[str]:
    return ["unshare", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")), "--net", "--mount"]
