"""The kind ``static``: this host is the node, by an sshd on a loopback address."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tools.quickstart.node_server import ADDRESS, NodeServer
from tools.quickstart.requestor import Record, Requestor
from tools.quickstart.source import LABEL, NodeSource
from tools.quickstart.steps import Step, Steps

_CONFIGURATION = """\
labels:
  - name: {label}

providers:
  - name: this-host
    driver: static
    pools:
      - name: main
        nodes:
          - name: {address}
            connection-port: {ssh_port}
            username: {username}
            host-key: {host_key}
            labels: [{label}]
            max-parallel-jobs: 2
"""


class StaticHost(NodeSource):
    """See the module's description.

    :param choose_port: chooses the port of ``ssh`` unless it runs, and returns it
    """

    patience = 60.0

    def __init__(self, directory: Path, choose_port: Callable[[bool], int]) -> None:
        self._server = NodeServer(directory / "sshd")
        self._choose_port = choose_port
        self.identity = self._server.identity
        self.programs = (self._server.process,)
        self._port = 0

    def check(self) -> list[str]:
        """It works everywhere."""
        return []

    def start(self, steps: Steps) -> None:
        """Start sshd unless it runs."""
        with steps.step("Start sshd: this host becomes a static node") as step:
            self._port = self._choose_port(bool(self._server.process.pid()))
            self._server.start(self._port)
            step.notes.append(f"listens on {ADDRESS}:{self._port} (process {self._server.process.pid()})")

    def configuration(self) -> str:
        """A static provider with this host."""
        return _CONFIGURATION.format(
            address=ADDRESS,
            label=LABEL,
            username=self._server.username,
            host_key=self._server.host_key(),
            ssh_port=self._port,
        )

    def complete(self, steps: Steps, requestor: Requestor, configuration: Path) -> None:
        """Nothing is missing."""

    def show_start(self, step: Step) -> None:
        """It takes no time."""

    def show_next(self, steps: Steps, requestor: Requestor, node_id: str, node: Record) -> None:
        """The host becomes a new node."""
        with steps.step("Wait until the host is a fresh node again") as step:
            step.notes.append(f"node {requestor.wait_for_successor(node_id, node, self.patience)}")

    def end(self) -> list[str]:
        """End sshd."""
        return [self._server.process.name] if self._server.stop() else []

    def remove(self) -> None:
        """Nothing is in the way."""
