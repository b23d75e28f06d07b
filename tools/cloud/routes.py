"""Which handler answers which path. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from tools.cloud.exchange import Answer, Call

Handler = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """``path`` is relative to the service; ``*`` in it is an argument. ``kind`` names the call in rules and counts."""

    method: str
    path: str
    kind: str
    handler: Handler
    open: bool = False
    """Whether it needs no token."""


def under(prefix: str, routes: Iterable[Route]) -> tuple[Route, ...]:
    """The same routes below a path."""
    return tuple(replace(route, path=f"{prefix}/{route.path}") for route in routes)


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)


class Routes:
    """The routes of one service."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            node = self._root
            for segment in filter(None, route.path.split("/")):
                node = node.children.setdefault(segment, _Node())
            node.routes[route.method] = route

    def find(self, method: str, segments: list[str]) -> tuple[Route, list[str]] | None:
        """The route of a path, given in segments, and the arguments in it."""
        node, arguments = self._root, []
        for segment in segments:
            child = node.children.get(segment)
            if child is None:
                child = node.children.get("*")
                if child is None:
                    return None
                arguments.append(segment)
            node = child
        route = node.routes.get(method)
        return (route, arguments) if route else None
