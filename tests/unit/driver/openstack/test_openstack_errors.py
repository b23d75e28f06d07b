"""What answers and faults of an OpenStack cloud mean; the texts are those that the services really send."""

from __future__ import annotations

import pytest

from nodepool.driver import errors
from nodepool.driver.openstack.errors import (
    LONGEST_TEXT,
    Conflict,
    Forbidden,
    InvalidRequest,
    error_of_answer,
    error_of_fault,
)

INSTANCES = (
    b'{"forbidden": {"code": 403, "message": "Quota exceeded for instances: Requested 1, but already used 2 of 2 '
    b'instances"}}'
)
PORTS = b'{"forbidden": {"code": 403, "message": "Maximum number of ports exceeded"}}'
FLOATING = b'{"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: [\'floatingip\']."}}'
VOLUMES = (
    b'{"overLimit": {"code": 413, "message": "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds '
    b'allowed gigabytes quota. Requested 10G, quota is 20G and 15G has been consumed."}}'
)
POLICY = (
    b'{"forbidden": {"code": 403, "message": "Policy doesn\'t allow os_compute_api:servers:create to be performed."}}'
)
NO_ADDRESS = (
    b'{"NeutronError": {"type": "ExternalIpAddressExhausted", "message": "No more IP addresses available on network '
    b'7a2c.", "detail": ""}}'
)
FLAVOR = b'{"badRequest": {"code": 400, "message": "Invalid flavorRef provided."}}'
TOKEN = b'{"error": {"code": 401, "message": "The request you have made requires authentication.", "title": "x"}}'
AGAIN = b'{"overLimit": {"code": 413, "message": "This request was rate-limited.", "retryAfter": "7"}}'
PAGE = (
    b"<html><head><title>503 Service Unavailable</title></head><body><h1>503</h1>\nNo server is available</body></html>"
)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, INSTANCES, errors.QuotaExceeded),
        (403, PORTS, errors.QuotaExceeded),
        (409, FLOATING, errors.QuotaExceeded),
        (413, VOLUMES, errors.QuotaExceeded),
        (403, POLICY, Forbidden),
        (409, NO_ADDRESS, errors.NoCapacity),
        (400, FLAVOR, InvalidRequest),
        (401, TOKEN, errors.Unauthorized),
        (404, b'{"itemNotFound": {"code": 404, "message": "Instance x could not be found."}}', errors.NotFound),
        (410, b"", errors.NotFound),
        (409, b'{"conflictingRequest": {"code": 409, "message": "Instance x is locked"}}', Conflict),
        (413, AGAIN, errors.RateLimited),
        (429, b"", errors.RateLimited),
        (500, b'{"computeFault": {"code": 500, "message": "Unexpected API Error."}}', errors.UnknownOutcome),
        (503, PAGE, errors.UnknownOutcome),
        (504, b"", errors.UnknownOutcome),
        (501, b"", errors.Rejected),
        (418, b"", errors.Rejected),
    ],
)
def test_an_answer_to_a_change_has_a_type(status: int, body: bytes, kind: type[Exception]) -> None:
    assert type(error_of_answer("POST /servers", status, {}, body, changes=True)) is kind


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_read_that_fails_leaves_nothing_unknown(status: int) -> None:
    assert type(error_of_answer("GET /servers/detail", status, {}, b"", changes=False)) is errors.CloudError


def test_a_failing_cloud_that_speaks_of_quota_leaves_it_unknown() -> None:
    assert type(error_of_answer("POST /servers", 500, {}, INSTANCES, changes=True)) is errors.UnknownOutcome


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "30"}, b"", 30.0),
        ({}, AGAIN, 7.0),
        ({"Retry-After": "3"}, AGAIN, 3.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"", 1.0),
        ({"Retry-After": "-5"}, b"", 0.0),
        ({}, b"not json", 1.0),
        ({}, b"[]", 1.0),
    ],
)
def test_a_limited_rate_says_when_to_come_again(headers: dict[str, str], body: bytes, seconds: float) -> None:
    error = error_of_answer("GET /servers", 429, headers, body, changes=False)
    assert isinstance(error, errors.RateLimited)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (FLAVOR, "POST /servers: HTTP 400: Invalid flavorRef provided."),
        (PAGE, "POST /servers: HTTP 400: 503 No server is available"),
        (b"", "POST /servers: HTTP 400"),
        (b'{"message": "glance says so", "code": "400"}', "POST /servers: HTTP 400: glance says so"),
        (b'{"NeutronError": "old neutron says so"}', "POST /servers: HTTP 400: old neutron says so"),
        (b'"only text"', 'POST /servers: HTTP 400: "only text"'),
        (b"\xff\xfe", "POST /servers: HTTP 400: \ufffd\ufffd"),
    ],
)
def test_the_message_is_that_of_the_service_in_one_line(body: bytes, text: str) -> None:
    assert str(error_of_answer("POST /servers", 400, {}, body, changes=True)) == text


def test_a_long_message_is_cut() -> None:
    text = str(error_of_answer("GET /x", 400, {}, b"x" * 10_000, changes=False))
    assert len(text) == len("GET /x: HTTP 400: ") + LONGEST_TEXT


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("No valid host was found. There are not enough hosts available.", errors.NoCapacity),
        ("No fixed IP addresses available for network: 7a2c", errors.NoCapacity),
        ("Quota exceeded, too many servers in group", errors.QuotaExceeded),
        ("VolumeSizeExceedsAvailableQuota: exceeds allowed gigabytes quota", errors.QuotaExceeded),
        ("Maximum number of ports exceeded", errors.QuotaExceeded),
        ("Build of instance x aborted: the hypervisor gave up", errors.CloudError),
    ],
)
def test_a_fault_has_a_type(message: str, kind: type[Exception]) -> None:
    assert error_of_fault({"code": 500, "message": message}) == (kind, message)


@pytest.mark.parametrize("fault", [None, {}, {"message": ""}, {"message": None}])
def test_a_fault_without_reason_says_so(fault: dict[str, str] | None) -> None:
    assert error_of_fault(fault) == (errors.CloudError, "the cloud gives no reason")
