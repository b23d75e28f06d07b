"""Notices that the machine of a ready node has died, so that the next request does not get it.

Runs on the decision thread; no I/O. Only nodes that nobody has are looked at, and only in lists that are complete. One
list proves nothing, as a cloud may be late with what is new: the node goes when a second one, begun later than that,
shows no living machine either. Nodepool 11 hands such nodes over.
"""

from __future__ import annotations

from nodepool.driver.adapter import Server, ServerState
from nodepool.launcher.clouds import Cloud, servers_of
from nodepool.launcher.setup import ProviderSetup
from nodepool.launcher.state import State
from nodepool.model.node import Node

CONFIRMED_AFTER = 5.0
"""Least seconds between the list that first shows no living machine and the one that confirms it."""
_ALIVE = frozenset({ServerState.ACTIVE, ServerState.BUILDING})


def look(state: State, name: str, cloud: Cloud) -> None:
    """Compare the free nodes of a provider with its new list."""
    provider = state.setup.providers.get(name)
    before, cloud.lost = cloud.lost, {}
    if provider is None or provider.stock is not None or not provider.lists_everything or not state.working:
        return
    for node in state.index.free_nodes(name):
        if _has_died(node, servers_of(cloud, node)):
            cloud.lost[node.id] = before.get(node.id, state.now)
    for node_id, since in cloud.lost.items():
        if is_lost(state, node_id, name):
            state.dirty.add(("node", node_id))
        else:
            state.wake(max(since + _pause(provider), state.now), ("losses", name))


def seek(state: State, name: str) -> None:
    """Have the servers of a provider listed once more, if one seems to be missing."""
    cloud = state.clouds.get(name)
    if cloud is not None and cloud.lost and not cloud.list_asked:
        cloud.list_asked = True
        state.list_servers(name)


def is_lost(state: State, node_id: str, name: str) -> bool:
    """Whether two lists, far enough apart, and all between them show no living machine of a node that was free then."""
    cloud, provider = state.clouds.get(name), state.setup.providers.get(name)
    if cloud is None or provider is None or node_id not in cloud.lost:
        return False
    return cloud.list_began >= cloud.lost[node_id] + _pause(provider)


def _pause(provider: ProviderSetup) -> float:
    return max(CONFIRMED_AFTER, provider.list_lag)


def _has_died(node: Node, servers: list[Server]) -> bool:
    """Whether none of a node's servers is of use. One whose server has no id yet cannot be judged."""
    return node.external_id is not None and not any(server.state in _ALIVE for server in servers)
