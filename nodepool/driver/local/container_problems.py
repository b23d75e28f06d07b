"""Why containers would not work on this host: what is missing, and what somebody can do about it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nodepool.driver.errors import CloudError, Misconfigured
from nodepool.driver.local.container_ids import Ids, ids_of_this_process
from nodepool.driver.local.container_run import NO_HURRY, PATH, remove_tree, run_inside
from nodepool.driver.local.disk import hold
from nodepool.driver.local.namespaces import remedy

_PROGRAMS = {
    "slirp4netns": "slirp4netns",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "tar": "tar",
    "ip": "iproute2",
}
"""Programs, and Debian's packages of them."""
_USERS_PROGRAMS = {"newuidmap": "uidmap", "newgidmap": "uidmap"}
"""What others than root need besides."""
_TRIAL = """set -eu
exec unshare --mount --pid --fork --net --uts --ipc sh -c 'set -eu
    mkdir lower upper work root
    mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr root
    mount -t proc proc root'"""


def look(place: Path) -> list[str]:
    """All problems, each with its remedy; a small container is made in ``place`` if nothing else is wrong."""
    found = missing()
    try:
        ids = ids_of_this_process()
    except Misconfigured as error:
        return [*found, str(error)]
    if found:
        return found
    try:
        with trial_place(place, ids) as directory:
            run_inside(ids, _TRIAL, directory, None, NO_HURRY)
    except CloudError as error:
        found.append(
            f"this host does not let {'root' if ids.are_roots else 'this user'} make containers: {_advice(error)}"
        )
    return found


@contextlib.contextmanager
def trial_place(nodes: Path, ids: Ids) -> Iterator[Path]:
    """A directory for a small container, which goes with it."""
    directory = Path(tempfile.mkdtemp(prefix=".trial-", dir=nodes if nodes.is_dir() else None))
    # Else another process might take it for what a killed one has left.
    held = hold(directory)
    try:
        os.chown(directory, ids.owner, ids.owner_group)
        yield directory
    finally:
        remove_tree(directory)
        if held is not None:
            held.release()


def missing() -> list[str]:
    """What of programs and devices is not there, however containers are made, each with its remedy."""
    wanted = _PROGRAMS if os.geteuid() == 0 else _PROGRAMS | _USERS_PROGRAMS
    packages = sorted({package for name, package in wanted.items() if not shutil.which(name, path=PATH)})
    found = []
    if packages:
        found.append(f"programs are missing: as root, run apt-get install --no-install-recommends {' '.join(packages)}")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        found.append("/dev/net/tun cannot be opened, which networks of containers need: as root, run modprobe tun")
    return found


def _advice(error: CloudError) -> str:
    return f"{error}: {remedy() or 'it needs user namespaces, and a kernel (5.11) that allows overlays in them'}"
