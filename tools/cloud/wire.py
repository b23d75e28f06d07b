"""HTTP/1.1 for the cloud's server: reads requests from bytes as they come, writes answers. No sockets, no clock.

Image data are counted and checksummed while they come in and never held in memory.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus

from tools.cloud.exchange import Answer, Request
from tools.cloud.images import Upload

LARGEST_HEAD = 65536
LARGEST_BODY = 16 * 1024 * 1024
_DATA = "application/octet-stream"
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class BadRequest(Exception):
    """Bytes that are not HTTP/1.1; the connection has to be closed."""


class _Body:
    def __init__(self) -> None:
        self._parts = bytearray()

    def feed(self, data: bytes) -> None:
        self._parts += data
        if len(self._parts) > LARGEST_BODY:
            raise BadRequest("the body is too large")

    def finish(self) -> tuple[bytes, Upload | None]:
        return bytes(self._parts), None


class _ImageData(_Body):
    def __init__(self) -> None:
        super().__init__()
        self._size = 0
        self._md5, self._sha512 = hashlib.md5(usedforsecurity=False), hashlib.sha512()

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        self._md5.update(data)
        self._sha512.update(data)

    def finish(self) -> tuple[bytes, Upload | None]:
        return b"", Upload(self._size, self._md5.hexdigest(), self._sha512.hexdigest())


class RequestReader:
    """Reads the requests of one connection, one after the other."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: tuple[str, str, str, dict[str, str]] | None = None
        self._body = _Body()
        self._missing = 0
        self._chunked = False
        self.continues = False
        """Whether the client waits for "100 Continue"; who answers sets it back."""

    @property
    def buffered(self) -> int:
        """Bytes that wait to be read."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Bytes have come in."""
        self._buffer += data

    def next_request(self) -> Request | None:
        """The next request if all of it is there. Raises :class:`BadRequest`."""
        if self._head is None and not self._read_head():
            return None
        if not (self._read_chunks() if self._chunked else self._read_counted()):
            return None
        assert self._head is not None
        method, path, query, headers = self._head
        body, upload = self._body.finish()
        self._head = None
        return Request(method, path, query, headers, body, upload)

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > LARGEST_HEAD:
                raise BadRequest("the head is too large")
            return False
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        try:
            method, target, _ = lines[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            self._missing = int(headers.get("content-length", 0))
        except ValueError:
            raise BadRequest(f"not a request: {lines[0]!r}") from None
        path, _, query = target.partition("?")
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self._body = _ImageData() if headers.get("content-type") == _DATA else _Body()
        self._head = (method, path, query, headers)
        self.continues = headers.get("expect", "").lower() == "100-continue"
        return True

    def _read_counted(self) -> bool:
        if self._missing and self._buffer:
            part = bytes(self._buffer[: self._missing])
            del self._buffer[: self._missing]
            self._missing -= len(part)
            self._body.feed(part)
        return self._missing == 0

    def _read_chunks(self) -> bool:
        """Chunks as in RFC 9112, section 7.1; trailers are not read."""
        while True:
            if self._missing == 0:
                end = self._buffer.find(b"\r\n")
                if end < 0:
                    return False
                size = self._chunk_size(bytes(self._buffer[:end]))
                if size == 0:
                    if len(self._buffer) < end + 4:
                        return False
                    del self._buffer[: end + 4]
                    return True
                del self._buffer[: end + 2]
                self._missing = size + 2
            if len(self._buffer) < self._missing:
                return False
            self._body.feed(bytes(self._buffer[: self._missing - 2]))
            del self._buffer[: self._missing]
            self._missing = 0

    @staticmethod
    def _chunk_size(line: bytes) -> int:
        try:
            return int(line.partition(b";")[0], 16)
        except ValueError:
            raise BadRequest(f"not the size of a chunk: {line!r}") from None


def written(answer: Answer, number: int, date: str = "") -> bytes:
    """The bytes of an answer; ``number`` is that of the request, for the client's log, ``date`` is as in RFC 9110."""
    status = answer.status
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}", f"x-openstack-request-id: req-{number}"]
    lines += [f"Date: {date}"] if date else []
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if status != 204:
        lines += ["Content-Type: application/json", f"Content-Length: {len(answer.body)}"]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + answer.body
