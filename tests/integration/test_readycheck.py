"""The checker against real sshd processes, and peers that behave badly."""

from __future__ import annotations

import logging
import os
import pwd
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodepool.driver.adapter import ReadyCheck
from nodepool.driver.readycheck.checker import Checker
from nodepool.driver.readycheck.request import CheckRequest, CheckResult
from tests.peer import Behaviour, Peer, close_at_once, say, say_nothing
from tests.sshd import Sshd, free_port, generate_key

RESULT_SECONDS = 60.0
USER = pwd.getpwuid(os.getuid()).pw_name
MANY_LOGINS = {"MaxStartups": "1000"}


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("identity") / "id_ed25519"
    generate_key(path)
    return path


@pytest.fixture(scope="module")
def authorized(key_file: Path) -> str:
    return Path(f"{key_file}.pub").read_text()


@pytest.fixture(scope="module")
def sshd(authorized: str) -> Iterator[Sshd]:
    with Sshd(authorized_key=authorized, options=MANY_LOGINS) as server:
        yield server


@pytest.fixture
def checker() -> Iterator[Checker]:
    running = Checker()
    yield running
    running.stop()


@pytest.fixture
def check(checker: Checker, sshd: Sshd, key_file: Path) -> Any:
    """Run commands on ``sshd`` or another machine, with the key and a generous time-out unless told otherwise."""

    def run(*commands: str, **changes: Any) -> CheckResult:
        return result_of(checker, request(sshd, changes.pop("key_file", key_file), *commands, **changes))

    return run


def request(sshd: Sshd, key_file: Path | str | None, *commands: str, **changes: Any) -> CheckRequest:
    named = None if key_file is None else str(key_file)
    check = ReadyCheck(commands, named, timeout=changes.pop("timeout", 30.0))
    fields: dict[str, Any] = {"key": object(), "host": sshd.address, "port": sshd.port, "username": USER} | changes
    return CheckRequest(check=check, **fields)


def result_of(checker: Checker, wanted: CheckRequest) -> CheckResult:
    results: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    checker.submit(wanted, results.put)
    return results.get(timeout=RESULT_SECONDS)


def ended(result: CheckResult) -> str:
    assert result.failure is not None
    return result.failure


# Commands


def test_a_machine_is_ready_if_all_commands_succeed(check: Any, sshd: Sshd) -> None:
    result = check("echo one", "echo two >&2", "echo three", host_keys=tuple(sshd.host_keys))
    assert result == CheckResult(None, "one\ntwo\nthree\n")


def test_the_first_command_that_fails_ends_it(check: Any) -> None:
    result = check("echo one", "echo out; echo err >&2; exit 3", "echo never")
    assert result == CheckResult("the command 'echo out; echo err >&2; exit 3' ended with status 3", "one\nout\nerr\n")


def test_a_command_that_does_not_exist_fails(check: Any) -> None:
    result = check("no-such-command-here")
    assert result.failure == "the command 'no-such-command-here' ended with status 127"
    assert "no-such-command-here" in result.output


def test_a_command_that_a_signal_ends_fails(check: Any) -> None:
    assert check("echo last words; kill -KILL $$") == CheckResult(
        "the command 'echo last words; kill -KILL $$' was ended by the signal KILL", "last words\n"
    )


def test_commands_have_no_input(check: Any) -> None:
    assert check("cat; echo end") == CheckResult(None, "end\n")


def test_only_the_end_of_much_output_is_kept(check: Any) -> None:
    result = check("seq 1 400000; exit 1")
    assert result.output.endswith("399999\n400000\n")
    assert "bytes before this are left out" in result.output.splitlines()[0]
    assert 8000 < len(result.output) < 8300


def test_the_output_is_made_harmless(check: Any) -> None:
    result = check(r"printf '\033[2Ja\377\000\r\n'")
    assert result == CheckResult(None, "\\x1b[2Ja\ufffd\\x00\n")


@pytest.mark.parametrize("command", ["exec sleep 20", "exec yes", "exec >&- 2>&-; exec sleep 20"])
def test_a_command_that_does_not_end_is_ended_by_the_time_out(check: Any, command: str) -> None:
    began = time.monotonic()
    result = check("echo begin", command, timeout=1.5)
    assert result.failure == f"not ready within 1.5 s: the command '{command}' was still running"
    assert 1.4 < time.monotonic() - began < 10.0


def test_endless_output_costs_little(check: Any) -> None:
    began = time.process_time()
    result = check("exec yes 'a line of some length, and another one'", timeout=3.0)
    assert "was still running" in ended(result)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(("child", "status"), [("sleep 20", 0), ("sleep 20", 4), ("exec timeout 20 yes", 0)])
def test_a_child_in_the_background_holds_nothing_up(check: Any, child: str, status: int) -> None:
    began = time.monotonic()
    result = check(f"({child}) & echo begun; exit {status}")
    assert (result.failure is None) == (status == 0)
    assert time.monotonic() - began < 15.0


# Keys and users


@pytest.mark.parametrize("key_type", ["ed25519", "ecdsa", "ecdsa384", "ecdsa521", "rsa"])
def test_keys_of_all_types(checker: Checker, tmp_path: Path, key_type: str) -> None:
    with Sshd(authorized_key=generate_key(tmp_path / "key", key_type)) as sshd:
        assert result_of(checker, request(sshd, tmp_path / "key", "true")).failure is None


@pytest.mark.parametrize("key_format", ["PEM", "PKCS8"])
def test_keys_in_other_formats(checker: Checker, tmp_path: Path, key_format: str) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "rsa", "-m", key_format, "-f", path], check=True)
    with Sshd(authorized_key=Path(f"{path}.pub").read_text()) as sshd:
        assert result_of(checker, request(sshd, path, "true")).failure is None


def test_a_certificate_beside_the_key_is_used(checker: Checker, tmp_path: Path) -> None:
    authority, path = tmp_path / "authority", tmp_path / "key"
    generate_key(authority)
    generate_key(path)
    with Sshd(options={"TrustedUserCAKeys": f"{authority}.pub"}) as sshd:
        assert "does not let in" in ended(result_of(checker, request(sshd, path, "true", timeout=1.0)))
        sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "check", "-n", USER, f"{path}.pub"]
        subprocess.run(sign, check=True)
        assert result_of(checker, request(sshd, path, "true")).failure is None
        Path(f"{path}-cert.pub").write_text("garbled")
        wrong = f"the certificate {path}-cert.pub does not belong to the key, or is none"
        assert result_of(checker, request(sshd, path, "true")).failure == wrong


def test_the_home_directory_may_be_written_as_a_tilde(check: Any, key_file: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(key_file.parent))
    assert check("true", key_file=f"~/{key_file.name}").failure is None


def test_the_default_keys_are_tried_if_none_is_named(
    check: Any, key_file: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    none = "there is no private key in ~/.ssh that can be used: name one with key-file"
    assert check("true", key_file=None).failure == none
    (tmp_path / ".ssh").mkdir()
    subprocess.run(["ssh-keygen", "-q", "-N", "secret", "-t", "rsa", "-f", tmp_path / ".ssh/id_rsa"], check=True)
    passphrase = "the key file ~/.ssh/id_rsa has a passphrase, which nobody is there to type"
    assert check("true", key_file=None).failure == f"{none} ({passphrase})"
    generate_key(tmp_path / ".ssh/id_ecdsa", "ecdsa")
    (tmp_path / ".ssh/id_ed25519").write_bytes(key_file.read_bytes())
    assert check("true", key_file=None).failure is None


def test_a_key_file_that_cannot_be_used_is_named_and_not_quoted(check: Any, key_file: Path, tmp_path: Path) -> None:
    locked, garbled, empty = tmp_path / "locked", tmp_path / "garbled", tmp_path / "empty"
    subprocess.run(["ssh-keygen", "-q", "-N", "secret", "-t", "ed25519", "-f", locked], check=True)
    garbled.write_text("".join(reversed(key_file.read_text())))
    empty.touch()
    no_key = "holds no private RSA, ECDSA or Ed25519 key"
    for path, wrong in [
        (tmp_path / "none", "cannot be read: No such file or directory"),
        (tmp_path, "cannot be read: not a regular file"),
        (locked, "has a passphrase, which nobody is there to type"),
        (garbled, no_key),
        (empty, no_key),
        (Path(f"{key_file}.pub"), no_key),
    ]:
        assert check("true", key_file=str(path)) == CheckResult(f"the key file {path} {wrong}")


def test_a_key_file_that_was_replaced_is_read_anew(check: Any, key_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "key"
    generate_key(path)
    assert "does not let in" in check("true", key_file=str(path), timeout=1.0).failure
    path.write_bytes(key_file.read_bytes())
    assert check("true", key_file=str(path)).failure is None


def test_a_user_who_is_not_known_is_told_in_the_end(check: Any, key_file: Path, sshd: Sshd) -> None:
    failure = check("true", username="nobody-here", timeout=3.0).failure
    assert failure == (
        f"not ready within 3 s: 127.0.0.1 port {sshd.port} does not let in nobody-here with {key_file}: "
        "Authentication failed. (attempts: 2)"
    )


def test_a_key_that_is_installed_late_is_waited_for(checker: Checker, key_file: Path, authorized: str) -> None:
    with Sshd() as sshd:
        results: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
        checker.submit(request(sshd, key_file, "true"), results.put)
        wait_for_log(sshd, "Connection closed by authenticating user")
        (sshd.directory / "authorized_keys").write_text(authorized)
        assert results.get(timeout=RESULT_SECONDS).failure is None


def wait_for_log(sshd: Sshd, text: str) -> None:
    deadline = time.monotonic() + RESULT_SECONDS
    while text not in sshd.log:
        assert time.monotonic() < deadline, sshd.log
        time.sleep(0.02)


# Host keys


@pytest.mark.parametrize("key_type", ["ed25519", "ecdsa", "rsa"])
def test_one_of_the_host_keys_suffices(checker: Checker, key_file: Path, authorized: str, key_type: str) -> None:
    with Sshd(authorized_key=authorized, key_types=[key_type]) as sshd:
        keys = ("ssh-ed25519 AAAA", *sshd.host_keys)
        assert result_of(checker, request(sshd, key_file, "true", host_keys=keys)).failure is None


def test_a_machine_with_another_host_key_is_not_logged_in_to(
    checker: Checker, key_file: Path, authorized: str, tmp_path: Path
) -> None:
    stranger = generate_key(tmp_path / "stranger")
    with Sshd(authorized_key=authorized) as sshd:
        result = result_of(checker, request(sshd, key_file, "true", host_keys=(stranger,)))
        assert f"127.0.0.1 port {sshd.port} shows another host key (SHA256:" in ended(result)
        assert "Accepted publickey" not in sshd.log


# Machines that do not answer as they should


def test_ipv6(checker: Checker, key_file: Path, authorized: str) -> None:
    with Sshd("::1", authorized_key=authorized) as sshd:
        result = result_of(checker, request(sshd, key_file, "true", host_keys=tuple(sshd.host_keys)))
        assert result.failure is None


def test_a_machine_without_an_address_is_not_taken_for_this_one(check: Any) -> None:
    assert check("true", host="") == CheckResult("the server has no address to connect to")


def test_a_server_that_starts_late_is_waited_for(checker: Checker, key_file: Path, authorized: str) -> None:
    sshd = Sshd(authorized_key=authorized)
    try:
        results: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
        checker.submit(request(sshd, key_file, "true"), results.put)
        with pytest.raises(queue.Empty):
            results.get(timeout=0.5)
        sshd.start()
        assert results.get(timeout=RESULT_SECONDS).failure is None
    finally:
        sshd.remove()


def test_a_refused_connection_is_told_in_the_end(check: Any) -> None:
    port = free_port()
    failure = check("true", port=port, timeout=2.0).failure
    assert failure.startswith(f"not ready within 2 s: no connection to 127.0.0.1 port {port}: Connection refused")


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (say_nothing, "no answer"),
        (close_at_once, ""),
        (say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ""),
        (say(b"SSH-2.0-nonsense\r\n" + bytes(range(256)) * 100), ""),
        (say(b"SSH-2.0-\x1b[31m\r\n\xff\xff\xff\xff"), ""),
    ],
)
def test_what_speaks_no_ssh_is_told_in_the_end(check: Any, behave: Behaviour, reason: str, caplog: Any) -> None:
    with Peer(behave) as peer:
        failure = check("true", port=peer.port, timeout=1.5).failure
    assert failure.startswith(f"not ready within 1.5 s: no SSH session with 127.0.0.1 port {peer.port}: {reason}")
    assert failure.isprintable()
    assert [record for record in caplog.records if record.name.startswith("paramiko")] == []


@pytest.mark.parametrize("stuck_at", ["login", "command"])
def test_a_machine_that_hangs_is_left_at_the_time_out(
    checker: Checker, key_file: Path, authorized: str, stuck_at: str
) -> None:
    with Sshd(authorized_key=authorized) as sshd:
        if stuck_at == "login":
            sshd.suspend()
        began = time.monotonic()
        result = result_of(checker, request(sshd, key_file, "kill -STOP $PPID", timeout=2.0))
        sshd.resume()
        assert 1.9 < time.monotonic() - began < 10.0
        assert ("was still running" in ended(result)) == (stuck_at == "command")


def test_a_lost_connection_is_no_verdict(check: Any, tmp_path: Path) -> None:
    """As when a machine boots once more on its first day: the commands are run again."""
    mark = tmp_path / "booted"
    once = f"test -e {mark} || {{ touch {mark}; kill -KILL $PPID; exec sleep 20; }}"
    assert check("echo hello", once) == CheckResult(None, "hello\n")


def test_a_connection_lost_in_a_command_is_told_in_the_end(check: Any) -> None:
    result = check("echo begin; kill -KILL $PPID; exec sleep 20", timeout=2.0)
    assert result.failure.startswith("not ready within 2 s: the connection to 127.0.0.1 port ")
    assert "was lost before the command 'echo begin; kill -KILL $PPID; exec sleep 20' ended" in result.failure


# Several checks


def test_a_provider_that_hangs_does_not_hold_up_another(sshd: Sshd, key_file: Path) -> None:
    checker = Checker(limit_per_group=2)
    results: queue.SimpleQueue[tuple[str, CheckResult]] = queue.SimpleQueue()
    with Peer(say_nothing) as peer:
        for _ in range(10):
            checker.submit(
                request(sshd, key_file, "true", port=peer.port, group="hangs", timeout=20.0),
                lambda result: results.put(("hangs", result)),
            )
        for _ in range(10):
            checker.submit(
                request(sshd, key_file, "true", group="works"), lambda result: results.put(("works", result))
            )
        first = [results.get(timeout=RESULT_SECONDS) for _ in range(10)]
        checker.stop()
    assert first == [("works", CheckResult())] * 10


def test_the_time_in_the_queue_does_not_count(sshd: Sshd, key_file: Path) -> None:
    checker = Checker(limit_per_group=1)
    results: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    for _ in range(4):
        checker.submit(request(sshd, key_file, "sleep 0.7", timeout=2.0), results.put)
    assert [results.get(timeout=RESULT_SECONDS) for _ in range(4)] == [CheckResult()] * 4
    checker.stop()


def test_a_machine_that_is_tried_again_holds_no_place_meanwhile(sshd: Sshd, key_file: Path) -> None:
    checker = Checker(limit_per_group=1)
    results: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    checker.submit(request(sshd, key_file, "true", port=free_port(), timeout=20.0), lambda _: None)
    checker.submit(request(sshd, key_file, "true"), results.put)
    assert results.get(timeout=10.0) == CheckResult()
    checker.stop()


def test_a_burst_is_served_by_few_threads_that_end(sshd: Sshd, key_file: Path) -> None:
    checker = Checker(limit_per_group=4)
    results: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    for _ in range(20):
        checker.submit(request(sshd, key_file, "true", group="burst"), results.put)
    assert _threads("burst") <= 4
    assert [results.get(timeout=RESULT_SECONDS) for _ in range(20)] == [CheckResult()] * 20
    _eventually_no_threads("burst")
    checker.stop()


def _threads(group: str) -> int:
    return sum(thread.name == f"ready-check-{group}" for thread in threading.enumerate())


def _eventually_no_threads(group: str) -> None:
    deadline = time.monotonic() + 10.0
    while _threads(group):
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["cancel", "replace", "stop"])
@pytest.mark.parametrize("machine", ["hangs", "refuses", "runs"])
def test_a_cancelled_check_ends_at_once_and_tells_nobody(sshd: Sshd, key_file: Path, how: str, machine: str) -> None:
    checker = Checker()
    results: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    begun = threading.Event()

    def note(connection: socket.socket, number: int) -> None:
        begun.set()
        say_nothing(connection, number)

    with Peer(note) as peer:
        port = {"hangs": peer.port, "refuses": free_port(), "runs": sshd.port}[machine]
        wanted = request(sshd, key_file, "exec sleep 20", port=port, key="one", group=f"{how}-{machine}")
        checker.submit(wanted, results.put)
        if machine == "hangs":
            assert begun.wait(10.0)
        elif machine == "runs":
            wait_for_log(sshd, "Accepted publickey")
        if how == "cancel":
            checker.cancel("one")
        elif how == "replace":
            checker.submit(request(sshd, key_file, "echo second", key="one"), lambda result: results.put(result))
            assert results.get(timeout=RESULT_SECONDS) == CheckResult(None, "second\n")
        else:
            checker.stop()
        _eventually_no_threads(f"{how}-{machine}")
    assert results.empty()
    checker.stop()


def test_nothing_happens_after_the_stop(checker: Checker, sshd: Sshd, key_file: Path) -> None:
    checker.stop()
    checker.submit(request(sshd, key_file, "true", group="late"), lambda _: None)
    checker.cancel("unknown")
    assert _threads("late") == 0


def test_a_receiver_that_fails_hurts_nobody_else(sshd: Sshd, key_file: Path, caplog: Any) -> None:
    checker = Checker(limit_per_group=1)

    def fail(_: CheckResult) -> None:
        raise RuntimeError("the receiver is broken")

    with caplog.at_level(logging.ERROR):
        checker.submit(request(sshd, key_file, "true"), fail)
        assert result_of(checker, request(sshd, key_file, "true")) == CheckResult()
    assert "the receiver is broken" in caplog.text
    checker.stop()
