"""The scanner against real sshd processes and real sockets that behave badly."""

import contextlib
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodepool.driver.nodescan import ScanFailure, ScanRequest, ScanResult
from nodepool.driver.nodescan.scanner import Scanner
from tests.peer import Behaviour, Peer, close_at_once, relay, say, say_nothing
from tests.sshd import Sshd, free_port, generate_key

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


def keyscan(sshd: Sshd) -> set[str]:
    command = ["ssh-keyscan", "-p", str(sshd.port), sshd.address]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {line.split(maxsplit=1)[1] for line in output.splitlines()}


def test_the_keys_are_those_of_ssh_keyscan(scanner: Scanner, sshd: Sshd) -> None:
    result = scan(scanner, request(sshd.port))
    assert set(result.host_keys) == keyscan(sshd) == sshd.host_keys
    assert [key.split()[0] for key in result.host_keys] == ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]
    assert result == ScanResult(("127.0.0.1", sshd.port), result.host_keys, address="127.0.0.1")


def test_a_login_trusts_the_scanned_keys_alone(scanner: Scanner, tmp_path: Path) -> None:
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    with Sshd(authorized_key=generate_key(tmp_path / "identity")) as sshd:
        keys = scan(scanner, request(sshd.port)).host_keys
        for key in keys:
            login = sshd.login(tmp_path / "identity", "echo hello", host_keys=[key], user=user)
            assert (login.stdout, login.returncode) == ("hello\n", 0), login.stderr
        stranger = generate_key(tmp_path / "stranger")
        assert sshd.login(tmp_path / "identity", "echo hello", host_keys=[stranger], user=user).returncode != 0


LEGACY_DSA = {"HostKeyAlgorithms": "+ssh-dss"}
LEGACY_ONLY = {
    "HostKeyAlgorithms": "ssh-rsa",
    "KexAlgorithms": "diffie-hellman-group1-sha1",
    "Ciphers": "3des-cbc",
    "MACs": "hmac-sha1",
}


@pytest.mark.parametrize("connection_type", ["ssh", "network_cli"])
def test_all_key_types_over_ipv6(scanner: Scanner, connection_type: str) -> None:
    with Sshd("::1", key_types=["ecdsa521", "dsa", "rsa", "ecdsa384", "ed25519"], options=LEGACY_DSA) as sshd:
        result = scan(scanner, request(sshd.port, "::1", connection_type))
        assert set(result.host_keys) == sshd.host_keys
        assert result.address == "::1"


def test_a_server_with_legacy_algorithms_only(scanner: Scanner) -> None:
    with Sshd(key_types=["rsa"], options=LEGACY_ONLY) as sshd:
        assert set(scan(scanner, request(sshd.port)).host_keys) == sshd.host_keys


def test_a_host_certificate_does_not_hide_the_key(scanner: Scanner, tmp_path: Path) -> None:
    generate_key(tmp_path / "authority")
    with Sshd(key_types=["ed25519"]) as sshd:
        sign = ["ssh-keygen", "-q", "-s", str(tmp_path / "authority"), "-I", "host", "-h"]
        subprocess.run([*sign, str(sshd.directory / "host_key_ed25519.pub")], check=True)
        with (sshd.directory / "sshd_config").open("a") as configuration:
            configuration.write(f"HostCertificate {sshd.directory / 'host_key_ed25519-cert.pub'}\n")
        sshd.restart()
        assert set(scan(scanner, request(sshd.port)).host_keys) == sshd.host_keys


@pytest.mark.parametrize(("connection_type", "keys"), [("winrm", True), ("ssh", False)])
def test_a_connection_suffices_where_no_keys_are_wanted(scanner: Scanner, connection_type: str, keys: bool) -> None:
    with Peer(say_nothing) as peer:
        result = scan(scanner, request(peer.port, connection_type=connection_type, keys=keys))
    assert (result.failure, result.host_keys, result.address) == (None, (), "127.0.0.1")


@pytest.mark.parametrize(
    ("behave", "failure"),
    [
        (say_nothing, ScanFailure.NO_BANNER),
        (close_at_once, ScanFailure.NO_BANNER),
        (say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ScanFailure.WRONG_BANNER),
        (say(b"SSH-1.5-ancient\r\n"), ScanFailure.WRONG_BANNER),
        (say(bytes(range(256)) * 100), ScanFailure.WRONG_BANNER),
        (say(b"x" * 100_000), ScanFailure.WRONG_BANNER),
        (say(b"line\r\n" * 2_000), ScanFailure.WRONG_BANNER),
        (say(b"SSH-2.0-x\r\n"), ScanFailure.DEADLINE),
        (say(b"SSH-2.0-x\r\n" + b"\xff" * 100), ScanFailure.BROKEN_OFF),
        (say(b"SSH-2.0-x\r\n" + b"\x00\x00\x00\x0c\x0a\x01" + bytes(10)), ScanFailure.BROKEN_OFF),
        (say(b"SSH-2.0-x\r\n" + b"\x00\x00\x00\x18\x04\x14" + bytes(22)), ScanFailure.BROKEN_OFF),
        (say(b"SSH-2.0-x\r\n" + b"\x00\x00\x00\x24\x04\x14" + bytes(34)), ScanFailure.NO_HOST_KEY),
    ],
    ids=[
        "silent",
        "closes",
        "http",
        "ssh1",
        "garbage",
        "endless line",
        "endless lines",
        "banner only",
        "absurd packet",
        "disconnect",
        "short offer",
        "empty offer",
    ],
)
def test_what_is_no_usable_ssh_server_fails_with_a_reason(
    scanner: Scanner, behave: Behaviour, failure: ScanFailure
) -> None:
    with Peer(behave) as peer:
        result = scan(scanner, request(peer.port, timeout=0.5, attempt_timeout=0.2))
    assert (result.failure, result.host_keys) == (failure, ())
    assert "attempts: " in result.detail
    assert result.detail.isprintable()


def test_an_attempt_cut_short_by_the_deadline_does_not_hide_why_the_one_before_failed(scanner: Scanner) -> None:
    def behave(connection: socket.socket, number: int) -> None:
        (say(b"HTTP/1.1 400 Bad Request\r\n\r\n") if number == 1 else say_nothing)(connection, number)

    with Peer(behave) as peer:
        result = scan(scanner, request(peer.port, timeout=0.8, attempt_timeout=0.5))
    assert result.failure is ScanFailure.WRONG_BANNER
    assert "attempts: 2" in result.detail


def test_lines_before_the_banner_are_allowed(scanner: Scanner, sshd: Sshd) -> None:
    def behave(connection: socket.socket, _number: int) -> None:
        connection.sendall(b"Authorised use only.\r\nGo away.\r\n")
        relay(connection, sshd)

    with Peer(behave) as peer:
        assert set(scan(scanner, request(peer.port)).host_keys) == sshd.host_keys


def test_a_server_that_dribbles_bytes_is_scanned(scanner: Scanner, sshd: Sshd) -> None:
    with Peer(lambda connection, _number: relay(connection, sshd, chunk=1)) as peer:
        assert set(scan(scanner, request(peer.port)).host_keys) == sshd.host_keys


def test_an_endless_dribble_ends_at_the_deadline(scanner: Scanner) -> None:
    ended = threading.Event()

    def behave(connection: socket.socket, _number: int) -> None:
        while not ended.wait(0.01):
            connection.sendall(b".")

    with Peer(behave) as peer:
        started = time.monotonic()
        result = scan(scanner, request(peer.port, timeout=0.5))
        assert 0.4 < time.monotonic() - started < 5.0
        ended.set()
    assert result.failure is ScanFailure.NO_BANNER


def test_a_server_that_dies_between_offer_and_key_exchange(scanner: Scanner, sshd: Sshd) -> None:
    def behave(connection: socket.socket, number: int) -> None:
        if number == 1:
            relay(connection, sshd)

        connection.close()

    with Peer(behave) as peer:
        result = scan(scanner, request(peer.port, retry=False))
    assert (result.failure, result.host_keys) == (ScanFailure.BROKEN_OFF, ())
    assert "ssh-ed25519" in result.detail


def test_keys_are_complete_although_connections_are_dropped_at_times(scanner: Scanner, sshd: Sshd) -> None:
    def behave(connection: socket.socket, number: int) -> None:
        if number in (1, 3, 7):
            connection.close()
        else:
            relay(connection, sshd)

    with Peer(behave) as peer:
        assert set(scan(scanner, request(peer.port)).host_keys) == sshd.host_keys


def test_a_garbled_key_exchange_never_yields_a_key(scanner: Scanner, sshd: Sshd) -> None:
    def behave(connection: socket.socket, number: int) -> None:
        if number == 1:
            relay(connection, sshd)
        connection.sendall(b"SSH-2.0-x\r\n" + b"\x00\x00\x00\x0c\x0a\x14" + b"\x7f" * 400)
        say_nothing(connection, number)

    with Peer(behave) as peer:
        result = scan(scanner, request(peer.port, retry=False))
    assert (result.failure, result.host_keys) == (ScanFailure.BROKEN_OFF, ())


def test_a_server_that_starts_late_is_waited_for(scanner: Scanner) -> None:
    results: queue.SimpleQueue[ScanResult] = queue.SimpleQueue()
    with contextlib.ExitStack() as stack:
        sshd = Sshd()
        stack.callback(sshd.remove)
        scanner.submit(request(sshd.port, timeout=60.0), results.put)
        with pytest.raises(queue.Empty):
            results.get(timeout=0.3)
        sshd.start(wait=False)
        assert set(results.get(timeout=RESULT_SECONDS).host_keys) == sshd.host_keys


def test_a_stopped_server_that_goes_on_is_scanned(scanner: Scanner) -> None:
    results: queue.SimpleQueue[ScanResult] = queue.SimpleQueue()
    with Sshd() as sshd:
        sshd.suspend()
        assert scan(scanner, request(sshd.port, timeout=0.3)).failure is ScanFailure.NO_BANNER
        scanner.submit(request(sshd.port, timeout=60.0, attempt_timeout=0.3), results.put)
        sshd.resume()
        assert set(results.get(timeout=RESULT_SECONDS).host_keys) == sshd.host_keys


def test_a_closed_port_is_refused_once_without_retry_and_until_the_deadline_with(scanner: Scanner) -> None:
    port = free_port()
    once = scan(scanner, request(port, retry=False))
    again = scan(scanner, request(port, timeout=0.4))
    assert once.failure is again.failure is ScanFailure.REFUSED
    assert once.detail == f"connect to 127.0.0.1 port {port}: Connection refused (attempts: 1)"
    assert int(again.detail.rpartition(": ")[2].rstrip(")")) > 2


def test_a_host_without_route_is_unreachable(scanner: Scanner) -> None:
    result = scan(scanner, request(22, "255.255.255.255", timeout=1.0, retry=False))
    assert result.failure is ScanFailure.UNREACHABLE


def test_a_name_is_resolved(scanner: Scanner, sshd: Sshd) -> None:
    result = scan(scanner, request(sshd.port, "localhost"))
    assert set(result.host_keys) == sshd.host_keys
    assert result.address == "127.0.0.1"


@pytest.mark.parametrize("host", ["host.invalid", "a" * 64 + ".invalid", "no\0name"])
def test_an_unknown_name_fails_with_a_reason(scanner: Scanner, host: str) -> None:
    assert scan(scanner, request(22, host, retry=False)).failure is ScanFailure.NAME_NOT_RESOLVED


def test_a_stuck_name_service_holds_up_no_other_host(sshd: Sshd) -> None:
    release = threading.Event()

    def stuck_lookup(*_arguments: object, **_options: object) -> list[tuple[Any, ...]]:
        release.wait(RESULT_SECONDS)
        raise socket.gaierror("No answer")

    scanner = Scanner(lookup=stuck_lookup, resolver_threads=1)
    scanner.start()
    results: queue.SimpleQueue[ScanResult] = queue.SimpleQueue()
    try:
        for number in range(5):
            named = request(22, "host.example", key=number, timeout=0.5, attempt_timeout=0.2)
            scanner.submit(named, results.put)
        assert set(scan(scanner, request(sshd.port)).host_keys) == sshd.host_keys
        failures = [results.get(timeout=RESULT_SECONDS).failure for _ in range(5)]
        assert failures == [ScanFailure.NAME_NOT_RESOLVED] * 5
    finally:
        release.set()
        scanner.stop()
