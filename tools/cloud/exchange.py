"""A request, an answer, and how each service words an error. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tools.cloud.images import Upload
from tools.cloud.records import Refused
from tools.cloud.state import Cloud, Region

_NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. ``path`` has no query; header names are in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    upload: Upload | None = None
    """Instead of ``body`` where that was image data."""

    def parameters(self) -> dict[str, list[str]]:
        """The query, decoded."""
        return parse_qs(self.query, keep_blank_values=True) if self.query else {}

    def parameter(self, name: str) -> str | None:
        """The last value of a query parameter."""
        values = self.parameters().get(name)
        return values[-1] if values else None

    def json(self) -> Any:
        """The body. Raises Refused (400)."""
        try:
            return json.loads(self.body or b"null")
        except ValueError:
            raise Refused(400, "Malformed request body") from None

    def part(self, key: str) -> dict[str, Any]:
        """The mapping under ``key`` in the body. Raises Refused (400)."""
        document = self.json()
        found = document.get(key) if isinstance(document, dict) else None
        if not isinstance(found, dict):
            raise Refused(400, f"Invalid input: '{key}' is a required property")
        return found


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; the body is JSON unless the headers say otherwise."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Call:
    """A request on its way to a handler: what it is about, and the arguments in its path."""

    cloud: Cloud
    request: Request
    arguments: list[str]
    located: Region | None = None

    @property
    def region(self) -> Region:
        """The region it is for."""
        assert self.located is not None, "a call to Keystone has no region"
        return self.located

    def url(self, service: str) -> str:
        """Where a service of this region answers, without a slash at the end."""
        return f"{self.cloud.url}/{self.region.place.region}/{service}"


def answer_json(document: object, status: int = 200, headers: Mapping[str, str] = _NO_HEADERS) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, json.dumps(document).encode(), headers)


_FAULT_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    409: "conflictingRequest",
    413: "overLimit",
    429: "overLimit",
    503: "serviceUnavailable",
}
_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Request Entity Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_NEUTRON_KINDS = {400: "BadRequest", 403: "PolicyNotAuthorized", 404: "HTTPNotFound", 409: "Conflict"}


def error(service: str, refusal: Refused, headers: Mapping[str, str] = _NO_HEADERS) -> Answer:
    """A refusal in the words of ``service``."""
    status, message = refusal.status, refusal.message
    title = _TITLES.get(status, "Error")
    if service == "network" and status < 500:
        kind = refusal.kind or _NEUTRON_KINDS.get(status, "HTTPClientError")
        return answer_json({"NeutronError": {"type": kind, "message": message, "detail": ""}}, status, headers)
    if service in ("compute", "volume"):
        name = _FAULT_NAMES.get(status, "computeFault")
        return answer_json({name: {"code": status, "message": message}}, status, headers)
    if service == "image":
        return answer_json({"message": message, "code": f"{status} {title}", "title": title}, status, headers)
    return answer_json({"error": {"code": status, "message": message, "title": title}}, status, headers)
