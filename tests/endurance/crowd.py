"""Many customers at once, each of whom does what Zuul does: ask, wait, check, lock, use, return (spec zookeeper 9.1).

They share one ZooKeeper session and one thread; each is a coroutine. What no Zuul must ever see is a complaint.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.interfaces import IAsyncResult

NODES = "/nodepool/nodes"
REQUESTS = "/nodepool/requests"
TENANT = "acme"

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Habits:
    """How customers behave. Times are in seconds."""

    hold: float = 0.2
    """Mean time for which a node is used."""
    patience: float = 300.0
    """A request that is not answered within this time counts as forgotten."""
    cancels: float = 0.02
    """Share of the requests that are deleted before they are answered, as Zuul does for a dequeued change."""
    pairs: float = 0.1
    """Share of the requests for two nodes."""


@dataclass(slots=True)
class Tally:
    """What customers saw."""

    asked: int = 0
    cancelled: int = 0
    failed: int = 0
    served: int = 0
    nodes: int = 0
    """Nodes that were used."""
    waits: list[tuple[float, float]] = field(default_factory=list)
    """When each request that was fulfilled had been made, in seconds since the beginning, and how long it took."""
    complaints: list[str] = field(default_factory=list)
    shared_addresses: list[tuple[str, str]] = field(default_factory=list)
    """Nodes that were handed over with the address of another node in use, and that one."""

    def wait_at(self, share: float, begin: float = 0.0, end: float = float("inf")) -> float:
        """The time within which ``share`` of the requests made from ``begin`` until ``end`` were fulfilled."""
        waits = sorted(wait for made, wait in self.waits if begin <= made < end)
        return waits[min(int(len(waits) * share), len(waits) - 1)] if waits else 0.0


class Crowd:
    """Customers of one kind of nodes. Use it in one event loop; the client is started, with the right chroot."""

    def __init__(self, client: KazooClient, name: str, habits: Habits, seed: int) -> None:
        self.tally = Tally()
        self._client = client
        self._name = name
        self._habits = habits
        self._chance = random.Random(f"{name}-{seed}")
        self._loop = asyncio.get_running_loop()
        self._began = time.monotonic()
        self._in_use: dict[str, str] = {}
        """Nodes that customers use, with the request of each."""
        self._addresses: dict[str, str] = {}

    async def shop(self, labels: Sequence[str], nodes: int, at_once: int) -> None:
        """Ask for ``nodes`` nodes in all, with at most ``at_once`` requests open or in use at a time."""
        places = asyncio.Semaphore(at_once)
        async with asyncio.TaskGroup() as group:
            while nodes > 0:
                await places.acquire()
                count = 2 if nodes > 1 and self._chance.random() < self._habits.pairs else 1
                nodes -= count
                task = group.create_task(self.serve_one([self._chance.choice(labels)] * count))
                task.add_done_callback(lambda _: places.release())

    async def shop_steadily(self, labels: Sequence[str], rate: float, until: float) -> None:
        """Ask ``rate`` times a second for one node, until ``until`` (monotonic clock)."""
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < until:
                group.create_task(self.serve_one([self._chance.choice(labels)]))
                await asyncio.sleep(1.0 / rate)

    async def serve_one(self, labels: Sequence[str]) -> None:
        """One request, from its creation until its nodes are returned."""
        made = time.monotonic()
        path: str = await self._done(
            self._client.create_async(f"{REQUESTS}/200-", self._request(labels), sequence=True)
        )
        self.tally.asked += 1
        request_id = path.rpartition("/")[2]
        if self._chance.random() < self._habits.cancels:
            await asyncio.sleep(self._chance.random())
            await self._delete(path)
            self.tally.cancelled += 1
            return
        request = await self._answer(path)
        if request is None:
            self.tally.complaints.append(f"request {request_id} was not answered in {self._habits.patience:g} s")
        elif request["state"] == "failed":
            self.tally.failed += 1
            await self._delete(path)
        else:
            self.tally.waits.append((made - self._began, time.monotonic() - made))
            self.tally.served += 1
            await self._use(path, request)

    def _request(self, labels: Sequence[str]) -> bytes:
        now = time.time()
        record = {
            "requestor_data": {"build_set_uuid": uuid.uuid4().hex, "tenant_name": TENANT, "span_info": None},
            "node_types": list(labels),
            "requestor": self._name,
            "created_time": now,
            "provider": None,
            "state": "requested",
            "state_time": now,
            "relative_priority": 0,
            "event_id": uuid.uuid4().hex,
            "tenant_name": TENANT,
        }
        return json.dumps(record).encode()

    async def _answer(self, path: str) -> Record | None:
        """Wait until a request is fulfilled or failed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._habits.patience):
                while True:
                    changed = asyncio.Event()

                    def wake(_: object, changed: asyncio.Event = changed) -> None:
                        self._loop.call_soon_threadsafe(changed.set)

                    data, _ = await self._done(self._client.get_async(path, watch=wake))
                    request: Record = json.loads(data)
                    if request["state"] in ("fulfilled", "failed"):
                        return request
                    await changed.wait()
        return None

    async def _use(self, path: str, request: Record) -> None:
        request_id = path.rpartition("/")[2]
        nodes = [(node_id, await self._accept(request_id, node_id)) for node_id in request["nodes"]]
        await self._delete(path)
        for node_id, _ in nodes:
            await self._store(node_id, "in-use")
        await asyncio.sleep(self._chance.expovariate(1.0 / self._habits.hold) if self._habits.hold else 0.0)
        for node_id, contender in nodes:
            await self._store(node_id, "used")
            self._in_use.pop(node_id, None)
            await self._delete(contender)
            self.tally.nodes += 1

    async def _accept(self, request_id: str, node_id: str) -> str:
        """Check a node and lock it; returns the path of our contender."""
        record = json.loads((await self._done(self._client.get_async(f"{NODES}/{node_id}")))[0])
        if record["state"] != "ready" or record["allocated_to"] != request_id:
            self._complain(f"request {request_id} was fulfilled with node {node_id}, which is {record}")
        if not record["interface_ip"]:
            self._complain(f"node {node_id} was handed over without an address")
        if node_id in self._in_use:
            self._complain(f"node {node_id} was handed to {request_id} and to {self._in_use[node_id]}")
        self._note_address(node_id, record["interface_ip"])
        self._in_use[node_id] = request_id
        directory = f"{NODES}/{node_id}/lock"
        name = f"{directory}/{uuid.uuid4().hex}__lock__"
        contender: str = await self._done(self._client.create_async(name, ephemeral=True, sequence=True))
        names: list[str] = await self._done(self._client.get_children_async(directory))
        if len(names) > 1:
            self._complain(f"node {node_id} of request {request_id} is locked by others: {names}")
        return contender

    def _note_address(self, node_id: str, address: str) -> None:
        other = self._addresses.get(address, "")
        if other in self._in_use:
            self.tally.shared_addresses.append((node_id, other))
        self._addresses[address] = node_id

    async def _store(self, node_id: str, state: str) -> None:
        path = f"{NODES}/{node_id}"
        try:
            record = json.loads((await self._done(self._client.get_async(path)))[0])
            record |= {"state": state, "state_time": time.time()}
            await self._done(self._client.set_async(path, json.dumps(record).encode()))
        except NoNodeError:
            self._complain(f"node {node_id} is gone while it is to become {state}")

    async def _delete(self, path: str) -> None:
        with contextlib.suppress(NoNodeError):
            await self._done(self._client.delete_async(path))

    def _complain(self, text: str) -> None:
        self.tally.complaints.append(text)

    async def _done(self, pending: IAsyncResult) -> Any:
        """What a call of kazoo's gave, or its error."""
        ended: asyncio.Future[None] = self._loop.create_future()

        def settle() -> None:
            if not ended.done():
                ended.set_result(None)

        pending.rawlink(lambda _: self._loop.call_soon_threadsafe(settle))
        await ended
        return pending.get(block=False)
