"""HTTP as it comes: in pieces, in a row, in chunks, or not at all."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.cloud.exchange import Answer, Request
from tools.cloud.wire import BadRequest, RequestReader, written

GET = b"GET /east/compute/v2.1/servers/detail?limit=3&a=b%20c HTTP/1.1\r\nHost: x\r\nX-Auth-Token: AbC\r\n\r\n"
POST = b'POST /identity/v3/auth/tokens HTTP/1.1\r\nContent-Length: 12\r\n\r\n{"auth": {}}'
IMAGE = b"x" * 1000


def _put(chunks: list[bytes]) -> bytes:
    head = b"PUT /east/image/v2/images/1/file HTTP/1.1\r\nContent-Type: application/octet-stream\r\n"
    if len(chunks) == 1:
        return head + b"Content-Length: %d\r\n\r\n" % len(chunks[0]) + chunks[0]
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + body


def _read(data: bytes, sizes: list[int]) -> list[Request]:
    reader, requests = RequestReader(), []
    for size in [*sizes, len(data)]:
        reader.feed(data[:size])
        data = data[size:]
        while (request := reader.next_request()) is not None:
            requests.append(request)
    assert reader.buffered == 0
    return requests


@given(st.lists(st.integers(1, 40), max_size=40))
def test_requests_are_read_however_they_are_cut(sizes: list[int]) -> None:
    get, post, whole, chunked = _read(GET + POST + _put([IMAGE]) + _put([IMAGE[:1], IMAGE[1:]]), sizes)
    assert (get.method, get.path, get.query) == ("GET", "/east/compute/v2.1/servers/detail", "limit=3&a=b%20c")
    assert get.parameters() == {"limit": ["3"], "a": ["b c"]}
    assert get.headers["x-auth-token"] == "AbC"
    assert post.json() == {"auth": {}}
    for request in (whole, chunked):
        assert request.upload is not None
        assert request.body == b""
        assert request.upload.size == len(IMAGE)
        assert request.upload.md5 == hashlib.md5(IMAGE).hexdigest()
        assert request.upload.sha512 == hashlib.sha512(IMAGE).hexdigest()


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"a" * 70000,
    ],
)
def test_what_is_not_http_is_an_error(data: bytes) -> None:
    reader = RequestReader()
    reader.feed(data)
    with pytest.raises(BadRequest):
        reader.next_request()


def test_answers_are_written_with_their_length_and_headers() -> None:
    head, _, body = written(Answer(202, b"{}", {"Location": "http://x/"}), 7).partition(b"\r\n\r\n")
    assert body == b"{}"
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 202 Accepted"
    assert {"Location: http://x/", "Content-Length: 2", "x-openstack-request-id: req-7"} <= set(lines)
    assert b"Content-Length" not in written(Answer(204), 1)
