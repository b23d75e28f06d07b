"""The requests that wait to be taken, in order of service, and in groups that fare alike: pure.

Belongs to the decision thread. Thousands may wait; most of them differ only in their place in the queue, so that what
stands in the way of the first of a kind does so for all of that kind, and nobody needs to look at them one by one.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterator

from nodepool.model.request import NodeRequest

Kind = Hashable
_Place = tuple[tuple[str, int, str], str]
"""Order of service and id."""


def kind_of(request: NodeRequest) -> Kind:
    """Requests of one kind can be served by the same pools with the same nodes."""
    stock = request.requestor if request.is_min_ready else None
    return request.node_types, request.tenant_name, request.reuse, request.provider, request.declined_by, stock


class OpenRequests:
    """See the module's description."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[Kind, _Place]] = {}
        self._lines: dict[Kind, list[_Place]] = {}

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def kind(self, request_id: str) -> Kind:
        """The kind of a request that is here. Raises KeyError."""
        return self._places[request_id][0]

    def put(self, request: NodeRequest) -> bool:
        """Add a request, or move it to the place that it has now; whether that changed anything."""
        place = (kind_of(request), (request.order, request.id))
        if self._places.get(request.id) == place:
            return False
        self.remove(request.id)
        self._places[request.id] = place
        insort(self._lines.setdefault(place[0], []), place[1])
        return True

    def remove(self, request_id: str) -> bool:
        """Forget a request; whether it was here."""
        found = self._places.pop(request_id, None)
        if found is None:
            return False
        kind, place = found
        line = self._lines[kind]
        del line[bisect_left(line, place)]
        if not line:
            del self._lines[kind]
        return True

    def in_order(self, is_hopeless: Callable[[Kind], bool]) -> Iterator[str]:
        """Ids in order of service, without the rest of a kind as soon as that is hopeless.

        Nothing may be added or removed meanwhile.
        """
        heads = [(line[0], number, 0, kind) for number, (kind, line) in enumerate(self._lines.items())]
        heapq.heapify(heads)
        while heads:
            place, number, index, kind = heapq.heappop(heads)
            if is_hopeless(kind):
                continue
            yield place[1]
            line = self._lines[kind]
            if index + 1 < len(line):
                heapq.heappush(heads, (line[index + 1], number, index + 1, kind))
