"""The building blocks of schemas, and running one so that it finds everything that is wrong.

voluptuous alone stops at the first bad item of a list; :func:`check` does not.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Collection, Mapping
from typing import Any

import voluptuous as v

from nodepool.config.problem import Path
from nodepool.config.report import Report
from nodepool.config.wording import Refused, Unexpected, explain

Rule = Callable[[Any], Any]


def whole(kind: str = "a whole number", minimum: int | None = None, maximum: int | None = None) -> Rule:
    """A whole number within limits; ``kind`` is how to call it. A boolean gets a warning (spec config 12)."""
    if minimum is not None and maximum is not None:
        kind += f" from {minimum} to {maximum}"
    elif minimum is not None:
        kind += f", {minimum} or more"

    def rule(value: Any) -> int:
        low = minimum is not None and isinstance(value, int) and value < minimum
        high = maximum is not None and isinstance(value, int) and value > maximum
        if isinstance(value, bool) or not isinstance(value, int) or low or high:
            raise Unexpected(kind, value)
        return value

    return rule


def positive_seconds(value: Any) -> float:
    """A time in seconds, whole or not, above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise Unexpected("a number of seconds above 0", value)
    return float(value)


def gibibytes(value: Any) -> float:
    """An amount of disk space in GiB, whole or not."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise Unexpected("a number of GiB, 0 or more", value)
    return float(value)


def text(value: Any) -> str:
    """Text that is not empty."""
    if not isinstance(value, str):
        raise Unexpected("text", value)
    if not value.strip():
        raise v.Invalid("the text is empty (write a value)")
    return value


def optional_text(value: Any) -> str | None:
    """Text; nothing at all counts as if the key were absent, as it did for Nodepool 11 daemons."""
    if value is None:
        raise Refused("has no value and counts as absent (write a value, or remove the key)")
    if not isinstance(value, str):
        raise Unexpected("text", value)
    return value


def flag(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise Unexpected("true or false", value)
    return value


def environment_value(value: Any) -> str:
    """Text, which may be empty; never shown."""
    if not isinstance(value, str):
        raise Unexpected("text", value, "put numbers, true and false in quotes")
    return value


def key(value: Any) -> str:
    """A key that the operator chooses."""
    if not isinstance(value, str):
        raise Unexpected("a key that is text", value, "put it in quotes")
    return value


def path_element(value: Any) -> str:
    """A name that becomes a part of paths in ZooKeeper and of file names."""
    name = text(value)
    if "/" in name or name in (".", "..") or not name.isprintable() or name != name.strip():
        raise Unexpected("a name", value, "no '/', no control characters, no blanks around it, not '.' or '..'")
    return name


def command(value: Any) -> str | None:
    """A command line, as a shell would split it."""
    line = optional_text(value)
    try:
        shlex.split(line or "")
    except ValueError as error:
        raise v.Invalid(f"cannot be split into words: {str(error).lower()}") from None
    return line


def check(schema: Any, data: Any, report: Report, prefix: Path = (), skip: Collection[str] = ()) -> None:
    """Put all that ``schema`` finds wrong with ``data``, which stands at ``prefix``, in the report.

    :param skip: keys of ``data`` itself that were looked at already.
    """
    try:
        thorough(schema)(data)
    except v.MultipleInvalid as found:
        for error in found.errors:
            path, message, grade = explain(error, schema, data, secret=report.document.secret)
            if not path or path[0] not in skip:
                report.add(grade, (*prefix, *path), message)


def thorough(schema: Any, *, required: bool = False, extra: int = v.PREVENT_EXTRA) -> v.Schema:
    """The same schema, but each item of a list is checked whatever is wrong with the others."""
    if isinstance(schema, v.Schema):
        return thorough(schema.schema, required=schema.required, extra=int(schema.extra))
    return v.Schema(_rebuilt(schema, required, extra), required=required, extra=extra)


def _rebuilt(schema: Any, required: bool, extra: int) -> Any:
    if isinstance(schema, v.Schema):
        return thorough(schema)
    if isinstance(schema, dict):
        return {key: _rebuilt(part, required, extra) for key, part in schema.items()}
    if isinstance(schema, v.All):
        parts = [_rebuilt(part, schema.required, extra) for part in schema.validators]
        return v.All(*parts, msg=schema.msg, required=schema.required)
    if isinstance(schema, list) and len(schema) == 1:
        return _each(thorough(schema[0], required=required, extra=extra))
    return schema


def _each(item: v.Schema) -> Rule:
    def rule(values: Any) -> list[Any]:
        if not isinstance(values, list):
            raise v.SequenceTypeInvalid("expected a list")
        checked: list[Any] = []
        errors: list[v.Invalid] = []
        for index, value in enumerate(values):
            try:
                checked.append(item(value))
            except v.MultipleInvalid as found:
                found.prepend([index])
                errors.extend(found.errors)
        if errors:
            raise v.MultipleInvalid(errors)
        return checked

    return rule


def entries(data: Any, key: str) -> list[tuple[int, Mapping[Any, Any]]]:
    """The items of the list ``data[key]`` that are mappings, with their positions."""
    items = data.get(key) if isinstance(data, Mapping) else None
    if not isinstance(items, list):
        return []
    return [(index, item) for index, item in enumerate(items) if isinstance(item, Mapping)]
