"""What the operator reads: values as written in YAML, and the errors of a voluptuous schema in plain words.

Drivers bring their own schemas, so the stock errors of voluptuous are put in words here too. Nothing here may show a
value of a key that commonly holds secrets (``env-vars``).
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import voluptuous as v
from voluptuous.schema_builder import VirtualPathComponent

from nodepool.config.problem import Path
from nodepool.config.report import Grade

_EXPECTED = {
    "int": "a whole number",
    "float": "a number with a decimal point",
    "str": "text",
    "bool": "true or false",
    "dict": "a mapping (KEY: VALUE)",
    "a dictionary": "a mapping (KEY: VALUE)",
    "list": "a list",
    "a list": "a list",
}
_HIDDEN = "env-vars"


def shown(value: Any) -> str:
    """A value as an operator would recognise it, on one line, never long."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else f"{value[:57]!r}..."
    return str(value)[:60]


def expected(what: str, value: Any, hint: str = "", *, hidden: bool = False) -> str:
    """``expected WHAT, got VALUE (what to do)``; without a hint a fitting one is chosen.

    ``hidden``: leave the value out.
    """
    hint = hint or _hint(what, value)
    got = "" if hidden else f", got {shown(value)}"
    return f"expected {what}{got}" + (f" ({hint})" if hint else "")


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'X'?)`` when a known name is much like ``name``, otherwise nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f" (did you mean '{near[0]}'?)" if near else ""


def unknown_key(key: Any, known: Iterable[str]) -> str:
    """``unknown key``, with the key that was probably meant or those that there are."""
    names = sorted(known)
    hint = nearest(str(key).replace("_", "-").lower(), names)
    if not hint:
        hint = f" (known here: {', '.join(names)})" if names else " (remove it)"
    return f"unknown key{hint}"


class Unexpected(v.Invalid):
    """A rule got something else than ``what``; the message is made where it is known whether values may be shown."""

    def __init__(self, what: str, value: Any, hint: str = "") -> None:
        super().__init__(f"expected {what}")
        self.what, self.value, self.hint = what, value, hint


class Refused(v.Invalid):
    """Wrong, but Nodepool 11 daemons used it: see :mod:`nodepool.config.report`."""


def explain(error: v.Invalid, schema: Any, data: Any, *, secret: bool) -> tuple[Path, str, Grade]:
    """One error that ``schema`` found in ``data``: where, in plain words, and how bad it is.

    ``secret``: the data is of the secure file, so that no value may be shown.
    """
    path = _path(error.path)
    text = error.error_message
    value = error.value if isinstance(error, Unexpected) else _value(data, path)
    hidden = secret or _HIDDEN in path
    if text == "extra keys not allowed" and path:
        return path, unknown_key(path[-1], _known_keys(schema, path[:-1])), Grade.REFUSAL
    if isinstance(error, v.RequiredFieldInvalid):
        missing = "this key is required and missing"
        return path, missing if text == "required key not provided" else text, Grade.ERROR
    if isinstance(value, bool) and text.startswith(("expected int", "expected a whole number")):
        return path, f"{shown(value)} counts as {int(value)} here (write a number)", Grade.WARNING
    if isinstance(error, Refused):
        return path, text, Grade.REFUSAL
    if text.startswith("expected "):
        kind = text.removeprefix("expected ")
        hint = error.hint if isinstance(error, Unexpected) else ""
        return path, expected(_EXPECTED.get(kind, kind), value, hint, hidden=hidden), Grade.ERROR
    if hidden:
        return path, "is not valid here", Grade.ERROR
    if isinstance(error, v.ExclusiveInvalid) and text.startswith("two or more values"):
        text = f"only one key of the group '{str(error.path[-1]).strip('<>')}' may be given here"
    elif text in ("not a valid value", "value is not allowed"):
        text = f"{shown(value)} is not valid here"
    elif text.startswith("value must "):
        text = f"{text.removeprefix('value ')}, got {shown(value)}"
    return path, text, Grade.ERROR


def _hint(what: str, value: Any) -> str:
    if value is None:
        return "write a value, or remove the key"
    if what == "text" and isinstance(value, bool):
        return "put it in quotes: YAML reads yes, no, on and off as true and false"
    if what.endswith("decimal point") and isinstance(value, int):
        return f"write {value}.0"
    if what == "text" and isinstance(value, int | float):
        return "put it in quotes"
    if "number" in what and isinstance(value, str) and _is_number(value):
        return "write it without quotes"
    if what == "true or false" and isinstance(value, str) and value.lower() in ("true", "false", "yes", "no"):
        return "write it without quotes"
    if what.startswith("a list") and isinstance(value, str | Mapping):
        return "begin each item with '- '"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _path(path: Sequence[Hashable]) -> Path:
    steps: list[str | int] = []
    for step in path:
        plain = step.schema if isinstance(step, v.Marker) else step
        if isinstance(plain, VirtualPathComponent):
            continue
        steps.append(plain if isinstance(plain, str | int) else str(plain))
    return tuple(steps)


def _value(data: Any, path: Path) -> Any:
    for step in path:
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            return None
    return data


def _known_keys(schema: Any, path: Path) -> list[str]:
    """The keys that a schema knows for the mapping at ``path``; empty when that cannot be told."""
    if isinstance(schema, v.Schema):
        return _known_keys(schema.schema, path)
    if isinstance(schema, v.All | v.Any):
        return [key for part in schema.validators for key in _known_keys(part, path)]
    if isinstance(schema, list):
        return [key for part in schema for key in _known_keys(part, path[1:])] if path else []
    if not isinstance(schema, Mapping):
        return []
    names = {key.schema if isinstance(key, v.Marker) else key: part for key, part in schema.items()}
    if not path:
        return [name for name in names if isinstance(name, str)]
    return _known_keys(names.get(path[0]), path[1:])
