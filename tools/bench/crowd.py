"""Many requestors in one: each does what Zuul does with a request and its nodes, one operation at a time.

Everything is pipelined, so that a thousand of them cost less than what they measure.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from nodepool.zk.loop import Loop
from nodepool.zk.session import KazooStore
from nodepool.zk.store import Batch, Committed, Contended, Create, Delete, Operation, Outcome, ReadOutcome, SetData
from tools.bench import requestor
from tools.bench.site import LABEL

_REQUESTS = "/nodepool/requests"
_NODES = "/nodepool/nodes"


class Crowd:
    """Requestors at one ZooKeeper. Each uses its node for ``hold`` seconds, or until :meth:`release` if that is None.

    Results are complete once :meth:`wait_decided` or :meth:`wait_ended` has returned. To be closed at the end.
    """

    def __init__(self, hosts: str, hold: float | None = 0.0) -> None:
        self.times: list[float] = []
        """Seconds from asking to ``fulfilled``, in the order of their ends."""
        self.failed = 0
        self.fulfilled_at: dict[str, float] = {}
        """Node id to epoch seconds."""
        self.nodes: dict[str, dict[str, Any]] = {}
        """Records of nodes that are held."""
        self.broken: list[str] = []
        """What went wrong with a request that was fulfilled."""
        self._hold = hold
        self._asked: dict[str, float] = {}
        self._held: list[Callable[[], None]] = []
        self._open = 0
        self._changed = threading.Condition()
        self._clock = Loop("crowd")
        self._clock.start()
        self._store = KazooStore(hosts, session_timeout=30.0, call_deadline=120.0)
        self._store.start()
        self._store.wait_connected(20)
        self._store.feed([_REQUESTS], self._take)

    def ask(self, count: int = 1, label: str = LABEL) -> None:
        """Make requests for one node each; returns at once."""
        data = requestor.record(label=label)
        with self._changed:
            self._open += count
        for _ in range(count):
            operation = Create(f"{_REQUESTS}/200-", data, sequence=True)
            self._store.commit([operation], partial(self._created, time.time()))

    def wait_decided(self, count: int, seconds: float) -> None:
        """Wait until so many requests are fulfilled or failed. Raises TimeoutError."""
        self._wait(lambda: len(self.times) + self.failed >= count, f"{count} requests to be decided", seconds)

    def wait_held(self, count: int, seconds: float) -> None:
        """Wait until so many nodes are held. Raises TimeoutError."""
        self._wait(lambda: len(self.nodes) >= count, f"{count} nodes to be taken", seconds)

    def wait_ended(self, seconds: float) -> None:
        """Wait until all requests are decided and all nodes given back. Raises TimeoutError."""
        self._wait(lambda: self._open == 0, "the end of all requests", seconds)

    def release(self) -> None:
        """Let all nodes go that are held."""
        with self._changed:
            held, self._held = self._held, []
        for let_go in held:
            self._clock.post(let_go)

    def close(self) -> None:
        """End all."""
        self._clock.stop()
        self._store.close()

    # From here on in the store's thread

    def _wait(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                text = f"{len(self.times)} fulfilled, {self.failed} failed, {self._open} open, {self.broken[:3]}"
                raise TimeoutError(f"waited {seconds:g} s for {what}: {text}")

    def _created(self, began: float, outcome: Outcome) -> None:
        if isinstance(outcome, Committed):
            self._asked[str(outcome.results[0])] = began
        else:
            self._end(f"not created: {outcome}")

    def _take(self, batch: Batch) -> None:
        now = time.time()
        for path, datum in batch.entries.items():
            if datum is None or path not in self._asked:
                continue
            if b'"fulfilled"' in datum.data:
                nodes = json.loads(datum.data)["nodes"]
                with self._changed:
                    self.times.append(now - self._asked.pop(path))
                    self.fulfilled_at.update(dict.fromkeys(nodes, now))
                    self._changed.notify_all()
                self._store.read([f"{_NODES}/{node}" for node in nodes], partial(self._lock, path, nodes))
            elif b'"failed"' in datum.data:
                del self._asked[path]
                with self._changed:
                    self.failed += 1
                self._store.commit([Delete(path)], lambda _: self._end())

    def _lock(self, path: str, nodes: Sequence[str], read: ReadOutcome) -> None:
        """Only single nodes: that is what all measurements ask for."""
        (node_id,) = nodes
        datum = read.get(f"{_NODES}/{node_id}") if not isinstance(read, Outcome) else None
        record = json.loads(datum.data) if datum else {}
        if "200-" not in str(record.get("allocated_to")):
            self._end(f"node {node_id} is not ours: {record}")
            return
        self._store.contend(f"{_NODES}/{node_id}/lock", b"", partial(self._use, path, node_id, record))

    def _use(self, path: str, node_id: str, record: dict[str, Any], outcome: object) -> None:
        if not isinstance(outcome, Contended) or outcome.ahead:
            self._end(f"node {node_id} cannot be locked: {outcome}")
            return
        contender = f"{outcome.directory}/{outcome.contender}"
        self._do(Delete(path))
        self._do(_in_state(node_id, record, "in-use"))
        let_go = partial(self._give_back, node_id, record, contender)
        if self._hold is None:
            with self._changed:
                self._held.append(let_go)
                self.nodes[node_id] = record
                self._changed.notify_all()
        elif self._hold > 0:
            self._clock.post(partial(self._clock.after, self._hold, let_go))
        else:
            let_go()

    def _give_back(self, node_id: str, record: dict[str, Any], contender: str) -> None:
        self._do(_in_state(node_id, record, "used"))
        self._store.commit([Delete(contender)], lambda _: self._end())

    def _do(self, operation: Operation) -> None:
        def done(outcome: Outcome) -> None:
            if not isinstance(outcome, Committed):
                self.broken.append(f"{operation}: {outcome}")

        self._store.commit([operation], done)

    def _end(self, trouble: str = "") -> None:
        with self._changed:
            if trouble:
                self.broken.append(trouble)
            self._open -= 1
            self._changed.notify_all()


def _in_state(node_id: str, record: dict[str, Any], state: str) -> SetData:
    values = {**record, "state": state, "state_time": time.time()}
    return SetData(f"{_NODES}/{node_id}", json.dumps(values).encode(), -1)
