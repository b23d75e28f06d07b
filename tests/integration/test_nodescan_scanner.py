"""The scanner's queue, limits, cancellation, end and log, against real servers."""

import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from nodepool.driver.nodescan import ScanFailure, ScanRequest, ScanResult
from nodepool.driver.nodescan.scanner import Scanner
from tests.peer import Peer, relay, say_nothing, silent_listener
from tests.sshd import Sshd, free_port

RESULT_SECONDS = 60.0


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with Sshd(options={"MaxStartups": "1000"}) as server:
        yield server


@pytest.fixture
def scanner() -> Iterator[Scanner]:
    running = Scanner(retry_interval=0.05)
    running.start()
    yield running
    running.stop()


def request(port: int, host: str = "127.0.0.1", connection_type: str = "ssh", **changes: Any) -> ScanRequest:
    fields: dict[str, Any] = {"key": (host, port), "timeout": 20.0} | changes
    return ScanRequest(host=host, port=port, connection_type=connection_type, **fields)


def scan(scanner: Scanner, wanted: ScanRequest) -> ScanResult:
    results: queue.SimpleQueue[ScanResult] = queue.SimpleQueue()
    scanner.submit(wanted, results.put)
    return results.get(timeout=RESULT_SECONDS)


def test_many_hosts_at_once_take_three_threads() -> None:
    results: queue.SimpleQueue[ScanResult] = queue.SimpleQueue()
    options = {"MaxStartups": "1000"}
    with Sshd("0.0.0.0", key_types=["ed25519"], options=options) as everywhere, silent_listener() as silent_port:
        threads_before = threading.active_count()
        scanner = Scanner()
        scanner.start()
        silent = [request(silent_port, key=number, timeout=3.0) for number in range(50)]
        alive = [request(everywhere.port, f"127.0.1.{number}") for number in range(1, 51)]
        named = [request(everywhere.port, "localhost", key="name")]
        for wanted in (*silent, *alive, *named):
            scanner.submit(wanted, results.put)
        outcomes = [results.get(timeout=RESULT_SECONDS) for _ in range(101)]
        threads = threading.active_count() - threads_before
        scanner.stop()
    assert len({outcome.key for outcome in outcomes}) == 101
    assert [outcome.failure for outcome in outcomes].count(ScanFailure.NO_BANNER) == 50
    assert {frozenset(outcome.host_keys) for outcome in outcomes if outcome.failure is None} == {everywhere.host_keys}
    assert threads == 3  # The loop, asyncssh's options, one name.
    assert threading.active_count() == threads_before


def test_time_in_the_queue_does_not_count(sshd: Sshd) -> None:
    scanner = Scanner(limit=1)
    scanner.start()
    results: queue.SimpleQueue[ScanResult] = queue.SimpleQueue()
    with silent_listener() as silent_port:
        for number in range(3):
            scanner.submit(request(silent_port, key=number, timeout=0.7, retry=False), results.put)
        scanner.submit(request(sshd.port, timeout=1.5, retry=False), results.put)
        outcomes = [results.get(timeout=RESULT_SECONDS) for _ in range(4)]
    scanner.stop()
    assert [outcome.failure for outcome in outcomes] == [ScanFailure.NO_BANNER] * 3 + [None]


def test_a_group_at_its_limit_holds_up_no_other_group(sshd: Sshd) -> None:
    scanner = Scanner(limit=10, limit_per_group=2)
    scanner.start()
    results: queue.SimpleQueue[ScanResult] = queue.SimpleQueue()
    with silent_listener() as silent_port:
        for number in range(50):
            scanner.submit(request(silent_port, key=number, group="sick", timeout=RESULT_SECONDS), results.put)
        scanner.submit(request(sshd.port, group="well"), results.put)
        assert set(results.get(timeout=RESULT_SECONDS).host_keys) == sshd.host_keys
        scanner.stop()


def test_a_host_between_two_attempts_holds_no_place(sshd: Sshd) -> None:
    scanner = Scanner(limit=1, retry_interval=RESULT_SECONDS)
    scanner.start()
    results: queue.SimpleQueue[ScanResult] = queue.SimpleQueue()
    scanner.submit(request(free_port(), key="booting", timeout=10 * RESULT_SECONDS), results.put)
    scanner.submit(request(sshd.port), results.put)
    assert set(results.get(timeout=RESULT_SECONDS).host_keys) == sshd.host_keys
    scanner.stop()


@pytest.mark.parametrize("limit", [1, 10], ids=["queued", "under way"])
def test_a_cancelled_scan_reports_once(limit: int) -> None:
    scanner = Scanner(limit=limit)
    scanner.start()
    results: queue.SimpleQueue[ScanResult] = queue.SimpleQueue()
    with silent_listener() as silent_port:
        scanner.submit(request(silent_port, key="first"), results.put)
        scanner.submit(request(silent_port, key="second"), results.put)
        scanner.cancel("second")
        scanner.cancel("second")
        scanner.cancel("unknown")
        assert results.get(timeout=RESULT_SECONDS) == ScanResult("second", failure=ScanFailure.CANCELLED)
        scanner.stop()
        assert results.get(timeout=RESULT_SECONDS) == ScanResult("first", failure=ScanFailure.CANCELLED)
        assert results.empty()


def test_a_scan_is_replaced_by_one_with_the_same_key(scanner: Scanner, sshd: Sshd) -> None:
    results: queue.SimpleQueue[ScanResult] = queue.SimpleQueue()
    with silent_listener() as silent_port:
        scanner.submit(request(silent_port, key="host"), results.put)
        scanner.submit(request(sshd.port, key="host"), results.put)
        assert results.get(timeout=RESULT_SECONDS).failure is ScanFailure.CANCELLED
        assert set(results.get(timeout=RESULT_SECONDS).host_keys) == sshd.host_keys


def test_stop_ends_everything_at_once_and_a_scanner_can_start_again(sshd: Sshd) -> None:
    scanner = Scanner(limit=10)
    results: queue.SimpleQueue[ScanResult] = queue.SimpleQueue()
    with silent_listener() as silent_port:
        scanner.start()
        for number in range(200):
            scanner.submit(request(silent_port, key=number), results.put)
        started = time.monotonic()
        scanner.stop()
        assert time.monotonic() - started < 4.0
    outcomes = [results.get_nowait() for _ in range(200)]
    assert {outcome.failure for outcome in outcomes} == {ScanFailure.CANCELLED}
    assert {outcome.key for outcome in outcomes} == set(range(200))
    with pytest.raises(RuntimeError, match="not running"):
        scanner.submit(request(sshd.port), results.put)
    scanner.stop()
    scanner.start()
    with pytest.raises(RuntimeError, match="running already"):
        scanner.start()
    assert scan(scanner, request(sshd.port)).failure is None
    scanner.stop()


def test_a_failing_receiver_harms_no_other_scan(scanner: Scanner, sshd: Sshd, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_result: ScanResult) -> None:
        raise LookupError("a defect in the receiver")

    with silent_listener() as silent_port:
        scanner.submit(request(silent_port, key="broken", timeout=0.1), fail)
        assert set(scan(scanner, request(sshd.port)).host_keys) == sshd.host_keys
        assert scan(scanner, request(silent_port, timeout=0.3)).failure is ScanFailure.NO_BANNER
    assert "The receiver of the scan of 'broken' failed" in caplog.text


def test_a_defect_of_the_scanner_is_reported_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken_lookup(*_arguments: object, **_options: object) -> list[tuple[Any, ...]]:
        raise LookupError("a defect")

    scanner = Scanner(lookup=broken_lookup)
    scanner.start()
    result = scan(scanner, request(22, "host.example", key="0000000042"))
    scanner.stop()
    assert (result.failure, result.detail) == (ScanFailure.INTERNAL, "LookupError: a defect")
    assert "Scan of '0000000042' at host.example port 22 failed" in caplog.text


def test_no_connection_is_left_open(scanner: Scanner, sshd: Sshd) -> None:
    def behave(connection: socket.socket, number: int) -> None:
        if number % 3:
            relay(connection, sshd)
        say_nothing(connection, number)

    assert scan(scanner, request(sshd.port)).failure is None
    before = len(os.listdir("/proc/self/fd"))
    with Peer(behave) as peer, silent_listener() as silent_port:
        results: queue.SimpleQueue[ScanResult] = queue.SimpleQueue()
        for number in range(20):
            port = (peer.port, silent_port, free_port(), sshd.port)[number % 4]
            scanner.submit(request(port, key=number, timeout=0.4, attempt_timeout=0.1), results.put)
        for number in range(10, 20):
            scanner.cancel(number)
        for _ in range(20):
            results.get(timeout=RESULT_SECONDS)
    deadline = time.monotonic() + 10.0
    while len(os.listdir("/proc/self/fd")) > before:
        assert time.monotonic() < deadline, "sockets are left open"
        time.sleep(0.02)


def test_scans_leave_the_log_alone(sshd: Sshd, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    scanner = Scanner(retry_interval=0.05)
    scanner.start()

    def behave(connection: socket.socket, number: int) -> None:
        if number % 2:
            relay(connection, sshd)
        connection.close()

    with Peer(behave) as peer:
        assert scan(scanner, request(sshd.port)).failure is None
        assert scan(scanner, request(peer.port, timeout=0.3)).failure is ScanFailure.BROKEN_OFF
        assert scan(scanner, request(free_port(), timeout=0.3)).failure is ScanFailure.REFUSED
    scanner.stop()
    assert [record.message for record in caplog.records if not record.message.startswith("Using selector")] == []
