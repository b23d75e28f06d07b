"""Every change that a ZooKeeper server ever made, with the session that asked for it: its transaction log, read back.

Watches show what is, and may skip what was; the log skips nothing. So a test can say of each write who made it, and
that something never happened. Read here as ZooKeeper 3.5 and later write it (``FileTxnLog`` and ``zookeeper.jute``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_MAGIC = b"ZKLG"
_END = b"B"
_FILE_HEADER = 16
_RECORD_HEADER = struct.Struct("!QI")
_TRANSACTION_HEADER = struct.Struct("!qiqqi")


class Kind(IntEnum):
    """Operations that change something; those that clients cannot ask for have negative numbers."""

    CREATE = 1
    DELETE = 2
    SET = 5
    RECONFIGURE = 16
    CHECK = 13
    MULTI = 14
    CREATE_CONTAINER = 19
    CREATE_WITH_TTL = 21
    CREATE_SESSION = -10
    CLOSE_SESSION = -11
    ERROR = -1


_CREATIONS = (Kind.CREATE, Kind.CREATE_CONTAINER, Kind.CREATE_WITH_TTL)


@dataclass(frozen=True, slots=True)
class Change:
    """One operation. ``path`` is empty for those about sessions."""

    kind: Kind
    path: str = ""
    data: bytes = b""
    ephemeral: bool = False


@dataclass(frozen=True, slots=True)
class Transaction:
    """What was done at once. ``time`` is in epoch seconds; one that was refused has no changes."""

    session: int
    zxid: int
    time: float
    changes: tuple[Change, ...]


class Journal:
    """The journal of the server that runs in ``directory``, read from its beginning and then as it grows."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "data" / "version-2"
        self._positions: dict[str, int] = {}
        """File name to the place behind the last transaction that was read."""
        self._last = 0

    def news(self) -> list[Transaction]:
        """What was added since the last call, in order.

        All that the server has answered is in it; what it writes at this moment comes with the next call.
        """
        files = sorted(self._directory.glob("log.*"), key=lambda path: int(path.suffix[1:], 16))
        found = {one.zxid: one for path in files for one in self._read(path) if one.zxid > self._last}
        self._last = max(found, default=self._last)
        return sorted(found.values(), key=lambda one: one.zxid)

    def _read(self, path: Path) -> Iterator[Transaction]:
        position = self._positions.get(path.name, _FILE_HEADER)
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return
            file.seek(position)
            content = file.read()
        place = 0
        while place + _RECORD_HEADER.size <= len(content):
            _, length = _RECORD_HEADER.unpack_from(content, place)
            begin, end = place + _RECORD_HEADER.size, place + _RECORD_HEADER.size + length
            if length == 0 or content[end : end + 1] != _END:
                break
            yield _transaction(content[begin:end])
            place = end + 1
        self._positions[path.name] = position + place


def _transaction(record: bytes) -> Transaction:
    session, _, zxid, time, kind = _TRANSACTION_HEADER.unpack_from(record)
    body = _Reader(record, _TRANSACTION_HEADER.size)
    if kind == Kind.MULTI:
        parts = [(body.number(), _Reader(body.text())) for _ in range(body.number())]
        changes = tuple(_change(part_kind, part) for part_kind, part in parts)
    else:
        changes = (_change(kind, body),)
    refused = any(change.kind is Kind.ERROR for change in changes)
    return Transaction(session, zxid, time / 1000, () if refused else changes)


def _change(number: int, body: _Reader) -> Change:
    kind = Kind(number)
    if kind in _CREATIONS:
        path, data = body.text().decode(), body.text()
        body.skip_access_list()
        return Change(kind, path, data, ephemeral=kind is Kind.CREATE and body.flag())
    if kind is Kind.SET:
        return Change(kind, body.text().decode(), body.text())
    if kind in (Kind.DELETE, Kind.CHECK):
        return Change(kind, body.text().decode())
    return Change(kind)


class _Reader:
    """Takes values off a record, as jute writes them."""

    def __init__(self, content: bytes, position: int = 0) -> None:
        self._content = content
        self._position = position

    def number(self) -> int:
        (value,) = struct.unpack_from("!i", self._content, self._position)
        self._position += 4
        return int(value)

    def flag(self) -> bool:
        self._position += 1
        return self._content[self._position - 1] != 0

    def text(self) -> bytes:
        length = max(self.number(), 0)
        self._position += length
        return self._content[self._position - length : self._position]

    def skip_access_list(self) -> None:
        for _ in range(max(self.number(), 0)):
            self.number()
            self.text()
            self.text()
