"""What the launcher does with its session and its clouds as such: start, loss, end, and the regular questions.

Runs on the decision thread; no I/O.
"""

from __future__ import annotations

from nodepool.daemon.instructions import Level
from nodepool.launcher import leftovers, machines, measures
from nodepool.launcher.clouds import Cloud
from nodepool.launcher.instructions import DeleteServer, ReadLimits
from nodepool.launcher.setup import Setup
from nodepool.launcher.state import State
from nodepool.launcher.sweep import leaks

LIMITS_EVERY = 300.0
"""Seconds between two questions for a provider's limits (spec launcher 2.6)."""
LOOK_AGAIN = 30.0
"""Seconds after which a provider is asked anew for what somebody wants of it and it does not have."""
LEAKS_EVERY = 60.0
"""Seconds between two searches for leaked servers (spec launcher 4.4)."""


def forget_work(state: State) -> None:
    """The session is gone, and all locks with it: others may go on with what we did, from the records."""
    for launch in list(state.launches.values()):
        state.remove_launch(launch.node_id)
        if not launch.phase.ended:
            measures.launch_ended(state, launch, measures.SESSION_LOST)
        machines.stop_looking(state, launch)
        if launch.external_id is not None:
            state.unclaimed[launch.node_id] = (launch.provider, launch.external_id)
    state.claims.clear()
    state.deletions.clear()
    state.taking.clear()
    state.planned.clear()
    state.reserving.clear()
    state.hosts.joining.clear()
    state.hosts.resigning.clear()
    for cloud in state.clouds.values():
        cloud.waiting.clear()
        cloud.leftovers.clear()
        cloud.lost.clear()


def look_at_all(state: State) -> None:
    """Mark everything for a look."""
    state.dirty.update(("node", node_id) for node_id in state.mirror.nodes)
    state.dirty.update(("request", request_id) for request_id in state.mirror.requests)
    state.dirty.update(("request", request_id) for request_id in state.mirror.request_locks)
    state.dirty.update(("request", request_id) for request_id in state.claims)
    state.dirty.update(("node", node_id) for node_id in (*state.launches, *state.deletions, *state.unclaimed))
    state.dirty.update(("stock", name) for name in state.setup.providers)
    state.dirty.update(("limits", name) for name in state.setup.providers)
    state.dirty.update(("leaks", name) for name in state.setup.providers)
    state.dirty.update({"admission", "min-ready", "pools"})


def configured(state: State, setup: Setup) -> None:
    """There is a new configuration; work under way goes on with the settings it began with."""
    before, state.setup = state.setup, setup
    state.broken_labels.clear()
    for name, provider in setup.providers.items():
        if provider is not before.providers.get(name):
            cloud = state.clouds.setdefault(name, Cloud())
            cloud.limits_read, cloud.list_asked = 0.0, False
            state.hosts.scans.pop(name, None)
    state.stock.failures.clear()
    for node_id in state.mirror.nodes:
        state.reindex(node_id)
    look_at_all(state)


def stopping(state: State) -> None:
    """Take nothing new, and have given back what is not done, so that another launcher serves it at once."""
    state.stopping = True
    state.dirty.add("pools")
    state.dirty.update(("request", request_id) for request_id in state.claims)


def watch_clouds(state: State) -> None:
    """Have the servers of each provider listed for which a node waits."""
    for name, cloud in state.clouds.items():
        if cloud.waiting and not cloud.list_asked:
            cloud.list_asked = True
            state.list_servers(name)


def read_limits(state: State, name: str) -> None:
    """Ask for a provider's limits, if it is time."""
    provider = state.setup.providers.get(name)
    if provider is None or provider.stock is not None:
        return
    cloud = state.clouds.setdefault(name, Cloud())
    if cloud.limits_read and state.now < cloud.limits_read + LIMITS_EVERY:
        return
    cloud.limits_read = state.now
    state.out.append(ReadLimits(name))
    state.wake(state.now + LIMITS_EVERY, ("limits", name))


def look_again(state: State, name: str) -> None:
    """Somebody wants what a provider cannot give as it is: have limits, flavors, images and so on read soon."""
    cloud = state.clouds.setdefault(name, Cloud())
    cloud.limits_read = min(cloud.limits_read, state.now + LOOK_AGAIN - LIMITS_EVERY)
    state.wake_by(cloud.limits_read + LIMITS_EVERY, ("limits", name))


def seek_leaks(state: State, name: str) -> None:
    """Have the servers listed for the search for leaks, if it is time."""
    provider = state.setup.providers.get(name)
    if provider is None or provider.stock is not None:
        return
    cloud = state.clouds.setdefault(name, Cloud())
    due = cloud.leaks_sought + LEAKS_EVERY
    if state.now >= due and not cloud.list_asked:
        cloud.list_asked = True
        state.list_servers(name)
    state.wake_by(due if state.now < due else state.now + LEAKS_EVERY, ("leaks", name))


def look_for_leaks(state: State, name: str, cloud: Cloud) -> None:
    """Delete servers that bear our tag and belong to no node, once two searches in a row have found them."""
    if not state.working or state.now < cloud.leaks_sought + LEAKS_EVERY:
        return
    cloud.leaks_sought = state.now
    tagged = ((node_id, server) for node_id, servers in cloud.servers.items() for server in servers)
    doomed, cloud.leak_suspects = leaks(tagged, state.mirror.nodes.keys() | state.creating, cloud.leak_suspects)
    leftovers.seek(state, name)
    if not leftovers.our_turn(state, name):
        return
    for server in doomed:
        text = f"Deleting leaked instance {server.external_id} of provider {name}"
        state.say(Level.WARNING, f"nodepool.StateMachineProvider.{name}", text)
        state.out.append(DeleteServer(name, "", server.external_id))
