"""Requestors: Zuul and the Jenkins plug-in as they behave at the wire (spec zookeeper 9.1 and 9.2)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nodepool.zk import paths
from nodepool.zk.store import Create, Delete
from tests.simulation.launchers.actors import Actor, Life
from tests.simulation.launchers.scenario import UNKNOWN_LABEL
from tests.simulation.records import Fields

if TYPE_CHECKING:
    from tests.simulation.launchers.world import LauncherWorld

TRACE_ID = 312312644215438567100414707468360678011
"""Zuul's trace ids have up to 128 bits."""
JENKINS_KEYS = (
    "state", "state_time", "cloud", "provider", "pool", "type", "allocated_to", "az", "region", "public_ipv4",
    "private_ipv4", "public_ipv6", "host_id", "interface_ip", "connection_type", "connection_port", "ssh_port",
    "username", "host_keys", "image_id", "launcher", "created_time", "external_id", "hostname", "comment",
    "hold_job", "hold_expiration",
)  # fmt: skip


class Client(Actor):
    """What all requestors have in common: a request, its nodes, and the locks on them."""

    def __init__(self, world: LauncherWorld, name: str) -> None:
        super().__init__(world, name)
        self.request = ""
        self.labels: list[str] = []
        self.held: dict[str, str] = {}
        """Node id to our contender."""
        self.records: dict[str, Fields] = {}
        self.cancelled = False

    def crash(self) -> None:
        """The process is gone, and its session a while later."""
        if self.ended or not self.session:
            return
        self.ended = True
        self.say("crashes")
        self.world.clock.schedule(self.chance.choice((0.0, 10.0)), self._expire)

    def session_gone(self) -> None:
        """Nothing is ours any more."""
        self._expire()

    def _expire(self) -> None:
        for node_id in self.held:
            self.world.invariants.leave(node_id, self.name)
        self.world.ensemble.expire(self.session)
        self.world.clock.schedule(self.chance.uniform(0.0, 40.0), self.delete_request)

    def delete_request(self) -> None:
        """No lock, no state, whoever we are."""
        if self.request:
            self.world.ensemble.commit([Delete(self.request)])

    def cancel(self) -> None:
        """Want it no more."""
        if not self.ended and self.request:
            self.cancelled = True
            self.say("cancels")
            self.delete_request()

    def request_id(self) -> str:
        """Id of our request."""
        return self.request.rpartition("/")[2]

    def decision(self) -> Life[Fields | None]:
        """Wait until the request is fulfilled or failed; None if it is gone."""
        version = -1
        while True:
            datum = self.world.ensemble.read(self.request)
            if datum is None:
                return None
            if datum.version != version:
                version = datum.version
                record: Fields = json.loads(datum.data)
                if record["state"] in ("fulfilled", "failed"):
                    return record
            yield self.chance.uniform(0.1, 0.8)

    def take(self, node_id: str, patience: float) -> Life[bool]:
        """Lock a node that was read before."""
        contender = yield from self.lock(paths.node_lock(node_id), patience)
        if contender is None:
            return False
        self.held[node_id] = contender
        self.world.invariants.enter(node_id, self.name)
        return True

    def let_go(self) -> None:
        """Unlock everything."""
        for node_id, contender in self.held.items():
            self.world.invariants.leave(node_id, self.name)
            self.unlock(contender)
        self.held.clear()

    def set_state(self, node_id: str, state: str, **changes: object) -> None:
        """Write our copy of a node, whatever there is by now."""
        self.records[node_id].update(state=state, state_time=self.world.clock.now, **changes)
        self.write(paths.node(node_id), self.records[node_id])


class Zuul(Client):
    """One job of a Zuul."""

    def life(self) -> Life[None]:
        """From the request to the return of the nodes."""
        yield self.chance.uniform(0.0, self.world.scenario.trouble)
        self._submit()
        self._plan_trouble()
        record = yield from self.decision()
        if record is None:
            return
        self.world.count(f"zuul {record['state']}")
        if record["state"] == "failed":
            self.delete_request()
            return
        self.open_session()
        yield self.moment(self.chance.choice((0.05, 3.0)))
        if (yield from self._accept(record)):
            yield from self._work()
        self.let_go()
        self.close_session()

    def _submit(self) -> None:
        chance, scenario = self.chance, self.world.scenario
        count = chance.choice((1, 1, 1, 1, 1, 2, 2, 3, 4))
        names = [UNKNOWN_LABEL] if chance.random() < 0.03 else sorted(chance.choice(scenario.pools).labels)
        if chance.random() < 0.1:
            names = sorted(scenario.all_labels)
        self.labels = [chance.choice(names) for _ in range(count)]
        fields = {
            "requestor_data": {"build_set_uuid": self.name, "span_info": {"trace_id": TRACE_ID}},
            "node_types": self.labels,
            "requestor": "zuul",
            "created_time": self.world.clock.now,
            "provider": chance.choice(scenario.providers).settings.name if chance.random() < 0.1 else None,
            "state": "requested",
            "state_time": self.world.clock.now,
            "relative_priority": chance.randint(0, 3),
            "event_id": f"{chance.getrandbits(64):x}",
            "tenant_name": chance.choice(("limited", "other")),
        }
        prefix = f"{paths.REQUESTS}/{chance.choice(('100', '199', '200', '300'))}-"
        created = self.world.ensemble.commit([Create(prefix, json.dumps(fields).encode(), sequence=True)])
        self.request = str(getattr(created, "results", ("",))[0])
        self.say(f"asks for {self.labels} as {self.request_id()}")

    def _plan_trouble(self) -> None:
        if self.chance.random() < 0.2:
            self.world.clock.schedule(self.chance.choice((0.02, 0.5, 5.0, 60.0)) * self.chance.random(), self.cancel)
        if self.chance.random() < 0.15:
            self.world.clock.schedule(self.chance.uniform(0.0, 90.0), self.crash)

    def _accept(self, record: Fields) -> Life[bool]:
        """Check and lock each node in order, then delete the request; whether all of them are ours."""
        complete = True
        for label, node_id in zip(self.labels, record["nodes"], strict=True):
            node = self.read(paths.node(node_id))
            if node is None or node.get("allocated_to") != self.request_id():
                complete = False
                break
            if label not in node["type"] and not self.world.scenario.rude:
                self.world.report(f"{self.name} asked for {label} and got {node_id} with {node['type']}")
            self.records[node_id] = node
            if not (yield from self.take(node_id, 30.0)):
                complete = False
                break
        self.delete_request()
        self.say(f"has locked {sorted(self.held)}" if complete else "did not get its nodes")
        self.world.count("zuul accepted" if complete else "zuul rejected")
        return complete

    def _work(self) -> Life[None]:
        yield self.moment(0.5 if self.world.calm else self.chance.choice((0.5, 5.0, 50.0)))
        if self.cancelled or self.chance.random() < 0.1:
            return
        for node_id in self.held:
            self.set_state(node_id, "in-use", user_data={"zuul_system": "z", "project_name": "p"})
            yield self.moment()
        self.say("works")
        yield self.moment(1.0 if self.world.calm else self.chance.choice((1.0, 10.0, 60.0)))
        hold = self.chance.random() < 0.1 and not self.world.calm
        for node_id in self.held:
            if hold:
                expiration = self.chance.choice((None, 20))
                self.set_state(node_id, "hold", hold_job="t p j r", comment="held", hold_expiration=expiration)
            else:
                self.set_state(node_id, "used")
            yield self.moment()
        self.say("holds its nodes" if hold else "is done")


class Jenkins(Client):
    """One build of a Jenkins: it writes before it locks, and only the keys that it knows."""

    def life(self) -> Life[None]:
        """From the request to the return of the node."""
        yield self.chance.uniform(0.0, self.world.scenario.trouble)
        self.open_session()
        self._submit()
        if self.chance.random() < 0.15:
            self.world.clock.schedule(self.chance.uniform(0.0, 90.0), self.crash)
        record = yield from self.decision()
        if record is not None:
            self.world.count(f"jenkins {record['state']}")
        if record is not None and record["state"] == "fulfilled":
            yield from self._use(record["nodes"][0])
        self.let_go()
        self.close_session()

    def _submit(self) -> None:
        self.labels = [self.chance.choice(sorted(self.chance.choice(self.world.scenario.pools).labels))]
        fields = {
            "node_types": self.labels,
            "declined_by": [],
            "state_time": self.world.clock.now,
            "reuse": True,
            "requestor": "jenkins",
            "state": "requested",
            "nodes": [],
            "jenkins_label": f"nodepool-{self.labels[0]}",
            "build_id": self.name,
        }
        creation = Create(f"{paths.REQUESTS}/500-", json.dumps(fields).encode(), ephemeral=True, sequence=True)
        self.request = str(getattr(self.commit(creation), "results", ("",))[0])
        self.say(f"asks for {self.labels} as {self.request_id()}")

    def _use(self, node_id: str) -> Life[None]:
        yield self.moment(2.0)
        node = self.read(paths.node(node_id))
        if node is None or node.get("allocated_to") != self.request_id():
            self.delete_request()
            return
        yield self.moment()
        stripped = {key: node[key] for key in JENKINS_KEYS if node.get(key) is not None}
        self.records[node_id] = {**stripped, "build_id": self.name}
        self.write(paths.node(node_id), self.records[node_id])
        yield self.moment()
        taken = yield from self.take(node_id, 60.0)
        self.delete_request()
        if not taken:
            return
        self.say(f"has locked {node_id}")
        self.world.count("jenkins accepted")
        self._set(node_id, state="in-use")
        yield self.moment(1.0 if self.world.calm else 30.0)
        if self.chance.random() < 0.15 and not self.world.calm:
            later = int(self.world.clock.now * 1000)
            self._set(node_id, state="hold", comment="Jenkins hold", hold_job=self.name, hold_expiration=later)
        else:
            self._set(node_id, state="used")
        yield self.moment()

    def _set(self, node_id: str, **changes: object) -> None:
        """The state changes, and ``state_time`` does not."""
        self.records[node_id].update(changes)
        self.write(paths.node(node_id), self.records[node_id])
