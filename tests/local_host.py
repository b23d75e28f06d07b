"""A local provider on a state directory of its own, and what is needed to try it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nodepool.driver.adapter import ATTEMPT_TAG, NODE_TAG, POOL_TAG, PROVIDER_TAG, Server, ServerOrder, ServerState
from nodepool.driver.image_adapter import ImageOrder
from nodepool.driver.local import processes
from nodepool.driver.local.adapter import LocalAdapter
from nodepool.driver.local.driver import LocalDriver
from tests.sshd import generate_key
from tests.zookeeper import PATIENCE, eventually

DEADLINE = 20.0
LOGIN_SECONDS = 120.0
USER = SimpleNamespace(username="zuul", python_path="auto", shell_type=None)
TOP = SimpleNamespace(labels={"small": None}, diskimages={"deb": USER}, providers={})


@dataclass
class LocalHost:
    """A provider of the local driver. How long it waits is in seconds."""

    adapter: LocalAdapter
    state: Path
    key: Path
    provider: str = "here"
    patience: float = PATIENCE

    def order(self, node_id: str = "0000000001", image: str | None = None, attempt: int = 1) -> ServerOrder:
        """An order for a machine."""
        tags = {NODE_TAG: node_id, POOL_TAG: "main", PROVIDER_TAG: self.provider, ATTEMPT_TAG: str(attempt)}
        return ServerOrder(node_id, f"np{node_id}", "main", "small", tags, image_external_id=image)

    def create(self, node_id: str = "0000000001", image: str | None = None) -> str:
        """Make a machine."""
        return self.adapter.create_server(self.order(node_id, image), DEADLINE)

    def server(self, external_id: str) -> Server | None:
        """A machine as it is listed."""
        found = [one for one in self.adapter.list_servers(DEADLINE) if one.external_id == external_id]
        return found[0] if found else None

    def reaches(self, external_id: str, state: ServerState) -> Server:
        """A machine when it is in this state."""
        seen: list[Server | None] = [None]

        def is_there() -> bool:
            seen.append(self.server(external_id))
            assert seen[-1] is not None, f"{external_id} is gone"
            failed = seen[-1].state is ServerState.ERROR and state is not ServerState.ERROR
            console = self.adapter.console_log(external_id, DEADLINE) if failed else ""
            assert not failed, f"{seen[-1].fault_text}\n{console}"
            return seen[-1].state is state

        eventually(is_there, self.patience)
        assert seen[-1] is not None
        return seen[-1]

    def active(self, external_id: str) -> Server:
        """A machine when it is ACTIVE."""
        return self.reaches(external_id, ServerState.ACTIVE)

    def remove(self, external_id: str) -> None:
        """Delete a machine and wait until it is gone."""
        self.adapter.delete_server(external_id, DEADLINE)
        eventually(lambda: self.server(external_id) is None, self.patience)

    def run(
        self, server: Server, command: str, key: Path | None = None, user: str = "zuul"
    ) -> subprocess.CompletedProcess[str]:
        """Log in, trusting no host key but the recorded one, and run a command."""
        port = server.record["connection_port"]
        known = self.state.parent / "known_hosts"
        place = server.interface_ip if port == 22 else f"[{server.interface_ip}]:{port}"
        known.write_text(f"{place} {server.record['host_keys'][0]}\n")
        options = ["-oBatchMode=yes", "-oStrictHostKeyChecking=yes", f"-oUserKnownHostsFile={known}"]
        where = ["-oIdentitiesOnly=yes", f"-p{port}", f"{user}@{server.interface_ip}"]
        words = ["ssh", "-F", "none", "-i", str(key or self.key), *options, *where, command]
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LOGIN_SECONDS, check=False
        )

    def ask(self, server: Server, command: str) -> str:
        """What a command prints in a machine."""
        result = self.run(server, command)
        console = self.adapter.console_log(server.external_id, DEADLINE) if result.returncode else ""
        assert result.returncode == 0, f"{result.stderr}\n{console}"
        return result.stdout.strip()

    def upload(self, path: Path, disk_format: str, number: int = 1) -> str:
        """Upload an image."""
        order = ImageOrder(f"deb-{number}", str(path), disk_format, f"build{number}", f"{number:010d}", image="deb")
        return self.adapter.images.upload(order, DEADLINE)

    def clear(self) -> None:
        """End all machines, and whatever there is of this provider."""
        for server in self.adapter.list_servers(DEADLINE):
            self.adapter.delete_server(server.external_id, DEADLINE)
        eventually(lambda: not self.adapter.list_servers(DEADLINE), self.patience)
        for process in processes.marked(self.state):
            processes.end(process.pid)


def make(directory: Path, labels: Mapping[str, Any], driver: LocalDriver | None = None, **keys: Any) -> LocalHost:
    """A provider with one label, ``small``; ``keys`` are further ones of the provider, with ``_`` for ``-``."""
    key = directory / "user_key"
    if not key.exists():
        generate_key(key)
    entry = entry_of(directory, labels, **keys)
    config = (driver or LocalDriver()).getProviderConfig(entry)
    config.getSchema()(entry)
    config.load(TOP)
    adapter = config.driver.getProvider(config).adapter
    assert isinstance(adapter, LocalAdapter)
    adapter.prepare(DEADLINE)
    return LocalHost(adapter, directory / "state", key)


def entry_of(directory: Path, label: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    """The provider's entry in nodepool.yaml."""
    return {
        "name": "here",
        "driver": "local",
        "state-dir": str(directory / "state"),
        "port": 2222,
        "authorized-keys": [str(directory / "user_key.pub")],
        "pools": [{"name": "main", "labels": [{"name": "small", **label}]}],
        **{name.replace("_", "-"): value for name, value in keys.items()},
    }
