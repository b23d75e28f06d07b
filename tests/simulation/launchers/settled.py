"""What must hold when everything has been calm for long: nothing is left over, nobody waits in vain.

Each finding is a sentence. Stock that is renewed all the time is never quite at rest, so a finding counts only if
several looks in a row make it.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

from nodepool.zk import paths
from tests.simulation.launchers.process import SimulatedLauncher
from tests.simulation.records import decoded

if TYPE_CHECKING:
    from tests.simulation.launchers.world import LauncherWorld

TABLES = (
    "claims",
    "launches",
    "deletions",
    "taking",
    "planned",
    "reserving",
    "creating",
    "hosts.probing",
    "busy",
    "waiting",
    "open_requests",
    "stock.requests",
    "first_seen",
    "refusals",
    "unclaimed",
)
"""What a launcher keeps of work under way."""
MOST_TIMERS = 300


def findings(world: LauncherWorld) -> Iterator[str]:
    """What is not as it should be."""
    yield from _requests(world)
    yield from _nodes(world)
    yield from _servers(world)
    yield from _stock(world)
    for process in world.processes.values():
        yield from _tables(world, process)
    for client in world.clients:
        if not client.ended:
            yield f"{client.name} still waits"


def _requests(world: LauncherWorld) -> Iterator[str]:
    ensemble = world.ensemble
    ids = ensemble.children(paths.REQUESTS) or ()
    for request_id in ids:
        record = decoded(ensemble.read(paths.request(request_id)))
        reasons = {name: process.reconciler.state.why_waiting(request_id) for name, process in world.processes.items()}
        yield f"request {request_id} is still there, {record.get('state')}: {reasons}"
    for request_id in ensemble.children(paths.REQUEST_LOCKS) or ():
        if request_id not in ids:
            yield f"the lock directory of request {request_id} is left"
        if ensemble.children(paths.request_lock(request_id)):
            yield f"somebody has locked request {request_id}"


def _nodes(world: LauncherWorld) -> Iterator[str]:
    for node_id in world.ensemble.children(paths.NODES) or ():
        node = decoded(world.ensemble.read(paths.node(node_id)))
        if node.get("state") != "ready":
            yield f"node {node_id} is still there, {node.get('state')}"
        elif node["allocated_to"]:
            yield f"node {node_id} is ready and allocated to {node['allocated_to']}"
        elif node_id in world.died:
            yield f"node {node_id} is ready and its machine has died"
        elif not world.has_server(node_id, node):
            yield f"node {node_id} is ready and has no server"
        if world.ensemble.children(paths.node_lock(node_id)):
            yield f"somebody has locked node {node_id}"


def _servers(world: LauncherWorld) -> Iterator[str]:
    known = world.ensemble.children(paths.NODES) or ()
    for cloud in world.clouds.values():
        for server in cloud.alive():
            if server.tags.get("nodepool_node_id") not in known:
                yield f"server {server.external_id} belongs to no node"
    for project in world.projects.values():
        for name in project.remains():
            yield f"{name} is left"


def _stock(world: LauncherWorld) -> Iterator[str]:
    """There is as much stock as there should be, unless there is no room for more."""
    ready: dict[str, int] = {}
    for node_id in world.ensemble.children(paths.NODES) or ():
        for label in decoded(world.ensemble.read(paths.node(node_id))).get("type", ()):
            ready[label] = ready.get(label, 0) + 1
    for label, rule in world.scenario.labels.items():
        if ready.get(label, 0) < rule.min_ready and world.has_room_for(label):
            yield f"{ready.get(label, 0)} of {rule.min_ready} {label} in stock"


def _tables(world: LauncherWorld, process: SimulatedLauncher) -> Iterator[str]:
    state = process.reconciler.state
    nodes = len(world.ensemble.children(paths.NODES) or ())
    for name in TABLES:
        if table := attrgetter(name)(state):
            yield f"{process.name} keeps {name}: {list(table)[:5]}"
    for name, cloud in state.clouds.items():
        if cloud.waiting:
            yield f"{process.name} lists {name} for {cloud.waiting}"
    for name in ("noticed", "hosts.answered"):
        if len(table := attrgetter(name)(state)) > nodes:
            yield f"{process.name} keeps {name}: {list(table)[:5]}"
    if len(state.timers) > MOST_TIMERS:
        yield f"{process.name} keeps {len(state.timers)} timers"
    if not state.working:
        yield f"{process.name} does not work"
