"""How records are declared, read and written: one declaration per field gives key, type and default.

Readers are tolerant (spec zookeeper 3): missing keys take the default, ``22.0`` is read as ``22``, unknown keys are
kept and written back. Values that belong to somebody else go out as they came in, integers of any size included, which
:mod:`json` decodes exactly. Measured before choosing it: orjson 3.13 silently decodes an integer beyond 64 bits, such
as a trace id in ``requestor_data``, as a float, and refuses to encode one; msgspec 0.22 keeps it. Either would save
35 ms on 10,000 node records, which is not worth a dependency.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self, TypeVar

_DEFAULT: Any = object()
E = TypeVar("E", bound=StrEnum)
NOTHING: Mapping[str, Any] = MappingProxyType({})


class BrokenRecord(Exception):
    """A znode's data cannot be read as the record it should be."""


Reader = Callable[[Any], Any]


def json_field(key: str, reader: Reader, default: Any, *, required: bool = False) -> Any:
    """A dataclass field that is stored under ``key``; ``reader`` turns a JSON value into ours or raises ValueError."""
    metadata = {"key": key, "reader": reader, "required": required}
    if isinstance(default, list | dict):
        raise TypeError("defaults must be immutable")
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Base of all records. ``extra`` holds the keys that we do not know, as they were read."""

    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING, repr=False)

    @classmethod
    def from_json(cls, data: bytes, **identity: Any) -> Self:
        """Read a record; ``identity`` are the fields that come from the path. Raises :class:`BrokenRecord`."""
        return cls.from_mapping(parse_object(data), **identity)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], **identity: Any) -> Self:
        """Read a record from a decoded JSON object. Raises :class:`BrokenRecord`."""
        declared = declaration(cls)
        found: dict[str, Any] = {}
        for key, (name, reader, required) in declared.items():
            value = values.get(key, _DEFAULT)
            if value is _DEFAULT:
                if required:
                    raise BrokenRecord(f"the key {key!r} is missing")
                continue
            try:
                found[name] = reader(value)
            except (ValueError, TypeError) as error:
                raise BrokenRecord(f"{key!r}: {error}") from None
        extra = {key: value for key, value in values.items() if key not in declared}
        return cls(**identity, **found, extra=MappingProxyType(extra) if extra else NOTHING)

    def to_mapping(self) -> dict[str, Any]:
        """The JSON object of this record, unknown keys last."""
        values = {key: _plain(getattr(self, name)) for key, (name, _, _) in declaration(type(self)).items()}
        values.update(self.extra)
        return values

    def to_json(self) -> bytes:
        """The record as it is stored."""
        return json.dumps(self.to_mapping(), separators=(",", ":")).encode()

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


def declaration(cls: type[Record]) -> Mapping[str, tuple[str, Reader, bool]]:
    """Declared fields of a record class: JSON key to (attribute, reader, whether it must be there)."""
    known = _DECLARATIONS.get(cls)
    if known is None:
        known = _DECLARATIONS[cls] = {
            entry.metadata["key"]: (entry.name, entry.metadata["reader"], entry.metadata["required"])
            for entry in dataclasses.fields(cls)
            if "key" in entry.metadata
        }
    return known


_DECLARATIONS: dict[type[Record], Mapping[str, tuple[str, Reader, bool]]] = {}


def parse_object(data: bytes) -> dict[str, Any]:
    """Decode a JSON object. Raises :class:`BrokenRecord`."""
    if not data:
        raise BrokenRecord("the znode is empty")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenRecord(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BrokenRecord(f"a JSON object is expected, found {type(value).__name__}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    return value


# Readers


def opaque(value: Any) -> Any:
    """Any value, unchanged; it belongs to somebody else."""
    return value


def text(value: Any) -> str | None:
    """Text or null; a number is read as its text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value)
    raise ValueError(f"text is expected, found {type(value).__name__}")


def epoch(value: Any) -> float | None:
    """Seconds since the epoch, or null."""
    if value is None:
        return None
    if isinstance(value, str):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"a time in seconds is expected, found {value!r}")
    return value


def whole_number(value: Any) -> int | None:
    """An integer or null; ``22.0`` and ``"22"`` count as 22."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"a whole number is expected, found {type(value).__name__}")
    number = _number_in(value) if isinstance(value, str) else value
    if isinstance(number, float):
        if not number.is_integer():
            raise ValueError(f"a whole number is expected, found {value!r}")
        return int(number)
    return number


def _number_in(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def lenient_number(value: Any) -> int | None:
    """An integer or null; what cannot be read counts as 0 (spec zookeeper 4.1, ``hold_expiration``)."""
    try:
        return whole_number(value)
    except ValueError:
        return 0


def flag(value: Any) -> bool:
    """A boolean; null counts as false."""
    return bool(value)


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts; null is empty, a bare text is a list of one (old records)."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of texts is expected")
    return tuple(value)


def one_of(states: type[E]) -> Callable[[Any], E]:
    """A member of an enumeration of texts."""
    known = {state.value: state for state in states}

    def read(value: Any) -> E:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"{value!r} is not one of {', '.join(known)}")
        return known[value]

    return read
