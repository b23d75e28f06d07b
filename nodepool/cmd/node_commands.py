"""The part of ``nodepool``'s command line that is about nodes and requests (spec cli 2)."""

from __future__ import annotations

import argparse
import math

from nodepool.admin import by_hand, commands, listing, views
from nodepool.admin.console import show_console
from nodepool.admin.explain import explain
from nodepool.admin.lists import show_list
from nodepool.admin.live import DEFAULT_INTERVAL
from nodepool.admin.login import recorded_node
from nodepool.admin.operator import Operator
from nodepool.admin.top import show_top
from nodepool.cmd import list_options
from nodepool.cmd.image_commands import AddCommand
from nodepool.model.states import NodeState, RequestState


def add(command: AddCommand) -> None:
    """Add the commands."""
    _add_node_commands(command)
    _add_request_commands(command)
    top = command("top", "show what is going on; live at a terminal", as_json=True)
    top.add_argument(
        "watch",
        metavar="SECONDS",
        nargs="?",
        type=list_options.seconds,
        default=DEFAULT_INTERVAL,
        help="longest time between two pages (%(default)g)",
    )
    why = command("explain", "say why something waits, failed, or is as it is", as_json=True)
    why.add_argument("name", metavar="REQUEST|NODE|IMAGE", help="id of a request or a node, or name of an image")


def perform(options: argparse.Namespace, operator: Operator) -> bool:
    """Run the command that was chosen, if it is one of these; says whether it is."""
    match options.command:
        case "list":
            _list(options, operator)
        case "delete":
            commands.delete(operator, options.id, now=options.now, as_json=options.json)
        case "hold":
            commands.hold(operator, options.id, as_json=options.json)
        case "top":
            show_top(operator, options.watch, as_json=options.json)
        case "explain":
            explain(operator, options.name, as_json=options.json)
        case "console":
            show_console(operator, recorded_node(operator, options.id))
        case "alien-list":
            commands.list_alien_servers(operator, options.provider, as_json=options.json)
        case "request-list":
            columns = {"label": "node_types", "state": "state"}
            show_list(operator, listing.requests(), list_options.asked(options, operator.config, columns))
        case "request-delete":
            commands.remove_request(operator, options.id)
        case "request":
            by_hand.request(
                operator,
                by_hand.Wish(options.label, options.hold, options.timeout, options.known_hosts, options.json),
            )
        case _:
            return False
    return True


def _list(options: argparse.Namespace, operator: Operator) -> None:
    shown = listing.nodes(views.NODE_DETAIL_COLUMNS if options.detail else views.NODE_COLUMNS)
    columns = {"label": "label", "provider": "provider", "state": "state"}
    show_list(operator, shown, list_options.asked(options, operator.config, columns))


def _add_node_commands(command: AddCommand) -> None:
    nodes = command("list", "show all nodes", as_json=True)
    nodes.add_argument("--detail", action="store_true", help="show all columns")
    list_options.add(nodes, "label", "provider", states=NodeState)
    deletion = command("delete", "have a node deleted", as_json=True)
    deletion.add_argument("id", metavar="ID", help="node id")
    deletion.add_argument("--now", action="store_true", help="delete it in the foreground and wait for the end")
    holding = command("hold", "keep a node from being deleted", as_json=True)
    holding.add_argument("id", metavar="ID", help="node id")
    login = command("ssh", "log in to a node, with the host key that was recorded")
    login.add_argument("id", metavar="ID", help="node id")
    login.add_argument("arguments", metavar="ARGUMENT", nargs=argparse.REMAINDER, help="options of ssh, and a command")
    console = command("console", "show what the console of a node's machine has said")
    console.add_argument("id", metavar="ID", help="node id")
    aliens = command("alien-list", "show servers in the clouds that no node record knows", as_json=True)
    aliens.add_argument("provider", metavar="PROVIDER", nargs="?", help="only this one (default: all)")


def _add_request_commands(command: AddCommand) -> None:
    list_options.add(command("request-list", "show all node requests", as_json=True), "label", states=RequestState)
    deletion = command("request-delete", "delete a node request")
    deletion.add_argument("id", metavar="ID", help="request id")
    asking = command("request", "get nodes to use by hand", as_json=True)
    asking.add_argument("label", metavar="LABEL", nargs="+", help="one node of this label; may be repeated")
    asking.add_argument("--hold", action="store_true", help="leave the nodes in state hold and end")
    asking.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=list_options.seconds,
        default=math.inf,
        help="give up after this time (default: never)",
    )
    asking.add_argument("--known-hosts", metavar="FILE", help="add the host keys to FILE and have ssh check them there")
