"""What an operator does to a node: hold it, or have it deleted (spec cli 2)."""

from __future__ import annotations

from collections.abc import Callable

from nodepool.admin.failure import CommandFailed
from nodepool.admin.locking import change
from nodepool.model.node import Node
from nodepool.model.states import NodeState, may_follow
from nodepool.zk.client import Client

Clock = Callable[[], float]


def hold(client: Client, node_id: str, who: str, clock: Clock) -> None:
    """Keep a node from being deleted until somebody does it by hand or its hold age is over."""
    change(client, node_id, who, lambda node: _held(node, clock()))


def delete(client: Client, node_id: str, who: str, clock: Clock) -> None:
    """Have the launchers delete a node."""
    change(client, node_id, who, lambda node: to_be_deleted(node, clock()))


def to_be_deleted(node: Node, now: float) -> Node:
    """The record with which the launchers, or we, delete the node."""
    return node if node.state is NodeState.DELETED else in_state(node, NodeState.DELETING, now)


def in_state(node: Node, state: NodeState, now: float) -> Node:
    """The record in another state; the same object if it is in it. Raises :class:`CommandFailed`."""
    if node.state is state:
        return node
    if not may_follow(node.state, state):
        raise _refusal(node, state)
    return node.in_state(state, now)


def _held(node: Node, now: float) -> Node:
    # Only a launcher may hold a node that it is making, when it keeps a failed machine for study.
    if node.state is NodeState.BUILDING:
        raise _refusal(node, NodeState.HOLD)
    return in_state(node, NodeState.HOLD, now)


def _refusal(node: Node, state: NodeState) -> CommandFailed:
    return CommandFailed(f"Node {node.id} is {node.state} and cannot become {state}; nothing was changed")
