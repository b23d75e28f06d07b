"""``nodepool console``: what the console of a node's machine has said, as its cloud tells it."""

from __future__ import annotations

import sys

from nodepool.admin.cloud import CALL_DEADLINE, opened
from nodepool.admin.failure import CommandFailed
from nodepool.admin.operator import Operator
from nodepool.admin.table import printable
from nodepool.driver.bridge import foreign
from nodepool.driver.contract import ProviderConfig
from nodepool.driver.errors import CloudError
from nodepool.model.node import Node


def show_console(operator: Operator, node: Node) -> None:
    """Write the console log of a node to standard output; at a terminal, control characters are shown as escapes.

    Asks the cloud with this machine's configuration. Raises :class:`CommandFailed` if there is no log.
    """
    entry = operator.config.providers.get(node.provider or "")
    if entry is None:
        raise CommandFailed(
            f"Provider {printable(str(node.provider))} of node {node.id} is not in this configuration: "
            "run the command where it is"
        )
    if node.external_id is None:
        raise CommandFailed(f"Node {node.id} has no server (yet): its state is {node.state}")
    text = _read(entry, node)
    if not text:
        raise CommandFailed(
            f"The cloud has no console log of node {node.id} (server {printable(str(node.external_id))})"
        )
    if sys.stdout.isatty():
        text = "\n".join(map(printable, text.splitlines()))
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def _read(entry: ProviderConfig, node: Node) -> str | None:
    try:
        with foreign("asking the cloud"):
            running = entry.driver.getProvider(entry)
        if running.stock is not None:
            raise CommandFailed(f"Node {node.id} is a host of the {entry.driver.name} driver, which has no consoles")
        with foreign("asking the cloud"), opened(running, entry) as adapter:
            return adapter.console_log(node.external_id, CALL_DEADLINE)
    except CloudError as error:
        raise CommandFailed(f"provider {entry.name} could not be asked: {printable(str(error))}") from None
