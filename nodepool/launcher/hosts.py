"""Keeps registered hosts registered: carries out what a driver's stock plans (spec launcher 3.5).

Runs on the decision thread; no I/O. One launcher per provider acts, the winner of an election whose contender every
registration checks: so no slot is ever registered twice.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from nodepool.daemon.instructions import Level
from nodepool.driver.nodescan import ScanResult
from nodepool.driver.stock import Deregister, Register, Scan, Scanned, StockAction, StockNode, Update
from nodepool.launcher import deletions
from nodepool.launcher.admission import ANSWER_HOLDS
from nodepool.launcher.instructions import Purpose, StartScan
from nodepool.launcher.setup import ProviderSetup
from nodepool.launcher.state import State
from nodepool.model.reasons import DeleteReason
from nodepool.zk import paths
from nodepool.zk.contenders import queue
from nodepool.zk.store import Check, Create, Delete, Operation, SetData


def step(state: State, provider: ProviderSetup) -> None:
    """Do what the stock of a provider needs now."""
    if provider.stock is None or state.stopping or not state.setup.pools_of(provider.name):
        return
    leader = _leader_contender(state, provider.name)
    if leader is None:
        return
    nodes = [
        StockNode(node, bool(state.mirror.node_locks.get(node.id)) or ("node", node.id) in state.busy)
        for node in map(state.mirror.node, list(state.index.of_provider(provider.name)))
        if node is not None
    ]
    plan = provider.stock.plan(nodes, state.hosts.scans.setdefault(provider.name, {}), state.now)
    _report_unregistered(state, provider.name, plan.unregistered)
    for action in plan.actions:
        _carry_out(state, provider.name, action, leader)
    state.wake_by(plan.wake, ("stock", provider.name))


def scanned(state: State, provider: str, key: Hashable, result: ScanResult) -> None:
    """A look at a host ended."""
    state.hosts.scanning.discard((provider, key))
    scans = state.hosts.scans.setdefault(provider, {})
    before = scans[key].failures if key in scans else 0
    failures = 0 if result.failure is None else before + 1
    scans[key] = Scanned(replace(result, key=key), state.now, failures)
    state.dirty.add(("stock", provider))


def probed(state: State, node_id: str, result: ScanResult) -> None:
    """A look at a host before it is handed out ended."""
    state.hosts.probing.pop(node_id, None)
    node = state.mirror.node(node_id)
    if result.failure is None:
        state.hosts.answered[node_id] = state.now + ANSWER_HOLDS
    elif node is not None and state.is_free(node) and node_id not in state.deletions:
        state.say(
            Level.WARNING, "nodepool.driver.static", f"Host of node {node_id} is gone: {result.detail}", node=node_id
        )
        deletions.begin(state, node, DeleteReason.DEREGISTERED)
    state.dirty.add("admission")
    if node is not None and node.provider is not None:
        state.dirty.add(("stock", node.provider))


def _report_unregistered(state: State, provider: str, hosts: Mapping[str, str | None]) -> None:
    """Say once why a host is not registered, and when it is again."""
    before = state.hosts.unregistered.get(provider, {})
    logger = f"nodepool.driver.static.{provider}"
    told: dict[str, str] = {}
    for host, reason in hosts.items():
        if reason is not None and before.get(host) != reason:
            state.say(Level.WARNING, logger, f"Host {host} is not registered: {reason}")
        if known := reason or before.get(host):
            told[host] = known
    for host in before.keys() - hosts.keys():
        state.say(Level.INFO, logger, f"Host {host} can be registered again")
    state.hosts.unregistered[provider] = told


def _leader_contender(state: State, provider: str) -> str | None:
    """Path of our contender if we are the one who registers, else None; takes part in the election.

    Whether we lead is told by the feed alone: so whatever an earlier leader did is in the mirror by then.
    """
    directory = paths.election(f"static-{provider}")
    contenders = state.mirror.elections.get(f"static-{provider}")
    order = queue(contenders or ())
    ours = [name for name in order if name.startswith(state.contender_path)]
    if provider in state.hosts.resigning:
        _resign(state, provider, [f"{directory}/{name}" for name in ours])
    elif ours:
        state.hosts.joining.discard(provider)
        return f"{directory}/{ours[0]}" if order[0] == ours[0] else None
    elif provider not in state.hosts.joining:
        state.hosts.joining.add(provider)
        make: tuple[Operation, ...] = () if contenders is not None else (Create(directory),)
        take = (*make, Create(f"{directory}/{state.contender_path}", ephemeral=True, sequence=True))
        state.commit(Purpose.ELECT, ("election", provider), take)
    return None


def _resign(state: State, provider: str, ours: Sequence[str]) -> None:
    """Give up the lead, and begin anew when the feed shows that.

    A registration that was sent before and is still on its way fails then, and one that was done is in the mirror.
    """
    if not ours:
        state.hosts.resigning.discard(provider)
        state.dirty.add(("stock", provider))
    elif ("election", provider) not in state.busy:
        state.commit(Purpose.UNLOCK, ("election", provider), [Delete(path) for path in ours])


def _carry_out(state: State, provider: str, action: StockAction, leader: str) -> None:
    match action:
        case Scan(request):
            if (provider, request.key) not in state.hosts.scanning:
                state.hosts.scanning.add((provider, request.key))
                state.out.append(StartScan(replace(request, key=("stock", provider, request.key))))
        case Register(key, node):
            if ("slot", provider, key) not in state.busy:
                create = Create(paths.NODES + "/", node.to_json(), sequence=True)
                state.commit(Purpose.REGISTER, ("slot", provider, key), (Check(leader), create))
        case Deregister(node_id, reason):
            surplus = state.mirror.node(node_id)
            if surplus is not None and ("node", node_id) not in state.busy and node_id not in state.deletions:
                state.say(Level.INFO, f"nodepool.driver.static.{provider}", f"Deregistering: {reason}", None, node_id)
                deletions.begin(state, surplus, DeleteReason.DEREGISTERED)
        case Update(changed):
            if ("node", changed.id) not in state.busy:
                write = SetData(paths.node(changed.id), changed.to_json(), state.node_version(changed.id))
                take = (Check(leader), *state.seize_node(changed.id))
                state.commit(Purpose.UPDATE, ("node", changed.id), (*take, write))
