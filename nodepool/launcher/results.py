"""Takes over what happened: news of ZooKeeper, ends of transactions, answers of clouds, looks at hosts.

Runs on the decision thread; no I/O. Nothing is decided here: what an event touches is marked for a look.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import partial

from nodepool.daemon.events import CensusAsked, CommitEnded, Configured, News, SessionChanged
from nodepool.daemon.instructions import Commit, Level
from nodepool.launcher import (
    admission,
    ceiling,
    census,
    claims,
    deletions,
    health,
    hosts,
    housekeeping,
    keeping,
    launches,
    leftovers,
    lifecycle,
    losses,
    measures,
    session,
    successors,
)
from nodepool.launcher.clouds import Cloud, active_servers, sort_servers
from nodepool.launcher.events import (
    CheckEnded,
    CreateEnded,
    DeleteEnded,
    Event,
    FinishEnded,
    HealthChanged,
    LeftoverRemoved,
    LeftoversFound,
    LimitsRead,
    ScanEnded,
    ServersListed,
    Stopping,
)
from nodepool.launcher.instructions import Purpose
from nodepool.launcher.state import State
from nodepool.model.node import Node
from nodepool.model.request import NodeRequest
from nodepool.model.states import RequestState
from nodepool.telemetry.facts import LeakRemoved
from nodepool.zk import paths
from nodepool.zk.mirror import Entry
from nodepool.zk.store import Committed, Create, Datum, Operation, Refused
from nodepool.zk.written import written


def take(state: State, event: Event) -> None:
    """Take over one event."""
    match event:
        case SessionChanged(change):
            if state.take_session(change):
                session.forget_work(state)
        case News(batch):
            if batch.session == state.session:
                state.take_over(batch)
                housekeeping.report_broken(state, batch.entries)
                if batch.complete:
                    state.end_doubts()
                    session.look_at_all(state)
        case CommitEnded(commit, outcome):
            if commit.session == state.session:
                _commit_ended(state, commit, outcome)
        case Configured(setup):
            session.configured(state, setup)
        case CensusAsked():
            census.take(state, event)
        case Stopping():
            session.stopping(state)
        case _:
            _take_from_outside(state, event)


def _take_from_outside(state: State, event: Event) -> None:
    match event:
        case HealthChanged():
            health.changed(state, event)
        case ServersListed():
            _listed(state, event)
        case LimitsRead():
            _limits_read(state, event)
        case CreateEnded():
            _created(state, event)
        case FinishEnded():
            _finished(state, event)
        case DeleteEnded():
            _deleted(state, event)
        case LeftoversFound():
            leftovers.found(state, event)
        case LeftoverRemoved():
            leftovers.removed(state, event)
        case ScanEnded(("node", str(node_id)), result):
            launch = state.launches.get(node_id)
            if launch is not None:
                launches.update(state, lifecycle.scanned(launch, result))
        case CheckEnded(("check", str(node_id), int(attempt)), result):
            launch = state.launches.get(node_id)
            if launch is not None and launch.attempt == attempt:
                launches.update(state, lifecycle.checked(launch, result))
        case ScanEnded(("stock", str(provider), key), result):
            hosts.scanned(state, provider, key, result)
        case ScanEnded(("probe", str(node_id)), result):
            hosts.probed(state, node_id, result)


# Transactions


def _commit_ended(state: State, commit: Commit[Purpose, Hashable], outcome: object) -> None:
    request_id = commit.key[1] if isinstance(commit.key, tuple) and commit.key[0] == "request" else ""
    nodes = [("node", node_id) for node_id in state.reserving.pop(str(request_id), [])]
    if commit.purpose is Purpose.FULFIL and request_id in state.claims:
        nodes += [("node", node_id) for node_id in state.claims[request_id].slots if node_id]
    keys: list[Hashable] = [commit.key, *nodes]
    if isinstance(outcome, Committed):
        for key in keys:
            state.free(key)
        state.take_over_own(_written(state, commit.operations, outcome))
        if commit.purpose in (Purpose.TAKE, Purpose.HAND_OVER):
            _report_reused(state, commit.about, [node_id for _, node_id in nodes])
        _done(state, commit, outcome, str(request_id))
    else:
        _not_done(state, commit, outcome, keys)
    state.dirty.update(keys)


def _report_reused(state: State, request: NodeRequest, node_ids: Iterable[str]) -> None:
    for node_id in node_ids:
        text = f"Locked existing node {node_id} for request {request.id}"
        state.say(Level.INFO, "nodepool.driver.NodeRequestHandler", text, request, node_id)


def _not_done(state: State, commit: Commit[Purpose, Hashable], outcome: object, keys: list[Hashable]) -> None:
    """It was refused, or nobody knows."""
    kind, name = commit.key if isinstance(commit.key, tuple) and len(commit.key) == 2 else ("", "")
    refused = isinstance(outcome, Refused)
    if kind == "request":
        state.taking.pop(name, None)
    if commit.purpose is Purpose.REGISTER and not refused and isinstance(commit.key, tuple):
        state.hosts.resigning.add(commit.key[1])
    if commit.purpose is Purpose.ELECT:
        state.hosts.joining.discard(name)
    if commit.purpose in (Purpose.KEEP, Purpose.ABANDON) and refused:
        state.planned.pop(name, None)
    elif commit.purpose in (Purpose.KEEP, Purpose.ABANDON):
        # What it was decided by may be old now: its machine may be held, and must not go.
        launches.drop(state, name)
    state.wake(state.put_off(keys, outcome), "admission")
    request = state.mirror.request(name) if kind == "request" else None
    text = f"Could not {commit.purpose.value}: {outcome}"
    state.say(Level.DEBUG, "nodepool.launcher", text, request, name if kind == "node" else "")


def _done(state: State, commit: Commit[Purpose, Hashable], outcome: Committed, request_id: str) -> None:
    match commit.purpose:
        case Purpose.TAKE:
            request = state.mirror.request(request_id)
            created = [
                str(result)
                for operation, result in zip(commit.operations, outcome.results, strict=True)
                if isinstance(operation, Create) and operation.path == "/nodepool/nodes/"
            ]
            if request is not None:
                claims.begin(state, admission.taken(state, request, created))
        case Purpose.KEEP | Purpose.ABANDON if isinstance(commit.key, tuple):
            node_id = str(commit.key[1])
            made = [str(result) for result in outcome.results if str(result).startswith(f"{paths.NODES}/")]
            if commit.purpose is Purpose.KEEP:
                keeping.held(state, node_id)
            successors.took_over(state, node_id, made[0].rpartition("/")[2] if made else None)
        case Purpose.HAND_OVER | Purpose.FULFIL:
            # As it was written: by now its requestor may have deleted it.
            fulfilled: NodeRequest = commit.about
            text = f"Fulfilled node request: {', '.join(fulfilled.nodes)}"
            state.say(Level.INFO, "nodepool.driver.NodeRequestHandler", text, fulfilled)
            measures.request_ended(state, fulfilled)
        case Purpose.DECLINE:
            request = state.mirror.request(request_id)
            if request is not None and request.state is RequestState.FAILED:
                measures.request_ended(state, request)
        case Purpose.MARK if isinstance(commit.key, tuple):
            deletion = state.deletions.get(commit.key[1])
            if deletion is not None:
                deletion.calls_ended = max(deletion.calls_ended, state.now)
        case Purpose.REGISTER | Purpose.ELECT:
            state.dirty.update(("stock", provider) for provider in state.setup.providers)


def _written(state: State, operations: tuple[Operation, ...], outcome: Committed) -> dict[str, Datum | None]:
    """What a transaction of ours left in ZooKeeper, elections aside: who leads must know all that was done before."""
    entries = written(operations, outcome, partial(_entry, state), state.now, state.session)
    return {path: entry for path, entry in entries.items() if not path.startswith(f"{paths.ELECTIONS}/")}


def _entry(state: State, path: str) -> Entry[Node] | Entry[NodeRequest] | None:
    kind, _, name = path.removeprefix("/nodepool/").partition("/")
    return state.mirror.nodes.get(name) if kind == "nodes" else state.mirror.requests.get(name)


# Clouds


def _listed(state: State, event: ServersListed) -> None:
    cloud = state.clouds.setdefault(event.provider, Cloud())
    cloud.list_asked = False
    if event.error is not None:
        health.failed(state, event.provider, "servers", event.error)
        if not cloud.list_began:
            cloud.list_asked = True
            state.list_servers(event.provider)
        return
    health.worked(state, event.provider, "servers")
    provider = state.setup.providers.get(event.provider)
    first, before = not cloud.list_began, (cloud.foreign_use, cloud.strays)
    cloud.list_began = event.began
    sort_servers(cloud, event.provider, event.servers, state.mirror.nodes)
    believed = cloud.ceilings.get(None)
    if believed is not None and event.began > believed.refused:
        cloud.ceilings[None] = ceiling.proved(believed, active_servers(cloud))
    if first or before != (cloud.foreign_use, cloud.strays):
        state.dirty.update({"admission", "min-ready"})
    lag = lifecycle.Lag(provider.list_lag, provider.doubt) if provider else lifecycle.Lag()
    for launch in list(state.launches.values()):
        if launch.provider == event.provider and launch.phase in launches.HEEDS_LISTS:
            launches.look_at_list(state, cloud, launch, lag)
    state.dirty.update(("node", node_id) for node_id in cloud.waiting if launches.needs_lists(state, node_id))
    losses.look(state, event.provider, cloud)
    session.look_for_leaks(state, event.provider, cloud)


def _limits_read(state: State, event: LimitsRead) -> None:
    provider, cloud = event.provider, state.clouds.setdefault(event.provider, Cloud())
    if event.error is not None:
        cloud.limits_read = 0.0
        state.wake(state.now + 5.0, ("limits", provider))
        health.failed(state, provider, "limits", event.error)
        return
    health.worked(state, provider, "limits")
    first = cloud.limits is None
    if cloud.limits != event.limits:
        cloud.ceilings.clear()
    cloud.limits = event.limits
    # The driver has looked for what its labels need, too.
    for label in [label for label in state.broken_labels if label[0] == provider]:
        del state.broken_labels[label]
    if first:
        # What a node costs is known now: until it was, each counted as one instance.
        for node_id in list(state.index.of_provider(provider)):
            state.reindex(node_id)
    state.dirty.update({"admission", "min-ready"})


def _created(state: State, event: CreateEnded) -> None:
    state.creating.discard(event.node_id)
    launch = state.launches.get(event.node_id)
    if launch is not None and launch.attempt == event.attempt:
        launches.update(state, lifecycle.created(launch, event.external_id, event.error, event.ended))
        return
    deletion = state.deletions.get(event.node_id)
    if deletion is not None:
        deletion.calls_ended = max(deletion.calls_ended, event.ended)
        state.dirty.add(("node", event.node_id))
    elif event.external_id is not None:
        state.unclaimed[event.node_id] = (event.provider, event.external_id)
        state.dirty.add(("node", event.node_id))


def _finished(state: State, event: FinishEnded) -> None:
    launch = state.launches.get(event.node_id)
    if launch is not None and launch.attempt == event.attempt:
        judge = partial(launches.judge, state, launch)
        launches.update(state, lifecycle.finish_ended(launch, event.server, event.error, state.now, judge))


def _deleted(state: State, event: DeleteEnded) -> None:
    if not event.node_id and event.error is None:
        state.measure(LeakRemoved(event.provider, "instances"))
    deletion = state.deletions.get(event.node_id)
    if deletion is not None:
        deletions.call_ended(state, deletion, event.error, event.ended)
        state.dirty.add(("node", event.node_id))
