"""Carries launches through their phases: asks for what each phase of :mod:`nodepool.launcher.lifecycle` needs.

Runs on the decision thread; no I/O. Each call looks at the present state and asks for what is missing, so that a lost
or doubled call costs nothing. A launch exists only while our lock on its node does.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from nodepool.daemon.instructions import Level
from nodepool.driver.adapter import Server, ServerState
from nodepool.driver.errors import BadLabel
from nodepool.launcher import ceiling, images, keeping, lifecycle, machines, measures, orders, session, successors
from nodepool.launcher.clouds import Cloud, address_key
from nodepool.launcher.instructions import CreateServer, DeleteServer, Purpose, ReadConsole
from nodepool.launcher.lifecycle import Condition, Launch, Phase
from nodepool.launcher.setup import PoolSetup
from nodepool.launcher.state import State
from nodepool.model.node import Node
from nodepool.model.reasons import LaunchFailure
from nodepool.model.request import NodeRequest
from nodepool.model.states import NodeState, may_follow
from nodepool.zk import paths
from nodepool.zk.store import Check, SetData

STUCK = 60.0
"""Seconds after which the next attempt does not wait any more for the servers of the failed one to go."""
ASK_AGAIN = 30.0
"""Seconds after which a server is asked to go again that the cloud lists as going."""
REPEAT_DELETE = 5.0
"""Seconds after which the server of a failed attempt is asked to go again."""
_TOLD_BY_CONSOLE = (LaunchFailure.KEYSCAN, LaunchFailure.CHECK, LaunchFailure.TIMEOUT)
"""Failures for which the console is logged, where the label says so (spec launcher 3.3)."""
BROKEN_FOR = 60.0
"""Seconds for which a label is declined that the cloud called broken: it may be mended (spec drivers 2)."""
WATCHES_LISTS = (Phase.UNCERTAIN, Phase.BOOTING, Phase.RETIRING)
"""Phases that wait for lists."""
HEEDS_LISTS = (*WATCHES_LISTS, Phase.FINISHING, Phase.SCANNING, Phase.CHECKING)
"""Phases to which a list may tell something."""


def begin(state: State, pool: PoolSetup, request: NodeRequest, node_id: str, label: str) -> None:
    """A record was made for a node that has to be launched."""
    launch = Launch(
        node_id=node_id,
        provider=pool.provider.name,
        pool=pool.settings.name,
        label=pool.settings.labels[label],
        limits=pool.provider.settings,
        request_id=request.id,
        began=state.now,
    )
    state.add_launch(launch)
    state.dirty.add(("node", node_id))


def step(state: State, node_id: str) -> None:
    """Do what the present phase of a launch needs."""
    launch = state.launches[node_id]
    node = state.mirror.node(node_id)
    if ("node", node_id) in state.busy:
        return
    if launch.phase is Phase.LOCKING:
        _lock(state, launch, node)
        return
    if node is None or state.our_node_lock(node_id) is None or not may_follow(node.state, NodeState.READY):
        drop(state, node_id)
        return
    launch = _advance(state, lifecycle.expired(launch, state.now))
    if launch.phase is Phase.PREPARED:
        launch = _order(state, launch)
    if launch.phase is Phase.KEEPING:
        launch = _keep(state, launch, node)
    if launch.phase is Phase.RETIRING:
        _retire(state, launch)
    if launch.phase is Phase.FINISHING:
        machines.finish(state, launch)
    if launch.phase is Phase.BOOTING and node.external_id != launch.external_id:
        _store_external_id(state, launch, node)
    if launch.phase.ended and ("request", launch.request_id) not in state.busy:
        state.dirty.add(("request", launch.request_id))


def drop(state: State, node_id: str) -> None:
    """Forget a launch; what is left of it is found by its record and its tags."""
    launch = state.remove_launch(node_id)
    if launch is None:
        return
    machines.stop_looking(state, launch)
    state.dirty.update({("node", node_id), ("request", launch.request_id)})


def update(state: State, launch: Launch) -> None:
    """Take over what an event made of a launch."""
    if launch is not state.launches.get(launch.node_id):
        _advance(state, launch)
        state.dirty.add(("node", launch.node_id))


def look_at_deadlines(state: State, provider: str) -> None:
    """Look at all launches of a provider whose time is over; one timer serves them all."""
    launches = [one for one in state.launches.values() if one.provider == provider and one.expires]
    state.dirty.update(("node", one.node_id) for one in launches if one.deadline <= state.now)
    later = [one.deadline for one in launches if one.deadline > state.now]
    if later:
        state.wake_by(min(later), ("deadlines", provider))


def needs_lists(state: State, node_id: str) -> bool:
    """Whether a list that tells nothing new of a node is still a reason to look at it: something is to go."""
    launch = state.launches.get(node_id)
    return launch is None or launch.phase is Phase.RETIRING


def look_at_list(state: State, cloud: Cloud, launch: Launch, lag: lifecycle.Lag) -> None:
    """Take over what a new list says of a launch."""
    servers = _servers_of(cloud, launch)
    update(state, lifecycle.listed(launch, servers, cloud.list_began, lag, partial(judge, state, launch)))
    if launch.phase in HEEDS_LISTS and launch.phase not in (Phase.UNCERTAIN, Phase.RETIRING):
        for server in servers:
            if server.external_id != launch.external_id and server.state is not ServerState.DELETING:
                state.out.append(DeleteServer(launch.provider, launch.node_id, server.external_id))


def judge(state: State, launch: Launch, server: Server) -> Condition:
    """What is to be thought of an active server of a launch."""
    provider = state.setup.providers.get(launch.provider)
    if provider is not None and not provider.is_finished(launch.pool, server):
        return Condition.UNFINISHED
    cloud = state.clouds[launch.provider]
    if provider is not None and provider.own_addresses and _shares_address(state, cloud, launch, server):
        return Condition.SHARED_ADDRESS
    return Condition.COMPLETE


def finished_record(state: State, launch: Launch, node: Node) -> Node:
    """The record of a node whose machine is good (spec launcher 3.1, step 5 and 6).

    Raises :class:`~nodepool.model.states.IllegalTransition` if somebody has changed its state under our lock.
    """
    server = launch.server
    assert server is not None, "a launch is done only with a server"
    pool = state.setup.pool_of(launch.provider, launch.pool)
    resources = server.resources or (node.quota if node.quota else None)
    changes = {
        "external_id": launch.external_id,
        "image_id": launch.image.node_image_id if launch.image else node.image_id,
        **lifecycle.places_of(server, launch.label.use_internal_ip),
        "host_keys": launch.host_keys,
        "node_properties": {},
        "attributes": pool.settings.node_attributes if pool else node.attributes,
        **server.record,
    }
    if resources is not None:
        changes["resources"] = resources.to_json()
    return node.in_state(NodeState.READY, state.now, **changes)


def _advance(state: State, launch: Launch) -> Launch:
    """Store a changed launch and ask for what entering its phase needs."""
    old = state.launches.get(launch.node_id)
    if old is not None and launch.failing and not old.failing and launch.image is not None:
        launch = launch if images.is_offered(state.mirror, launch.image) else lifecycle.forgiven(launch)
    state.launches[launch.node_id] = launch
    cloud = state.clouds[launch.provider]
    if launch.phase in WATCHES_LISTS:
        cloud.waiting.add(launch.node_id)
    else:
        cloud.waiting.discard(launch.node_id)
    if old is not None and old.phase is launch.phase:
        return launch
    if old is not None and launch.phase not in (Phase.CHECKING, Phase.DONE):
        machines.stop_looking(state, old)
    return _enter(state, launch, old.phase if old is not None else None)


def _enter(state: State, launch: Launch, before: Phase | None) -> Launch:
    if launch.phase in (Phase.KEEPING, Phase.FAILED, Phase.ABORTED) or (
        launch.phase is Phase.RETIRING and before is not Phase.KEEPING
    ):
        _report_failure(state, launch)
    if launch.phase is Phase.RETIRING:
        launch = replace(launch, attempt_began=state.now)
        state.launches[launch.node_id] = launch
    if launch.phase is Phase.SCANNING:
        machines.scan(state, launch)
    if launch.phase is Phase.CHECKING:
        machines.check(state, launch)
    if launch.phase is Phase.DONE:
        _report_ready(state, launch)
        state.offerings.passed(launch.provider, launch.label.name, state.now)
    if launch.phase.ended:
        state.dirty.add(("request", launch.request_id))
    if launch.phase is Phase.ABORTED and launch.failure is LaunchFailure.QUOTA:
        _heed_quota(state, launch, launch.pool if before is Phase.FINISHING else None)
    if launch.phase in (Phase.RETIRING, Phase.FAILED) and launch.failure is LaunchFailure.CAPACITY:
        until = state.offerings.refused((launch.provider, launch.zone, launch.label.name), state.now)
        state.wake(until, "admission")
    if before in (Phase.UNCERTAIN, Phase.BOOTING) and launch.server is not None and not launch.failing:
        offering = launch.provider, launch.zone, launch.label.name
        if state.offerings.worked(offering, launch.attempt_began):
            state.dirty.add("admission")
    if launch.failure is LaunchFailure.BAD_LABEL and launch.phase is Phase.FAILED:
        _heed_bad_label(state, launch)
    if launch.expires:
        state.wake_by(launch.deadline, ("deadlines", launch.provider))
    return launch


def _heed_bad_label(state: State, launch: Launch) -> None:
    """Give no more requests to a label that cannot work, unless its driver itself says so for as long as it is so."""
    session.look_again(state, launch.provider)
    pool = state.setup.pool_of(launch.provider, launch.pool)
    try:
        if pool is not None:
            pool.provider.cost(launch.pool, launch.label.name)
    except BadLabel:
        return
    state.broken_labels[launch.provider, launch.label.name] = state.now + BROKEN_FOR


def _heed_quota(state: State, launch: Launch, pool: str | None) -> None:
    """The cloud had no room: believe less of it, and ask for its limits.

    What completes a server was refused for nodes of this ``pool``; None is for the server itself.
    """
    cloud = state.clouds[launch.provider]
    nodes = int(state.index.used(launch.provider, pool)["instances"])
    cloud.ceilings[pool] = ceiling.lowered(cloud.ceilings.get(pool), nodes, launch.began, state.now)
    if pool is None:
        cloud.refused_until = state.now + ceiling.REST
    cloud.limits_read = 0.0
    state.dirty.add(("limits", launch.provider))
    for whole in ("admission", "min-ready"):
        state.wake(state.now + ceiling.REST, whole)


def _lock(state: State, launch: Launch, node: Node | None) -> None:
    """Lock the new record and say in it what is going to be made: the intent."""
    if node is None or node.state not in (NodeState.INIT, NodeState.BUILDING):
        drop(state, launch.node_id)
        return
    if state.our_node_lock(launch.node_id) is not None and node.state is NodeState.BUILDING:
        _advance(state, replace(launch, phase=Phase.PREPARED))
        step(state, launch.node_id)
        return
    if state.mirror.node_locks.get(launch.node_id):
        drop(state, launch.node_id)
        return
    label = launch.label
    image = images.of_label(state.mirror, launch.provider, label)
    record = node.in_state(
        NodeState.BUILDING,
        state.now,
        image_id=image.node_image_id if image else None,
        username=label.username,
        python_path=label.python_path,
        shell_type=label.shell_type,
        connection_type=label.connection_type,
        connection_port=label.connection_port,
        resources=state.cost_of(node).to_json(),
    )
    node_path = paths.node(node.id)
    operations = (*state.lock_node(node.id), SetData(node_path, record.to_json(), state.node_version(node.id)))
    state.commit(Purpose.LOCK_NODE, ("node", node.id), operations)


def _order(state: State, launch: Launch) -> Launch:
    """Begin an attempt: the call that makes the server."""
    launch = lifecycle.start_attempt(launch, state.now)
    image = images.of_label(state.mirror, launch.provider, launch.label)
    if image is None:
        return _advance(state, lifecycle.attempt_failed(launch, LaunchFailure.IMAGE, "no ready upload"))
    zone, extra = orders.zone(state, launch), orders.extra_attempts(state, launch)
    launch = replace(launch, image=image, zone=zone, extra_attempts=extra)
    order = orders.of_launch(launch, image, state.mirror.request(launch.request_id))
    state.out.append(CreateServer(launch.provider, order, launch.attempt))
    state.creating.add(launch.node_id)
    state.say(
        Level.INFO,
        f"nodepool.StateMachineNodeLauncher.{launch.provider}",
        f"Launch attempt {launch.attempt}/{launch.most_attempts} for node {launch.node_id}",
        node=launch.node_id,
    )
    return _advance(state, launch)


def _store_external_id(state: State, launch: Launch, node: Node) -> None:
    lock = state.our_node_lock(node.id)
    assert lock is not None, "the caller has looked"
    record = node.replace(external_id=launch.external_id)
    operations = (Check(lock), SetData(paths.node(node.id), record.to_json(), state.node_version(node.id)))
    state.commit(Purpose.STORE_NODE, ("node", node.id), operations)


def _keep(state: State, launch: Launch, node: Node) -> Launch:
    """Have the machine held, unless there is no room for another beside it."""
    lock = state.our_node_lock(node.id)
    if ("request", launch.request_id) in state.busy:
        state.wake(state.now + 0.25, ("node", node.id))
    elif lock is not None and successors.has_room(state, launch):
        keeping.hold_and_replace(state, launch, node, lock)
    else:
        return _advance(state, replace(launch, phase=Phase.RETIRING))
    return launch


def _retire(state: State, launch: Launch) -> None:
    """Have the servers of a failed attempt deleted; they are gone when a list says so.

    One that does not go must not keep the request waiting: the sweep goes on with it.
    """
    node, lock = state.mirror.node(launch.node_id), state.our_node_lock(launch.node_id)
    stuck = state.now >= launch.attempt_began + STUCK and ("request", launch.request_id) not in state.busy
    if stuck and node is not None and lock is not None and successors.has_room(state, launch):
        successors.abandon(state, launch, node, lock)
        return
    if launch.delete_called and state.now < launch.delete_called + REPEAT_DELETE:
        return
    cloud = state.clouds[launch.provider]
    # A cloud may lose a deletion that it has begun.
    patient = state.now < launch.attempt_began + ASK_AGAIN
    everything = _servers_of(cloud, launch)
    servers = [server for server in everything if not (patient and server.state is ServerState.DELETING)]
    doomed = {str(server.external_id): server.external_id for server in servers}
    if launch.external_id is not None and cloud.list_began <= launch.attempt_began:
        doomed.setdefault(str(launch.external_id), launch.external_id)
    for external_id in doomed.values():
        state.out.append(DeleteServer(launch.provider, launch.node_id, external_id))
    if doomed:
        state.launches[launch.node_id] = replace(launch, call_ended=state.now, delete_called=state.now)
        state.wake(state.now + REPEAT_DELETE, ("node", launch.node_id))


def _servers_of(cloud: Cloud, launch: Launch) -> list[Server]:
    """What a list shows of a launch: by tag, and by external id for drivers without tags."""
    servers = list(cloud.servers.get(launch.node_id, ()))
    known = cloud.by_external_id.get(str(launch.external_id))
    if known is not None and known not in servers:
        servers.append(known)
    return servers


def _shares_address(state: State, cloud: Cloud, launch: Launch, server: Server) -> bool:
    """Whether another machine of the pool has the address; of two that come up at once, the older node keeps it.

    One that we look at already keeps it, too. Networks of different pools may have the same addresses.
    """
    for other_id in cloud.by_address.get(address_key(server, launch.pool), ()):
        other = state.mirror.node(other_id)
        younger = other is not None and other.state is NodeState.BUILDING and other_id > launch.node_id
        rival = state.launches.get(other_id)
        is_up = rival is not None and rival.server is not None and not rival.failing
        if other_id != launch.node_id and (is_up or not younger):
            return True
    return False


def _report_ready(state: State, launch: Launch) -> None:
    measures.launch_ended(state, launch, measures.READY)
    address = launch.server.interface_ip if launch.server is not None else None
    state.say(
        Level.INFO,
        f"nodepool.StateMachineNodeLauncher.{launch.provider}",
        f"Node {launch.node_id} is ready: {launch.label.name}, server {launch.external_id}, address {address}",
        node=launch.node_id,
    )


def _report_failure(state: State, launch: Launch) -> None:
    failure = launch.failure or LaunchFailure.UNKNOWN
    measures.launch_ended(state, launch, failure.value)
    state.say(
        Level.WARNING if launch.phase is not Phase.ABORTED else Level.INFO,
        f"nodepool.StateMachineNodeLauncher.{launch.provider}",
        f"Launch attempt {launch.attempt}/{launch.most_attempts} for node {launch.node_id} failed: "
        f"{failure.sentence}{': ' + launch.detail if launch.detail else ''}",
        node=launch.node_id,
    )
    for line in launch.output.splitlines():
        text = f"Ready-check of node {launch.node_id}: {line}"
        state.say(Level.WARNING, f"nodepool.StateMachineNodeLauncher.{launch.provider}", text, node=launch.node_id)
    if failure in _TOLD_BY_CONSOLE and launch.label.console_log and launch.external_id is not None:
        request = state.mirror.request(launch.request_id)
        event_id = request.event_id if request is not None else None
        order = ReadConsole(launch.provider, launch.node_id, launch.external_id, launch.request_id, event_id)
        state.out.append(order)
