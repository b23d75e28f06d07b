"""``python -m tools.bench.machines IMAGE``: how fast machines of the local driver start at once, and what they take.

The kind is that of the image: ``.qcow2`` for virtual machines, ``.tar`` for containers. Needs no ZooKeeper and no
launcher: what is measured is from the order of a machine until it has shown its own host key.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nodepool.driver.adapter import ATTEMPT_TAG, NODE_TAG, POOL_TAG, PROVIDER_TAG, ServerOrder, ServerState
from nodepool.driver.image_adapter import ImageOrder
from nodepool.driver.local.driver import LocalDriver, LocalProvider

KINDS = {".qcow2": "qemu", ".tar": "container"}
PATIENCE = 1800.0
"""Seconds for anything."""
_PAUSE = 0.05
_PROVIDER, _POOL, _LABEL, _IMAGE = "bench", "main", "machine", "image"


def main(arguments: list[str]) -> int:
    """Measure and print; 0 if all machines have started."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.machines", description=__doc__.partition("\n")[0])
    parser.add_argument("image", type=Path, help="a .qcow2 or a .tar that the builder has made")
    parser.add_argument("--count", type=int, default=8, help="machines at once (default: %(default)s)")
    parser.add_argument("--ram", type=int, default=512, help="MiB of a machine (default: %(default)s)")
    parser.add_argument("--username", default="zuul", help="who exists in the image (default: %(default)s)")
    parser.add_argument("--parallel-starts", type=int, help="starts at once (default: what the host bears)")
    options = parser.parse_args(arguments)
    if options.image.suffix not in KINDS:
        parser.error(f"{options.image}: expected a file that ends in {' or '.join(KINDS)}")
    log = logging.getLogger("nodepool.LocalMachines")
    log.setLevel(logging.INFO)
    log.addFilter(lambda record: "answers at" not in record.msg)
    log.addHandler(logging.StreamHandler())
    with tempfile.TemporaryDirectory(prefix="np-bench-") as directory:
        state = Path(directory, "state")
        for line in measure(_provider(state, options), state, options.image.absolute(), options.count):
            print(f"{line} [load {os.getloadavg()[0]:.1f}]", flush=True)
    return 0


def measure(provider: LocalProvider, state: Path, image: Path, count: int) -> list[str]:
    """Upload an image, start one machine and then many at once, remove all, and say how long it took."""
    adapter = provider.adapter
    adapter.prepare(PATIENCE)
    order = ImageOrder(_IMAGE, str(image), image.suffix[1:], "build", "upload", image=_IMAGE)
    lines = []
    try:
        began = time.monotonic()
        external_id = provider.image_adapter.upload(order, PATIENCE)
        lines.append(f"upload: {time.monotonic() - began:.1f} s")
        lines.append(f"the first machine: {_start(provider, external_id, range(1))[0]:.1f} s")
        seconds = _start(provider, external_id, range(1, count + 1))
        memory = _memory(state) / (count + 1)
        listed = ", ".join(f"{one:.1f}" for one in seconds)
        lines.append(f"{count} at once: after {listed} s; {memory:.0f} MiB of memory each")
    finally:
        began = time.monotonic()
        for server in adapter.list_servers(PATIENCE):
            adapter.delete_server(server.external_id, PATIENCE)
        _wait(lambda: not adapter.list_servers(PATIENCE))
        lines.append(f"all machines removed: {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        for uploaded in provider.image_adapter.find(PATIENCE):
            provider.image_adapter.delete(uploaded.external_id, PATIENCE)
    lines.append(f"the image removed: {time.monotonic() - began:.1f} s")
    return lines


def _provider(state: Path, options: argparse.Namespace) -> LocalProvider:
    label = {"name": _LABEL, "diskimage": _IMAGE, "ram": options.ram}
    entry: dict[str, Any] = {
        "name": _PROVIDER,
        "driver": "local",
        "kind": KINDS[options.image.suffix],
        "state-dir": str(state),
        "network": "127.99.0.0/16",
        "diskimages": [{"name": _IMAGE}],
        "pools": [{"name": _POOL, "max-servers": options.count + 1, "labels": [label]}],
    }
    if options.parallel_starts:
        entry["parallel-starts"] = options.parallel_starts
    driver = LocalDriver()
    config = driver.getProviderConfig(entry)
    config.getSchema()(entry)
    user = SimpleNamespace(username=options.username, python_path="auto", shell_type=None)
    config.load(SimpleNamespace(labels={_LABEL: None}, diskimages={_IMAGE: user}, providers={}))
    return driver.getProvider(config)


def _start(provider: LocalProvider, image: str, numbers: range) -> list[float]:
    """Seconds until each of some machines that are ordered at once is up, in the order in which they are."""
    began = time.monotonic()
    waiting = set()
    for number in numbers:
        node_id = f"{number:010d}"
        tags = {NODE_TAG: node_id, POOL_TAG: _POOL, PROVIDER_TAG: _PROVIDER, ATTEMPT_TAG: "1"}
        order = ServerOrder(node_id, f"np{node_id}", _POOL, _LABEL, tags, image_external_id=image)
        waiting.add(provider.adapter.create_server(order, PATIENCE))
    seconds: list[float] = []

    def all_are_up() -> bool:
        for server in provider.adapter.list_servers(PATIENCE):
            if server.state is ServerState.ERROR:
                raise SystemExit(f"machine {server.external_id}: {server.fault_text}")
            if server.state is ServerState.ACTIVE and server.external_id in waiting:
                waiting.remove(server.external_id)
                seconds.append(time.monotonic() - began)
        return not waiting

    _wait(all_are_up)
    return seconds


def _wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"not done after {PATIENCE:g} s")
        time.sleep(_PAUSE)


def _memory(state: Path) -> float:
    """MiB that processes of machines take, those of which they share with others by halves and so on (PSS)."""
    parents = {}
    ours = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                parents[entry.name] = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
                said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if os.fsencode(state) in said or state in (entry / "cwd").readlink().parents:
                    ours.add(entry.name)
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(_proportional(pid) for pid in ours) / 1024


def _proportional(pid: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc", pid, "smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
