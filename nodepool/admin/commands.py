"""The commands of ``nodepool`` that read or change ZooKeeper, one function each (spec cli 2).

Each writes its result and returns, or raises :class:`~nodepool.admin.failure.CommandFailed`.
"""

from __future__ import annotations

import sys

from nodepool.admin import alien_servers, nodes, removal, views
from nodepool.admin import erase as erasing
from nodepool.admin.failure import CommandFailed
from nodepool.admin.operator import Operator, show, show_json, tell, warn
from nodepool.admin.requests import delete_request
from nodepool.admin.snapshot import is_name, snapshot
from nodepool.admin.table import printable, render
from nodepool.zk import paths


def delete(operator: Operator, node_id: str, *, now: bool, as_json: bool) -> None:
    """Delete a node, in the foreground with ``now``, and show what is left of it."""
    _check_node_id(node_id)
    if now:
        removal.delete_now(operator.client, node_id, operator.who, operator.config, operator.clock, operator.pause)
    else:
        nodes.delete(operator.client, node_id, operator.who, operator.clock)
    _show_node(operator, node_id, as_json)


def hold(operator: Operator, node_id: str, *, as_json: bool) -> None:
    """Keep a node from deletion and show it."""
    _check_node_id(node_id)
    nodes.hold(operator.client, node_id, operator.who, operator.clock)
    _show_node(operator, node_id, as_json)


def list_alien_servers(operator: Operator, provider: str | None, *, as_json: bool) -> None:
    """Show servers in the clouds that no record knows.

    Raises :class:`CommandFailed`, after all others are shown, if a provider could not be asked.
    """
    before = snapshot(operator.client, paths.NODES)
    found = alien_servers.search(operator.config, provider)
    after = snapshot(operator.client, paths.NODES)
    rows = [row for one in found for row in alien_servers.aliens(one, operator.config.providers, before, after)]
    show(alien_servers.COLUMNS, rows, as_json)
    failed = [f"provider {one.provider} could not be asked: {printable(one.problem)}" for one in found if one.problem]
    if failed:
        raise CommandFailed("; ".join(failed))


def remove_request(operator: Operator, request_id: str) -> None:
    """Delete a node request, whoever made it."""
    if not is_name(request_id) or not delete_request(operator.client, request_id):
        raise CommandFailed(f"Request id {printable(request_id)} not found")


def info(operator: Operator, provider: str, *, as_json: bool) -> None:
    """Show what ZooKeeper holds of a provider."""
    mirror = snapshot(operator.client, paths.IMAGES, paths.NODES)
    images = views.provider_images(mirror, provider)
    found = views.provider_nodes(mirror, provider)
    if as_json:
        show_json({"provider": provider, "images": images, "nodes": found})
    else:
        print(f"ZooKeeper data for provider {printable(provider)}\n")
        print(f"Image data:\n{render(views.PROVIDER_IMAGE_COLUMNS, images)}\n")
        print(f"Nodes:\n{render(views.PROVIDER_NODE_COLUMNS, found)}")
    warn(views.problems(mirror))


def erase(operator: Operator, provider: str, *, force: bool) -> None:
    """Remove what ZooKeeper holds of a provider, after a question unless ``force``."""
    found = erasing.holdings(operator.client, provider)
    name = printable(provider)
    if not found.upload_paths and not found.node_paths:
        raise CommandFailed(f"ZooKeeper holds no data of provider {name}; nothing was erased")
    if not force and not _agreed(name, found):
        raise CommandFailed("Aborting. No data erased.")
    erasing.erase_all(operator.client, provider, found, tell)


def _agreed(provider: str, found: erasing.Holdings) -> bool:
    print(
        f"\nWARNING! This erases {found.uploads} upload and {found.nodes} node records of provider {provider} from "
        "ZooKeeper. It cannot be undone.\nServers and images in the cloud stay, and nobody will clean them up.\n"
    )
    print(f"Erase ZooKeeper data for provider {provider}? [N/y] ", end="", flush=True)
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer.endswith("\n"):
        print()
    return answer.strip().lower() == "y"


def _check_node_id(node_id: str) -> None:
    if not is_name(node_id):
        raise CommandFailed(f"Node id {printable(node_id)} not found")


def _show_node(operator: Operator, node_id: str, as_json: bool) -> None:
    mirror = snapshot(operator.client, paths.node(node_id))
    show(views.NODE_COLUMNS, views.nodes(mirror, operator.clock()), as_json)
