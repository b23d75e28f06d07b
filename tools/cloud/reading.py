"""Plain data (YAML, JSON) to frozen dataclasses, with messages that say where and what. Pure.

A class may define ``parse(value, where)`` to read itself; dataclasses, enums, tuples, mappings and plain types are read
by their annotations.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class BadSettings(ValueError):
    """Settings that cannot be used; the message names the key and what was expected."""


def read(kind: type[T], value: object, where: str) -> T:
    """Make a ``kind`` of ``value``. ``where`` is the name of the place, for messages. Raises :class:`BadSettings`."""
    return typing.cast(T, _read(kind, value, where))


def changed(old: T, value: object, where: str) -> T:
    """A copy of the dataclass ``old`` with the keys in ``value``; dataclasses in it are changed key by key, too.

    Raises :class:`BadSettings`.
    """
    assert dataclasses.is_dataclass(old)
    fields = _known_fields(type(old), value, where)
    new: dict[str, Any] = {}
    for key, given in typing.cast(Mapping[str, object], value).items():
        current = getattr(old, key)
        mapping = isinstance(given, Mapping) and dataclasses.is_dataclass(current) and not hasattr(current, "parse")
        new[key] = changed(current, given, f"{where}.{key}") if mapping else _read(fields[key], given, f"{where}.{key}")
    return typing.cast(T, dataclasses.replace(typing.cast(Any, old), **new))


def _read(kind: Any, value: object, where: str) -> object:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(kind, "parse"):
        return kind.parse(value, where)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _read(next(a for a in arguments if a is not type(None)), value, where)
    if origin is tuple:
        items = _expect(list, value, where, "a list")
        return tuple(_read(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(items))
    if origin in (dict, Mapping):
        mapping = _expect(Mapping, value, where, "a mapping")
        return {str(key): _read(arguments[1], item, f"{where}.{key}") for key, item in mapping.items()}
    if dataclasses.is_dataclass(kind):
        fields = _known_fields(typing.cast(type, kind), value, where)
        mapping = typing.cast(Mapping[str, object], value)
        given = {key: _read(fields[key], item, f"{where}.{key}") for key, item in mapping.items()}
        _check_complete(typing.cast(type, kind), given, where)
        return typing.cast(type, kind)(**given)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _member(kind, value, where)
    return _plain(kind, value, where)


def _plain(kind: Any, value: object, where: str) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadSettings(f"{where}: expected {kind.__name__}, not {value!r}")
    return value


def _member(kind: type[enum.Enum], value: object, where: str) -> enum.Enum:
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(str(member.value) for member in kind)
        raise BadSettings(f"{where}: {value!r} is none of {choices}") from None


def _expect(kind: Any, value: object, where: str, what: str) -> Any:
    if not isinstance(value, kind):
        raise BadSettings(f"{where}: expected {what}, not {value!r}")
    return value


def _known_fields(kind: type, value: object, where: str) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    for key in _expect(Mapping, value, where, "a mapping"):
        if key not in fields:
            raise BadSettings(f"{where}: unknown key {key!r}; there are {', '.join(sorted(fields))}")
    return fields


def _check_complete(kind: type, given: Mapping[str, object], where: str) -> None:
    for field in dataclasses.fields(kind):
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and field.name not in given:
            raise BadSettings(f"{where}: {field.name} is missing")
