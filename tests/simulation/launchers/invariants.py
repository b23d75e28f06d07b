"""What must hold at every moment of a simulation: each transaction is looked at when it is done.

The rules are written down here once more, on purpose: nothing here asks the code that is being tested.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from nodepool.model.resources import Resources
from nodepool.zk import paths
from nodepool.zk.store import Check, Create
from tests.simulation.ensemble import Transaction, Write
from tests.simulation.records import Fields, decoded

if TYPE_CHECKING:
    from tests.simulation.launchers.world import LauncherWorld

MAY_FOLLOW = {
    "init": {"building", "deleting"},
    "building": {"ready", "failed", "aborted", "hold", "deleting"},
    "ready": {"deleting"},
    "in-use": {"deleting"},
    "used": {"deleting"},
    "hold": {"deleting"},
    "failed": {"deleting"},
    "aborted": {"deleting"},
    "deleting": {"deleted"},
    "deleted": set(),
}
"""What a launcher may make of a node (spec zookeeper 5.2)."""
REQUEST_MAY_FOLLOW = {
    "requested": {"requested", "pending", "fulfilled", "failed"},
    "pending": {"requested", "fulfilled", "failed"},
    "fulfilled": set(),
    "failed": set(),
}
"""What a launcher may make of a request (spec zookeeper 5.1); ready nodes fulfil it in the step that takes it."""
REQUIRED = {"state", "state_time", "event_id", "requestor", "requestor_data", "node_types", "provider"}
"""Keys without which Zuul cannot read a request (spec zookeeper 4.2)."""
OURS = {"state", "state_time", "declined_by", "nodes"}
"""Keys of a request that a launcher changes."""
OCCUPYING = {"ready", "in-use", "hold"}
"""States in which somebody may work on a registered host, now or later."""
HELD_BY_US = "keep-failed: "
"""How the comment begins of a failed machine that is held for study."""
SETTLED = 30.0
"""Seconds in which launchers that work see to it that there are not more of them than there may be."""
REGISTRATION_GRACE = 10.0
"""Seconds within which a launcher need not know of a new pool."""


class Invariants:
    """Watches a world, and reports to it."""

    def __init__(self, world: LauncherWorld) -> None:
        self.world = world
        self._report = world.report
        self._using: dict[str, str] = {}
        """Node to the client that has it."""
        self._made: set[str] = set()
        """Nodes that a launcher has made and not yet removed."""
        self._too_many: dict[tuple[str, str], float] = {}
        """Provider and label to the time since when too many failed machines are held."""
        world.ensemble.observers.append(self._look)

    def enter(self, node_id: str, client: str) -> None:
        """A client has a node."""
        if node_id in self._using:
            self._report(f"{client} has node {node_id}, which {self._using[node_id]} has")
        self._using[node_id] = client

    def leave(self, node_id: str, client: str) -> None:
        """A client has a node no more."""
        if self._using.get(node_id) == client:
            del self._using[node_id]

    # Transactions

    def _look(self, transaction: Transaction) -> None:
        launcher = self.world.sessions.get(transaction.session)
        if launcher is None:
            return
        if not self.world.ensemble.is_alive(transaction.session):
            self._report(f"{launcher} writes in session {transaction.session}, which is over")
        self._look_at_fences(launcher, transaction)
        for write in transaction.nodes:
            self._look_at_node(launcher, transaction.session, write)
        for write in transaction.requests:
            self._look_at_request(launcher, transaction.session, write)
        if any(isinstance(operation, Create) and operation.sequence for operation in transaction.operations):
            self._look_at_limits(launcher, transaction)
        if transaction.nodes:
            self._look_at_slots()

    def _look_at_fences(self, launcher: str, transaction: Transaction) -> None:
        """What was decided in one session is not done in another."""
        for operation in transaction.operations:
            if isinstance(operation, Check) and operation.path.startswith(paths.components("launcher")):
                fence = self.world.ensemble.read(operation.path)
                if fence is None or fence.ephemeral_owner != transaction.session:
                    self._report(f"{launcher} does in session {transaction.session} what it decided before that")

    def _look_at_node(self, launcher: str, session: int, write: Write) -> None:
        node_id = write.path.rpartition("/")[2]
        before, after = decoded(write.before), decoded(write.after)
        if write.before is None:
            self._made.add(node_id)
            if after.get("state") not in ("init", "ready"):
                self._report(f"{launcher} makes node {node_id} in state {after.get('state')}")
            return
        if write.holders and write.holders[0] != session:
            self._report(f"{launcher} writes node {node_id} ({_change(before, after)}), which somebody else has locked")
        if node_id in self._using:
            self._report(f"{launcher} writes node {node_id} ({_change(before, after)}) of {self._using[node_id]}")
        old, new = before.get("state"), after.get("state")
        if write.after is None:
            self._made.discard(node_id)
            if write.before.data and old not in ("deleting", "deleted"):
                self._report(f"{launcher} removes node {node_id} in state {old}")
        elif old != new and new not in MAY_FOLLOW.get(str(old), set()):
            self._report(f"{launcher} makes of node {node_id} in {old} one in {new}")
        elif old == "building" and new == "hold":
            self._look_at_hold(launcher, session, node_id, after)
        elif old == "ready" and (new, after["allocated_to"]) != (old, before.get("allocated_to")):
            self._look_at_loss(launcher, node_id, before, after)
        elif not before.keys() <= after.keys():
            self._report(f"{launcher} drops keys of node {node_id}: {sorted(before.keys() - after.keys())}")

    def _look_at_hold(self, launcher: str, session: int, node_id: str, node: Fields) -> None:
        """A failed machine is held with a reason and an end, by nobody's lock, and counts for no tenant."""
        self.world.count("failed machines held")
        what = f"{launcher} holds node {node_id}"
        if not str(node.get("comment")).startswith(HELD_BY_US) or not node.get("hold_expiration"):
            self._report(f"{what} with the comment {node.get('comment')} for {node.get('hold_expiration')} s")
        if node["allocated_to"] or node["tenant_name"] or not node["external_id"]:
            self._report(f"{what} for {node['allocated_to']} of {node['tenant_name']}, with {node['external_id']}")
        if session in self.world.ensemble.holders(paths.node_lock(node_id)):
            self._report(f"{what} and keeps it locked")

    def _look_at_loss(self, launcher: str, node_id: str, before: Fields, after: Fields) -> None:
        """A ready node is not taken away from a request that has it, or will have it."""
        request_id = before.get("allocated_to") or ""
        request = decoded(self.world.ensemble.read(paths.request(request_id)))
        if request.get("state") == "pending" or node_id in (request.get("nodes") or ()):
            what = f"{after['state']} for {after['allocated_to']}"
            self._report(f"{launcher} takes node {node_id} away from {request['state']} {request_id}: {what}")

    def _look_at_request(self, launcher: str, session: int, write: Write) -> None:
        request_id = write.path.rpartition("/")[2]
        before, after = decoded(write.before), decoded(write.after)
        if write.before is None or write.after is None:
            if "NodePool:min-ready" not in (before.get("requestor"), after.get("requestor")):
                self._report(f"{launcher} makes or removes the request {request_id} of somebody else")
            return
        if write.holders and write.holders[0] != session:
            self._report(f"{launcher} writes request {request_id}, which somebody else has locked")
        old, new = before["state"], after["state"]
        if new not in REQUEST_MAY_FOLLOW[old]:
            self._report(f"{launcher} makes of request {request_id} in {old} one in {new}")
        changed = [key for key, value in before.items() if key not in OURS and after.get(key) != value]
        if changed or not after.keys() >= REQUIRED:
            self._report(f"{launcher} spoils request {request_id}: {changed}, {sorted(REQUIRED - after.keys())}")
        self._look_at_refusals(launcher, request_id, before, after)
        if new == "fulfilled":
            self._look_at_fulfilment(launcher, session, request_id, after)

    def _look_at_refusals(self, launcher: str, request_id: str, before: Fields, after: Fields) -> None:
        known, declined = before.get("declined_by") or [], after.get("declined_by") or []
        added = declined[len(known) :]
        if declined[: len(known)] != known or not all(one.startswith(f"{launcher}-") for one in added):
            self._report(f"{launcher} makes of the refusals {known} of request {request_id}: {declined}")
        for one in added:
            if (request_id, one) not in self.world.declines:
                self._report(f"{launcher} declines request {request_id} for {one} without a reason")
        if after["state"] == "failed":
            pools = self.world.pools(older_than=REGISTRATION_GRACE)
            if not pools.keys() <= set(declined):
                self._report(f"{launcher} fails request {request_id}, not declined by {pools.keys() - set(declined)}")

    def _look_at_fulfilment(self, launcher: str, session: int, request_id: str, request: Fields) -> None:
        if len(request["nodes"]) != len(request["node_types"]) or len(set(request["nodes"])) != len(request["nodes"]):
            self._report(f"{launcher} fulfils {request_id} ({request['node_types']}) with {request['nodes']}")
        for label, node_id in zip(request["node_types"], request["nodes"], strict=False):
            node = decoded(self.world.ensemble.read(paths.node(node_id)))
            what = f"{launcher} fulfils {request_id} with node {node_id}"
            if node.get("state") != "ready" or node.get("allocated_to") != request_id:
                self._report(f"{what}, which is {node.get('state')} and allocated to {node.get('allocated_to')}")
            elif label not in node["type"]:
                self._report(f"{what} for {label}, which is {node['type']}")
            elif node_id not in self.world.died and not self.world.has_server(node_id, node):
                self._report(f"{what}, which has no server")
            if session in self.world.ensemble.holders(paths.node_lock(node_id)):
                self._report(f"{what} and keeps it locked")
            for defect in self.world.defects(node_id, node):
                self._report(f"{what}, {defect}")

    # Limits

    def _look_at_limits(self, launcher: str, transaction: Transaction) -> None:
        """A single launcher knows of all that uses something, and so never exceeds a limit."""
        created = [write for write in transaction.nodes if write.before is None]
        if not created or len(self.world.scenario.launchers) > 1:
            return
        nodes = [decoded(self.world.ensemble.read(paths.node(node_id))) for node_id in self._made]
        for plan in self.world.scenario.clouds:
            for pool in plan.settings.pools.values():
                of_pool = [n for n in nodes if (n.get("provider"), n.get("pool")) == (plan.settings.name, pool.name)]
                self._compare(launcher, f"pool {plan.settings.name}-{pool.name}", of_pool, pool.limits)
        for tenant, limits in self.world.scenario.tenant_limits.items():
            self._compare(launcher, f"tenant {tenant}", [n for n in nodes if n.get("tenant_name") == tenant], limits)

    def _compare(self, launcher: str, what: str, nodes: list[Fields], limits: Resources) -> None:
        used = Resources.total(self.world.cost_of(node) for node in nodes)
        if not used.fits_in(limits):
            self._report(f"{launcher} exceeds the limits of {what}: {used} of {limits}")

    def _look_at_slots(self) -> None:
        statics = {plan.settings.name for plan in self.world.scenario.statics}
        if not statics:
            return
        seats: Counter[tuple[str, str, int]] = Counter()
        for node_id in self.world.ensemble.children(paths.NODES) or ():
            node = decoded(self.world.ensemble.read(paths.node(node_id)))
            if node.get("provider") in statics and node.get("state") in OCCUPYING and "slot" in node:
                seats[node["provider"], node["hostname"], node["slot"]] += 1
        for seat, count in seats.items():
            if count > 1:
                self._report(f"{count} usable records for slot {seat}")

    # Clouds

    def look_at_clouds(self) -> None:
        """A node has one living server, unless it is unknown what became of a call."""
        for project, cloud in self.world.clouds.items():
            counts = Counter(server.tags.get("nodepool_node_id", "") for server in cloud.alive())
            uncertain = {node_id for adapter in self.world.adapters.values() for node_id in adapter.uncertain}
            for node_id, count in counts.items():
                if node_id and count > 1 and node_id not in uncertain:
                    self._report(f"{count} servers of node {node_id} in {project}")

    def look_at_held_nodes(self) -> None:
        """Failed machines that are held exist, and there are not more of them than there may be for long."""
        now, counts = self.world.clock.now, Counter[tuple[str, str]]()
        for node_id in self.world.ensemble.children(paths.NODES) or ():
            node = decoded(self.world.ensemble.read(paths.node(node_id)))
            if node.get("state") == "hold" and str(node.get("comment")).startswith(HELD_BY_US):
                counts[node["provider"], node["type"][0]] += 1
                doubtful = self.world.scenario.rude or node_id in self.world.died
                if not doubtful and not self.world.is_untouched(node):
                    self._report(f"node {node_id} is held and has no server")
        self._too_many = {
            key: self._too_many.get(key, now)
            for key, held in counts.items()
            if held > self.world.scenario.most_held(*key) and self.world.attends_to_held_nodes(*key)
        }
        for key, since in self._too_many.items():
            if now > since + SETTLED:
                self._report(f"{counts[key]} failed machines of {key} are held")


def _change(before: Fields, after: Fields) -> str:
    return f"{before.get('state')} to {after.get('state') or 'nothing'}"
