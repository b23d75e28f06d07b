"""ZooKeeper's requests and answers as bytes, and what its errors mean for us.

Encodes and decodes with kazoo's parts; adds the persistent recursive watch and the multi-read (both ZooKeeper 3.6),
which kazoo lacks. Paths here are whole paths, chroot included. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    OperationTimeoutError,
    RequestTimeoutError,
    RolledBackError,
    RuntimeInconsistency,
    SessionExpiredError,
    SessionMovedError,
)
from kazoo.protocol import serialization as jute
from kazoo.security import OPEN_ACL_UNSAFE

from nodepool.zk.store import (
    SIZE_LIMIT,
    Check,
    Committed,
    Create,
    Datum,
    Delete,
    Operation,
    Refused,
    RefusedBy,
    SetData,
    Uncertain,
)

READ_LIMIT = 200
"""Most reads in one multi-read: a request of 26 KiB, an answer of about 0.2 MiB."""

_GET, _CHILDREN, _SYNC, _MULTI, _MULTI_READ, _ADD_WATCH = 4, 8, 9, 14, 22, 106
_RECURSIVE = 1
_EPHEMERAL, _SEQUENCE = 1, 2
_REFUSALS = {
    NoNodeError: RefusedBy.NO_NODE,
    NodeExistsError: RefusedBy.NODE_EXISTS,
    BadVersionError: RefusedBy.BAD_VERSION,
    NotEmptyError: RefusedBy.NOT_EMPTY,
}
_NOT_THE_CULPRIT = (RolledBackError, RuntimeInconsistency)

Decode = Callable[[bytes, int], Any]


class Request:
    """An encoded request, in the form in which kazoo's connection sends it and decodes its answer."""

    __slots__ = ("body", "deserialize", "type")

    def __init__(self, opcode: int, body: bytes, decode: Decode) -> None:
        self.type = opcode
        self.body = body
        self.deserialize = decode

    def serialize(self) -> bytes:
        """The body, for kazoo."""
        return self.body


def transaction(chroot: str, operations: Sequence[Operation]) -> Request | Refused:
    """One multi of all operations, or a refusal if it is too long for ZooKeeper."""
    body = bytearray()
    for index, operation in enumerate(operations):
        part = _operation(chroot, operation)
        body += jute.multiheader_struct.pack(part.type, False, -1) + part.serialize()
        if len(body) > SIZE_LIMIT:
            detail = f"{operation.path}: the transaction is longer than {SIZE_LIMIT} bytes, the most ZooKeeper takes"
            return Refused(index, RefusedBy.OTHER, detail)
    body += jute.multiheader_struct.pack(-1, True, -1)
    return Request(_MULTI, bytes(body), jute.Transaction.deserialize)


def committed(chroot: str, operations: Sequence[Operation], results: Sequence[Any], zxid: int) -> Committed | Refused:
    """The outcome of a multi that was answered with ``results``."""
    for index, result in enumerate(results):
        if isinstance(result, Exception) and not isinstance(result, _NOT_THE_CULPRIT):
            return refused(result, index, operations[index].path)
    values: list[str | int | None] = []
    for operation, result in zip(operations, results, strict=True):
        match operation:
            case Create():
                values.append(result[len(chroot) :])
            case SetData():
                values.append(result.version)
            case _:
                values.append(None)
    return Committed(tuple(values), zxid)


def refused(error: Exception, index: int, path: str) -> Refused:
    """A refusal by ZooKeeper in our terms."""
    reason = _REFUSALS.get(type(error), RefusedBy.OTHER)
    return Refused(index, reason, f"{path}: {str(error) or type(error).__name__}")


def uncertain(error: Exception) -> Uncertain | None:
    """What is in doubt after ``error``; None if ZooKeeper has simply refused the request."""
    match error:
        case SessionExpiredError():
            return Uncertain.SESSION_LOST
        case ConnectionLoss() | SessionMovedError():
            return Uncertain.CONNECTION_LOST
        case OperationTimeoutError() | RequestTimeoutError():
            return Uncertain.TIMED_OUT
    return None


def data_of(paths: Sequence[str]) -> Request:
    """Multi-read of the data of at most :data:`READ_LIMIT` znodes; the answer has a Datum or None for each."""
    return _multi_read([(_GET, path) for path in paths])


def data_and_children_of(paths: Sequence[str]) -> Request:
    """As :func:`data_of` for half as many paths, followed by the list of children (or None) of each."""
    return _multi_read([(_GET, path) for path in paths] + [(_CHILDREN, path) for path in paths])


def children_of(path: str) -> Request:
    """Names of the children of one znode."""
    return Request(_CHILDREN, bytes(jute.write_string(path) + b"\0"), jute.GetChildren.deserialize)


def sync() -> Request:
    """What is read after it is as new as all that was committed before it."""
    return Request(_SYNC, bytes(jute.write_string("/")), _nothing)


def recursive_watch(path: str) -> Request:
    """Tell this connection of each creation, change and deletion of the znode and of all below it."""
    return Request(_ADD_WATCH, bytes(jute.write_string(path) + jute.int_struct.pack(_RECURSIVE)), _nothing)


def _operation(chroot: str, operation: Operation) -> Any:
    path = chroot + operation.path
    match operation:
        case Create(data=data, ephemeral=ephemeral, sequence=sequence):
            flags = _EPHEMERAL * ephemeral + _SEQUENCE * sequence
            return jute.Create(path, data, OPEN_ACL_UNSAFE, flags)
        case SetData(data=data, version=version):
            return jute.SetData(path, data, version)
        case Delete(version=version):
            return jute.Delete(path, version)
        case Check(version=version):
            return jute.CheckVersion(path, version)


def _multi_read(reads: Sequence[tuple[int, str]]) -> Request:
    body = bytearray()
    for opcode, path in reads:
        body += jute.multiheader_struct.pack(opcode, False, -1) + jute.write_string(path) + b"\0"
    body += jute.multiheader_struct.pack(-1, True, -1)
    return Request(_MULTI_READ, bytes(body), _decode_multi_read)


def _decode_multi_read(buffer: bytes, offset: int) -> list[Datum | list[str] | None]:
    results: list[Datum | list[str] | None] = []
    while True:
        opcode, done, _ = jute.multiheader_struct.unpack_from(buffer, offset)
        offset += jute.multiheader_struct.size
        if done:
            return results
        if opcode == _GET:
            data, offset = jute.read_buffer(buffer, offset)
            stat = jute.stat_struct.unpack_from(buffer, offset)
            offset += jute.stat_struct.size
            results.append(_datum(data, stat))
        elif opcode == _CHILDREN:
            names, offset = _decode_names(buffer, offset)
            results.append(names)
        else:
            offset += jute.int_struct.size
            results.append(None)


def _datum(data: bytes | None, stat: tuple[int, ...]) -> Datum:
    czxid, mzxid, ctime, mtime, version, _, _, owner, _, _, _ = stat
    return Datum(data or b"", version, czxid, mzxid, ctime / 1000, mtime / 1000, owner)


def _decode_names(buffer: bytes, offset: int) -> tuple[list[str], int]:
    (count,) = jute.int_struct.unpack_from(buffer, offset)
    offset += jute.int_struct.size
    names = []
    for _ in range(count):
        name, offset = jute.read_string(buffer, offset)
        names.append(name)
    return names, offset


def _nothing(_buffer: bytes, _offset: int) -> None:
    return None
