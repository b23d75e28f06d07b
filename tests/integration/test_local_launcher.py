"""Launchers with machines on this host: containers of this host's programs, which start in a moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nodepool.driver.adapter import Server, ServerState
from nodepool.driver.local.container import ContainerKind
from nodepool.model.reasons import DeleteReason
from tests import local_host, small_system
from tests.launcher_process import LauncherProcess
from tests.local_host import LocalHost
from tests.requestor import Record, Zuul, zuul
from tests.zookeeper import Place, eventually

PATIENCE = 60.0
"""Seconds in which a launcher and its machines do what they have to."""
MAX_SERVERS = 3


@dataclass
class Lab:
    """A launcher's configuration, and this host as it is seen by somebody else."""

    place: Place
    directory: Path
    host: LocalHost
    entry: dict[str, Any]

    def launcher(self, label: dict[str, Any] | None = None, **settings: Any) -> LauncherProcess:
        """A launcher that is not started yet."""
        labels = [{"name": "small", **(label or {})}]
        return LauncherProcess(self.directory, self.place, providers=[self.entry], labels=labels, **settings)

    def directories(self) -> set[str]:
        """Machines on the disk."""
        return {name for name in os.listdir(self.directory / "state" / "nodes") if not name.startswith(".")}

    def server_of(self, node: Record) -> Server:
        """A node as somebody can log in to it who has read its record."""
        record = {"connection_port": node["connection_port"], "host_keys": node["host_keys"]}
        return Server(node["external_id"], ServerState.ACTIVE, interface_ip=node["interface_ip"], record=record)


@pytest.fixture
def lab(zookeeper: Place, tmp_path: Path) -> Iterator[Lab]:
    """A provider with containers."""
    image = {"name": "small", "path": str(small_system.write(tmp_path / "small.tar")), "username": "zuul"}
    label = {"cloud-image": "small", "ram": 64}
    keys: dict[str, Any] = {
        "kind": "container", "network_access": "none", "network": "127.84.0.0/24", "cloud_images": [image],
    }  # fmt: skip
    host = local_host.make(tmp_path, label, **keys)
    entry = local_host.entry_of(tmp_path, label, **keys)
    entry["pools"][0]["max-servers"] = MAX_SERVERS
    yield Lab(zookeeper, tmp_path, host, entry)
    host.clear()


def test_a_node_is_made_used_and_removed(lab: Lab) -> None:
    with lab.launcher(), zuul(lab.place) as client:
        (node_id,) = client.obtain("small")
        node = client.use(node_id)
        assert node["host_keys"][0].startswith("ssh-ed25519 ")
        assert (node["username"], node["connection_port"]) == ("zuul", 2222)
        assert lab.host.ask(lab.server_of(node), "id -un") == "zuul"
        client.give_back(node_id)
        client.wait_node_gone(node_id, PATIENCE)
        eventually(lambda: not lab.directories(), PATIENCE)


def test_stock_is_replaced_and_never_used_twice(lab: Lab) -> None:
    with lab.launcher({"min-ready": 1}), zuul(lab.place) as client:
        used = set()
        for _ in range(3):
            (node_id,) = client.obtain("small")
            node = client.use(node_id)
            used.add((node["external_id"], node["host_keys"][0]))
            client.give_back(node_id)
            client.wait_node_gone(node_id, PATIENCE)
        assert len({external_id for external_id, _ in used}) == len({key for _, key in used}) == 3


def test_the_check_before_use_knows_the_host_key(lab: Lab) -> None:
    check = {"commands": ["test -d /home/zuul"], "key-file": str(lab.host.key)}
    lab.entry["pools"][0]["labels"][0]["ready-check"] = check
    with lab.launcher() as launcher, zuul(lab.place) as client:
        client.fulfilled(client.submit("small"), PATIENCE)
        assert "another host key" not in launcher.log


def test_no_more_machines_than_allowed(lab: Lab) -> None:
    with lab.launcher(), zuul(lab.place) as client:
        requests = [client.submit("small") for _ in range(MAX_SERVERS + 2)]
        for request in requests:
            (node_id,) = client.accept(request, PATIENCE)
            assert len(lab.host.adapter.list_servers(local_host.DEADLINE)) <= MAX_SERVERS
            client.use(node_id)
            client.give_back(node_id)


def test_starts_go_on_when_the_provider_changes(lab: Lab) -> None:
    lab.entry["parallel-starts"] = 1
    with lab.launcher() as launcher, zuul(lab.place) as client:
        requests = [client.submit("small") for _ in range(MAX_SERVERS)]
        eventually(lab.directories, PATIENCE)
        lab.entry["max-ram"] = 4096
        launcher.configure(providers=[lab.entry], labels=["small"])
        eventually(lambda: "has changed" in launcher.log, PATIENCE)
        for request in requests:
            client.fulfilled(request, PATIENCE)
        assert "attempt 2/" not in launcher.log


def test_killed_again_and_again(lab: Lab) -> None:
    launcher = lab.launcher(zookeeper_timeout=2)
    with launcher, zuul(lab.place) as client:
        requests = []
        for moment in range(4):
            requests += [client.submit("small") for _ in range(2)]
            # Later each time: nothing, a directory, a process, a machine that answers.
            eventually(lambda least=moment: len(_files(lab)) >= 3 * least, PATIENCE)  # type: ignore[misc]
            launcher.kill()
            launcher.start()
        seen = set()
        for request in requests:
            (node_id,) = client.accept(request, PATIENCE)
            seen.add(client.use(node_id)["external_id"])
            client.give_back(node_id)
        assert len(seen) == len(requests)
        eventually(lambda: not lab.directories(), PATIENCE)
        eventually(lambda: not client.all_nodes(), PATIENCE)
        launcher.kill()
    lab.host.adapter.leftovers(local_host.DEADLINE)
    assert _files(lab) == []


def test_machines_that_the_host_has_lost_are_replaced_before_anybody_gets_them(lab: Lab) -> None:
    launcher = lab.launcher({"min-ready": 2}, zookeeper_timeout=2)
    with launcher, zuul(lab.place) as client:
        (used,) = client.accept(client.submit("small"), PATIENCE)
        client.use(used)
        eventually(lambda: len(_ready(client)) == 2, PATIENCE)
        before = _ready(client)
        # As when the host is rebooted: everything ends at once.
        launcher.kill()
        for name in lab.directories():
            ContainerKind(lab.host.state).destroy(lab.host.state / "nodes" / name)
        launcher.start()
        eventually(lambda: len(_ready(client)) == 2 and not _ready(client) & before, PATIENCE, pause=0.1)
        assert (client.node(used) or {})["state"] == "in-use"
        (node_id,) = client.obtain("small")
        assert lab.host.ask(lab.server_of(client.use(node_id)), "id -un") == "zuul"
        assert DeleteReason.LOST.value in launcher.log


def _ready(client: Zuul) -> set[str]:
    return {name for name, node in client.all_nodes().items() if node["state"] == "ready" and not node["allocated_to"]}


def _files(lab: Lab) -> list[str]:
    try:
        return [name for _, _, names in os.walk(lab.directory / "state" / "nodes") for name in names]
    except OSError:
        return []
