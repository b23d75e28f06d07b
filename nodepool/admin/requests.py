"""Node requests made or removed by a person.

Such a request is ephemeral, as all of Nodepool's own (spec zookeeper 2): however its maker ends, it goes, and the
launchers take back what they had prepared for it.
"""

from __future__ import annotations

import math
import queue
from collections.abc import Callable, Sequence

from nodepool.admin.failure import CommandFailed
from nodepool.admin.nodes import Clock
from nodepool.admin.table import printable
from nodepool.admin.waiting import why_waiting
from nodepool.model.component import Component
from nodepool.model.request import HAND_PRECEDENCE, NodeRequest
from nodepool.model.states import RequestState
from nodepool.zk import paths
from nodepool.zk.client import Client, TransactionRefused
from nodepool.zk.mirror import Mirror
from nodepool.zk.store import Batch, Create, Delete, RefusedBy


def new_request(labels: Sequence[str], who: str, event_id: str, now: float) -> NodeRequest:
    """The record of a new request; it has all keys that Zuul's reader asks for (spec zookeeper 4.2)."""
    return NodeRequest(
        id="", node_types=tuple(labels), requestor=who, event_id=event_id, created_time=now, state_time=now
    )


def check_labels(labels: Sequence[str], pools: Sequence[Component]) -> None:
    """Raise :class:`CommandFailed` unless some registered pool offers all of these labels."""
    if any(set(labels) <= set(pool.supported_labels) for pool in pools):
        return
    known = {label for pool in pools for label in pool.supported_labels}
    offered = ", ".join(sorted(known)) or "none (does a nodepool-launcher run?)"
    unknown = sorted(set(labels) - known)
    if unknown:
        raise CommandFailed(
            f"No running launcher offers the label {', '.join(map(printable, unknown))}; labels offered now: {offered}"
        )
    raise CommandFailed(
        f"No single pool offers all of {', '.join(sorted(set(labels)))}, as one request needs: request them one by one"
    )


def submit(client: Client, request: NodeRequest) -> str:
    """Write a request; returns its id. It is gone when the client's session ends."""
    client.ensure(paths.REQUESTS)
    create = Create(paths.request(f"{HAND_PRECEDENCE}-"), request.to_json(), ephemeral=True, sequence=True)
    path = client.commit([create]).results[0]
    return str(path).rpartition("/")[2]


def follow(
    client: Client, request_id: str, clock: Clock, tell: Callable[[str], None], limit: float = math.inf
) -> NodeRequest:
    """Wait until a request is fulfilled, and ``tell`` each time why it is not yet.

    Raises :class:`CommandFailed` when it has failed or was deleted, and after ``limit`` seconds.
    """
    batches: queue.SimpleQueue[Batch] = queue.SimpleQueue()
    client.store.feed([paths.request(request_id), paths.components("pool")], batches.put)
    mirror = Mirror()
    began, told = clock(), ""
    while True:
        left = None if math.isinf(limit) else max(0.0, began + limit - clock())
        try:
            mirror.apply(batches.get(timeout=left))
        except queue.Empty:
            raise CommandFailed(f"Request {request_id} was not fulfilled within {limit:g} s; it {told}") from None
        request = mirror.request(request_id)
        if request is None:
            raise CommandFailed(f"Request {request_id} was deleted, or its ZooKeeper session was lost")
        if request.state is RequestState.FULFILLED:
            return request
        reason = why_waiting(request, mirror.pools())
        if request.state is RequestState.FAILED:
            raise CommandFailed(f"Request {request_id} failed: {reason} (the launchers' logs say why)")
        if reason != told:
            told = reason
            tell(f"Request {request_id} {reason}")


def delete_request(client: Client, request_id: str) -> bool:
    """Delete a request as a client does; says whether there was one."""
    try:
        client.commit([Delete(paths.request(request_id))])
    except TransactionRefused as error:
        if error.refused.reason is RefusedBy.NO_NODE:
            return False
        raise
    return True
