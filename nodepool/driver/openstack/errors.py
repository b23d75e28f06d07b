"""What an answer or a fault of an OpenStack cloud means, as the types of :mod:`nodepool.driver.errors`.

The cloud's texts decide only where it gives nothing better: Nova says 403 both for a full quota and for a missing right
(spec launcher 3.4). Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from nodepool.driver.errors import (
    CloudError,
    NoCapacity,
    NotFound,
    QuotaExceeded,
    RateLimited,
    Rejected,
    Unauthorized,
    UnknownOutcome,
)

LONGEST_TEXT = 500
"""Most characters that are taken over from an answer."""
_CALL_QUOTA = re.compile(r"quota exceeded|number of ports exceeded|exceeds.*quota|quota.*exceeded", re.I | re.S)
_FAULT_QUOTA = re.compile(r"quota|number of ports exceeded", re.I)
_CAPACITY = re.compile(
    r"no valid host|not enough hosts|insufficient compute resources|exhausted all hosts|max scheduling attempts|"
    r"no more ip addresses|no fixed ip addresses available",
    re.I,
)
_SECRET_VALUE = re.compile(r"(field/attribute (?:user_data|adminPass|personality)).*", re.I | re.S)
"""Nova quotes what it does not like, which may hold secrets."""
_SPACE = re.compile(r"\s+")
_MARKUP = re.compile(r"<head>.*?</head>|<[^>]*>", re.I | re.S)


class InvalidRequest(Rejected):
    """The cloud does not understand the request (400): a name or id in it may not be valid any more."""


class Forbidden(Rejected):
    """The credentials are good, but not for this (403)."""


class Conflict(Rejected):
    """The thing is in a state in which this cannot be done (409)."""


_BY_STATUS: Mapping[int, type[CloudError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: NotFound,
}


def error_of_answer(call: str, status: int, headers: Mapping[str, str], body: bytes, changes: bool) -> CloudError:
    """The error for an answer with a status of 400 or more.

    :param call: what was called, for the message: ``POST /servers``
    :param changes: whether the call makes or deletes something, so that a failure of the cloud leaves it unknown
    """
    text = text_of_answer(body)
    message = f"{call}: HTTP {status}" + (f": {text}" if text else "")
    if status < 500 and _CALL_QUOTA.search(text):
        return QuotaExceeded(message)
    if status in (413, 429):
        return RateLimited(message, retry_after(headers, body))
    if status < 500 and _CAPACITY.search(text):
        return NoCapacity(message)
    if status >= 500 and status != 501:
        return UnknownOutcome(message) if changes else CloudError(message)
    return _BY_STATUS.get(status, Rejected)(message)


def error_of_fault(fault: Mapping[str, Any] | None) -> tuple[type[CloudError], str]:
    """What the ``fault`` of a server in ERROR means, and its text (spec drivers 2)."""
    text = _shorten((fault or {}).get("message") or "") or "the cloud gives no reason"
    if _FAULT_QUOTA.search(text):
        return QuotaExceeded, text
    if _CAPACITY.search(text):
        return NoCapacity, text
    return CloudError, text


def text_of_answer(body: bytes) -> str:
    """The message of an error, wherever the service puts it; in one line, and without secrets that we have sent."""
    text = body.decode("utf-8", "replace")
    try:
        answer = json.loads(text)
    except ValueError:
        return _shorten(_MARKUP.sub(" ", text))
    found = _message(answer)
    return _shorten(_SECRET_VALUE.sub(r"\1", text if found is None else found))


def retry_after(headers: Mapping[str, str], body: bytes) -> float:
    """Seconds to wait, from the header or, as Nova does it, from the body; 1 if it does not say."""
    named = headers.get("Retry-After") or headers.get("retry-after")
    try:
        if named is None:
            named = json.loads(body)["overLimit"]["retryAfter"]
        return max(float(named), 0.0)
    except (ValueError, LookupError, TypeError):
        return 1.0


def _message(answer: Any) -> str | None:
    """``{"message": …}``, or the same inside of the only key: ``badRequest``, ``NeutronError``, ``error``, …"""
    if not isinstance(answer, Mapping):
        return None
    if isinstance(answer.get("message"), str):
        return str(answer["message"])
    for inner in answer.values():
        if isinstance(inner, str):
            return inner
        if isinstance(inner, Mapping) and isinstance(inner.get("message"), str):
            return str(inner["message"])
    return None


def _shorten(text: str) -> str:
    line = _SPACE.sub(" ", text).strip()
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"
