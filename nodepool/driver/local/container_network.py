"""The network of a container: slirp4netns, which needs no rights and makes nothing on this host but one listening port.

It ends by itself with the container, whose outer process holds the other end of a pipe.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from nodepool.driver.errors import CloudError
from nodepool.driver.local import container_scripts as scripts
from nodepool.driver.local import slirp
from nodepool.driver.local.container_ids import Ids
from nodepool.driver.local.container_run import PATH, as_owner, last_words, readable
from nodepool.driver.local.machine import NetworkAccess, NodePlan, Patience

NOTE = "network.process"
LOG = "network.log"
_INTERFACE = "tap0"
_SSH = 22


def connect(plan: NodePlan, place: Path, pid: int, ids: Ids, end: int, patience: Patience) -> None:
    """Give a container its network, and make its SSH server reachable.

    :param place: the container's directory
    :param pid: its outer process
    :param end: descriptor that becomes readable when the container has ended
    :raises CloudError: why it could not be done
    """
    ready, told = os.pipe()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ready)
        command = [*_program(plan.network_access, told, end), str(pid), _INTERFACE]
        try:
            _start(command, place, ids, (told, end))
        finally:
            os.close(told)
        readable(ready, patience)
        if not os.read(ready, 1):
            with open(place / LOG, "rb") as log:
                raise CloudError(f"slirp4netns has ended: {last_words(log)}")
    if plan.network_access is NetworkAccess.NONE:
        _take_way_out(pid, ids)
    slirp.forward(place, plan.address, plan.port, _SSH)


def _program(access: NetworkAccess, told: int, end: int) -> list[str]:
    words = ["slirp4netns", "--configure", "--mtu=65520", f"--ready-fd={told}", f"--exit-fd={end}"]
    words.append(f"--api-socket={slirp.SOCKET}")
    if access is not NetworkAccess.HOST:
        words.append("--disable-host-loopback")
    if access is NetworkAccess.NONE:
        words.append("--disable-dns")
    return words


def _start(command: list[str], place: Path, ids: Ids, descriptors: tuple[int, ...]) -> None:
    before = as_owner(ids, listening=True) if ids.are_roots else []
    with open(place / LOG, "ab") as log:
        subprocess.run(
            [*before, "setsid", "--fork", "sh", "-c", scripts.NETWORK, "network", *command],
            cwd=place,
            env={"PATH": PATH, "NOTE": NOTE},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=descriptors,
            check=False,
        )


def _take_way_out(pid: int, ids: Ids) -> None:
    """Remove the route to everything but the network's own addresses; the machine is not able to make another."""
    command = [
        "nsenter",
        "--user",
        "--net",
        "--preserve-credentials",
        f"--target={pid}",
        "ip",
        "route",
        "del",
        "default",
    ]
    result = subprocess.run(
        [*(as_owner(ids) if ids.are_roots else []), *command],
        env={"PATH": PATH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise CloudError(f"cannot cut a container off: {result.stderr.strip()}")
