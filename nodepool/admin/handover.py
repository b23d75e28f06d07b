"""What a requestor does with the nodes of a fulfilled request, as Zuul does it (spec zookeeper 9.1).

Nodes are locked in the order of the request, after a check that they are meant for it; then the request goes, and from
there on the locks say that the nodes are in use. Should the process die, the locks go with its session and the
launchers delete the nodes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from nodepool.admin.failure import CommandFailed
from nodepool.admin.locking import locked_node, write
from nodepool.admin.nodes import Clock
from nodepool.admin.requests import delete_request
from nodepool.admin.snapshot import find_node, snapshot
from nodepool.model.node import Node
from nodepool.model.request import NodeRequest
from nodepool.model.states import NodeState
from nodepool.zk import paths
from nodepool.zk.client import Client
from nodepool.zk.store import Contended

LOCK_WAIT = 30.0
"""Seconds to wait for the lock of each node, as Zuul does."""
_ATTEMPTS = 5


class Handover:
    """The nodes of a request, locked by us."""

    def __init__(
        self, client: Client, session: int, locks: Sequence[Contended], node_ids: Sequence[str], clock: Clock
    ) -> None:
        self._client = client
        self._locks = locks
        self._node_ids = node_ids
        self._clock = clock
        self.session = session
        """The session that the locks belong to."""

    def nodes(self) -> list[Node]:
        """The present records in the order of the request. Raises :class:`CommandFailed`."""
        return [node for node, _ in self._read()]

    def set_state(self, state: NodeState, comment: str | None = None) -> None:
        """Write the state of all nodes, all or none. Raises :class:`CommandFailed` if a lock is lost."""
        changes = {} if comment is None else {"comment": comment}
        for _ in range(_ATTEMPTS):
            now = self._clock()
            written = [
                (held, node.in_state(state, now, **changes), version)
                for held, (node, version) in zip(self._locks, self._read(), strict=True)
            ]
            if write(self._client, written):
                return
        raise CommandFailed("The nodes are changed all the time by somebody who does not lock them; given up")

    def _read(self) -> list[tuple[Node, int]]:
        mirror = snapshot(self._client, *map(paths.node, self._node_ids))
        return [find_node(mirror, node_id) for node_id in self._node_ids]


@contextlib.contextmanager
def handed_over(client: Client, request: NodeRequest, who: str, clock: Clock) -> Iterator[Handover]:
    """Lock the nodes of a fulfilled request and delete the request; unlocks them at the end."""
    session = client.store.session()
    _check_meant_for(client, request)
    with contextlib.ExitStack() as stack:
        locks = [stack.enter_context(locked_node(client, node_id, who, LOCK_WAIT)) for node_id in request.nodes]
        _check_meant_for(client, request)
        delete_request(client, request.id)
        yield Handover(client, session, locks, request.nodes, clock)


def _check_meant_for(client: Client, request: NodeRequest) -> None:
    mirror = snapshot(client, *map(paths.node, request.nodes))
    for node_id in request.nodes:
        owner = find_node(mirror, node_id)[0].allocated_to
        if owner != request.id:
            raise CommandFailed(
                f"Node {node_id} was promised to request {request.id} but is allocated to {owner or 'nobody'} now; "
                "it is left alone (request again)"
            )
