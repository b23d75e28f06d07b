"""Others who write: the scheduler that revises priorities, an operator, a janitor without manners, the holds' end."""

from __future__ import annotations

import json
from contextlib import suppress

from nodepool.driver.adapter import NODE_TAG
from nodepool.driver.errors import CloudError
from nodepool.model.resources import Resources
from nodepool.zk import paths
from nodepool.zk.store import Create, Delete, SetData
from tests.simulation.launchers.actors import Actor, Life
from tests.simulation.records import Fields


class Scheduler(Actor):
    """Revises the relative priority of waiting requests (spec zookeeper 9.1, row 10)."""

    def life(self) -> Life[None]:
        """Now and then."""
        self.open_session()
        while not self.world.calm:
            yield self.chance.expovariate(1 / 5.0)
            names = self.world.ensemble.children(paths.REQUESTS) or ()
            if names:
                yield from self._revise(self.chance.choice(names))

    def _revise(self, request_id: str) -> Life[None]:
        record, datum = self.read(paths.request(request_id)), self.world.ensemble.read(paths.request(request_id))
        if datum is None or record is None or record["state"] != "requested" or record.get("requestor") != "zuul":
            return
        contender = yield from self.lock(paths.request_lock(request_id), 0.0)
        if contender is None:
            return
        yield self.moment()
        record["relative_priority"] = self.chance.randint(0, 5)
        self.commit(SetData(paths.request(request_id), json.dumps(record).encode(), datum.version))
        yield self.moment()
        self.unlock(contender)


class Operator(Actor):
    """Holds and deletes nodes, under their lock (spec cli: ``hold``, ``delete``)."""

    def life(self) -> Life[None]:
        """Now and then."""
        self.open_session()
        while not self.world.calm:
            yield self.chance.expovariate(1 / 12.0)
            names = self.world.ensemble.children(paths.NODES) or ()
            if names:
                yield from self._handle(self.chance.choice(names))

    def _handle(self, node_id: str) -> Life[None]:
        if not _is_idle(self.read(paths.node(node_id))):
            return
        contender = yield from self.lock(paths.node_lock(node_id), 5.0)
        if contender is None:
            return
        node, datum = self.read(paths.node(node_id)), self.world.ensemble.read(paths.node(node_id))
        if node is not None and datum is not None and _is_idle(node):
            state = self.chance.choice(("hold", "deleting"))
            node.update(state=state, state_time=self.world.clock.now, comment="by hand")
            yield self.moment()
            self.write(paths.node(node_id), node, datum.version)
            self.say(f"sets {node_id} to {state}")
            self.world.count("operator's orders")
        yield self.moment()
        self.unlock(contender)


def _is_idle(node: Fields | None) -> bool:
    return node is not None and (node["state"] == "hold" or (node["state"] == "ready" and not node.get("allocated_to")))


class Janitor(Actor):
    """Sets nodes to ``used`` without asking anybody, as Jenkins' does (spec zookeeper 9.2, row 7)."""

    def life(self) -> Life[None]:
        """Now and then."""
        while not self.world.calm:
            yield self.chance.expovariate(1 / self.chance.choice((2.0, 15.0)))
            names = self.world.ensemble.children(paths.NODES) or ()
            if not names:
                continue
            node_id = self.chance.choice(names)
            node = self.read(paths.node(node_id))
            if node is None:
                continue
            yield self.moment(self.chance.choice((0.01, 0.5)))
            state, node["state"] = node["state"], "used"
            if self.write(paths.node(node_id), node):
                self.say(f"sets {node_id} from {state} to used")
                self.world.count(f"janitor on {state}")


class Vandal(Actor):
    """Leaves records that nobody can read, and takes them away when everything is calm."""

    def life(self) -> Life[None]:
        """Now and then."""
        made: list[str] = []
        while not self.world.calm:
            yield self.chance.expovariate(1 / 15.0)
            parent = self.chance.choice((f"{paths.REQUESTS}/100-", f"{paths.REQUESTS}/odd", f"{paths.NODES}/"))
            data = self.chance.choice((b"", b"{", b"[]", b"{}", b'{"state": "unheard-of"}', b'{"state": "requested"}'))
            outcome = self.world.ensemble.commit([Create(parent, data, sequence=True)])
            made.append(str(getattr(outcome, "results", ("",))[0]))
            self.say(f"leaves {made[-1]} with {data!r}")
        yield 30.0
        for path in made:
            for name in self.world.ensemble.children(f"{path}/{paths.LOCK}") or ():
                self.world.report(f"somebody has locked {path}, which nobody can read: {name}")
            self.world.ensemble.commit([Delete(f"{path}/{paths.LOCK}")])
            self.world.ensemble.commit([Delete(path)])


class Neighbour(Actor):
    """Makes servers of its own in the clouds that our launchers use."""

    def life(self) -> Life[None]:
        """Now and then; nothing is left in the end."""
        made: list[tuple[str, str]] = []
        while not self.world.calm:
            yield self.chance.expovariate(1 / 8.0)
            project = self.chance.choice(sorted(self.world.clouds))
            if made and self.chance.random() < 0.4:
                self._delete(*made.pop(self.chance.randrange(len(made))))
                continue
            with suppress(CloudError):
                made.append((project, self.world.clouds[project].create({}, Resources(instances=1, cores=2, ram=1))))
                self.say(f"makes a server in {project}")
        yield 20.0
        for project, external_id in made:
            self._delete(project, external_id)
        for project, cloud in self.world.clouds.items():
            for server in cloud.alive():
                if not server.tags:
                    self._delete(project, server.external_id)

    def _delete(self, project: str, external_id: str) -> None:
        with suppress(CloudError):
            self.world.clouds[project].delete(external_id)


class Reaper(Actor):
    """Has machines die that wait to be used: they break, or the cloud's operator removes them."""

    def life(self) -> Life[None]:
        """Now and then."""
        while not self.world.calm:
            yield self.chance.expovariate(1 / 6.0)
            names = [name for name in self.world.ensemble.children(paths.NODES) or () if self._waits(name)]
            if names:
                self._strike(self.chance.choice(names))

    def _waits(self, node_id: str) -> bool:
        node = self.read(paths.node(node_id))
        return node is not None and node["state"] == "ready" and not node.get("allocated_to")

    def _strike(self, node_id: str) -> None:
        for name, project in self.world.projects.items():
            for server in project.cloud.alive():
                if server.tags.get(NODE_TAG) != node_id or node_id in self.world.died:
                    continue
                if self.chance.random() < 0.5:
                    project.cloud.fail(server.external_id)
                else:
                    self.world.remove_machine(name, server.external_id)
                self.world.died.add(node_id)
                self.world.count("machines that died")
                self.say(f"has the machine {server.external_id} of {node_id} die")


class Maintenance(Actor):
    """Drains a provider or a launcher for some time (``nodepool drain``)."""

    def life(self) -> Life[None]:
        """Now and then; at the end nobody is drained."""
        providers = [plan.settings.name for plan in self.world.scenario.clouds]
        while not self.world.calm:
            yield self.chance.expovariate(1 / 15.0)
            names = {"provider": providers, "launcher": sorted(self.world.processes)}
            kind = self.chance.choice([kind for kind, there in names.items() if there] or ["provider"])
            flag = paths.drained(kind, self.chance.choice(names[kind] or ["nobody"]))
            self.make(flag)
            self.world.count(f"drained: a {kind}")
            self.say(f"sets {flag}")
            yield self.chance.uniform(0.1, 40.0)
            self.commit(Delete(flag))
            self.say(f"takes {flag} away")


class Releaser(Actor):
    """Ends all holds, as whoever has asked for them does at last (spec zookeeper 9.1, row 8)."""

    def life(self) -> Life[None]:
        """Once, when everything is calm."""
        self.open_session()
        for _ in range(20):
            yield 20.0
            for node_id in self.world.ensemble.children(paths.NODES) or ():
                yield from self._release(node_id)
        self.close_session()

    def _release(self, node_id: str) -> Life[None]:
        node = self.read(paths.node(node_id))
        if node is None or node["state"] != "hold":
            return
        contender = yield from self.lock(paths.node_lock(node_id), 0.0)
        if contender is None:
            return
        node = self.read(paths.node(node_id))
        if node is not None and node["state"] == "hold":
            node.update(state="used", state_time=self.world.clock.now)
            self.write(paths.node(node_id), node)
        self.commit(Delete(contender))
