"""``nodepool-launcher`` as an operator meets it: options, bad input, and ZooKeeper that is not there (spec cli 5)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.launcher_process import PROGRAM
from tests.launcher_program import Running, as_user, refusal, run, running, servers, write
from tests.zookeeper import Place, eventually, local_zookeeper, new_place
from tools.certificates import Authority
from tools.zookeeper import ServerTLS, free_port

WAITING = "Waiting for ZooKeeper: "


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A directory that everybody may enter."""
    directory = Path(tempfile.mkdtemp(prefix="test-launcher-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module", autouse=True)
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A launcher that waits for a ZooKeeper while the other tests run."""
    directory = tmp_path_factory.mktemp("lonely")
    config = write(directory / "nodepool.yaml", zookeeper_servers=servers(free_port()))
    with running(directory, "-f", "--repl", "-c", config) as program:
        yield program


# Options


def test_help() -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for option in ("-c FILE", "-s FILE", "-l FILE", "-p FILE", "-f", "-d", "--no-webapp", "--version"):
        assert option in out


def test_version() -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert re.fullmatch(r"Nodepool version: \S+\n", out)


def test_an_unknown_option() -> None:
    code, out, err = run("--repel")
    assert (code, out) == (2, "")
    assert "unrecognized arguments: --repel" in err
    assert err.startswith("usage: nodepool-launcher ")


# The configuration


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "nodepool.yaml"
    (message,) = refusal("-f", "-c", missing)
    assert message.startswith(f"{missing}: ")


def test_an_empty_configuration(tmp_path: Path) -> None:
    config = tmp_path / "nodepool.yaml"
    config.write_text("")
    (message,) = refusal("-f", "-c", config)
    assert message.startswith(f"{config}: the file is empty")


def test_a_configuration_that_is_not_yaml(tmp_path: Path) -> None:
    config = tmp_path / "nodepool.yaml"
    config.write_text("labels:\n  - name: a\n  - name: [\n")
    messages = refusal("-f", "-c", config)
    assert re.match(re.escape(str(config)) + r":\d+: ", messages[0])


def test_all_problems_of_a_configuration_are_told_at_once(tmp_path: Path) -> None:
    config = tmp_path / "nodepool.yaml"
    config.write_text(
        "zookeeper-servers:\n"
        "  - host: 127.0.0.1\n"
        "labels:\n"
        "  - name: a\n"
        "    min-ready: many\n"
        "max-hold-age: soon\n"
        "providers:\n"
        "  - name: cloud\n"
        "    driver: fluffy\n"
    )
    messages = refusal("-f", "-c", config)
    places = [message.split(": ")[0] for message in messages]
    assert {f"{config}:5", f"{config}:6"} <= set(places)
    assert any(
        place.startswith(f"{config}:") and "fluffy" in text for place, text in zip(places, messages, strict=True)
    )
    assert len(messages) == len(set(messages)) >= 3


def test_a_configuration_without_zookeeper(tmp_path: Path) -> None:
    config = write(tmp_path / "nodepool.yaml")
    (message,) = refusal("-f", "-c", config)
    assert message.startswith(f"{config}: zookeeper-servers: no ZooKeeper servers are given")


def test_files_that_may_not_be_read(public_path: Path) -> None:
    config = write(public_path / "nodepool.yaml", zookeeper_servers=servers(1))
    secure = public_path / "secure.yaml"
    secure.write_text("zookeeper-servers: [{host: hunter2}]\n")
    secure.chmod(0o600)
    (message,) = refusal("-f", "-c", config, "-s", secure, nobody=True)
    assert str(secure) in message
    assert "Permission denied" in message
    config.chmod(0o600)
    (message,) = refusal("-f", "-c", config, nobody=True)
    assert str(config) in message


def test_secrets_are_not_in_messages_about_the_secure_file(tmp_path: Path) -> None:
    config = write(tmp_path / "nodepool.yaml", zookeeper_servers=servers(1))
    secure = tmp_path / "secure.yaml"
    secure.write_text(
        "zookeeper-servers:\n  - host: 17\n    port: hunter2\n"
        "diskimages:\n  - name: debian\n    env-vars:\n      hunter3: [hunter4]\n"
    )
    messages = refusal("-f", "-c", config, "-s", secure)
    assert any(message.startswith(f"{secure}:") for message in messages)
    assert not re.search("hunter[0-9]", "\n".join(messages))


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


def with_tls(directory: Path, cert: Path, key: Path, ca: Path, place: Place | None = None) -> Path:
    """A configuration with these TLS files."""
    files = {"cert": str(cert), "key": str(key), "ca": str(ca)}
    port, chroot = (int(place.hosts.rpartition(":")[2]), place.chroot) if place else (1, "")
    return write(directory / "nodepool.yaml", zookeeper_servers=servers(port, chroot), zookeeper_tls=files)


def test_tls_files_that_are_missing_or_not_pem(tmp_path: Path, authority: Authority) -> None:
    note = tmp_path / "note"
    note.write_text("this is no certificate")
    config = with_tls(tmp_path, tmp_path / "gone.pem", note, authority.certificate)
    messages = refusal("-f", "-c", config)
    assert messages[0].startswith(f"{config}: zookeeper-tls.cert: {tmp_path}/gone.pem cannot be read")
    assert messages[1].startswith(f"{config}: zookeeper-tls.key: {note} is not a PEM file")
    assert len(messages) == 2


def test_a_tls_key_that_may_not_be_read(public_path: Path) -> None:
    own = Authority(public_path / "ca")
    client = own.issue("client")
    for path in (public_path / "ca", client.certificate, own.certificate):
        path.chmod(0o755)
    client.key.chmod(0o600)
    config = with_tls(public_path, client.certificate, client.key, own.certificate)
    (message,) = refusal("-f", "-c", config, nobody=True)
    assert f"zookeeper-tls.key: {client.key} cannot be read: Permission denied" in message


def test_a_key_that_belongs_to_another_certificate(tmp_path: Path, authority: Authority) -> None:
    client, other = authority.issue("client"), authority.issue("other")
    config = with_tls(tmp_path, client.certificate, other.key, authority.certificate)
    (message,) = refusal("-f", "-c", config)
    assert str(client.certificate) in message
    assert str(other.key) in message


def test_tls_with_the_wrong_authority(tmp_path: Path, authority: Authority) -> None:
    stranger = Authority(tmp_path / "theirs", "somebody else")
    client = authority.issue("client")
    tls = ServerTLS(authority.issue("server").store, authority.certificate)
    with local_zookeeper(tmp_path / "server", tls=tls) as server:
        place = new_place(server.tls_hosts)
        config = with_tls(tmp_path, client.certificate, client.key, stranger.certificate, place)
        with running(tmp_path, "-f", "-c", config) as wrong:
            wrong.says("the server's certificate is not trusted")
            assert "check ca" in wrong.output
            assert wrong.end() == 0


# Logging


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("log.yaml", "version: 1\nhandlers: {x: {class: no.such.Handler}}\n", "no.such"),
        ("log.yaml", "handlers: [", "not valid YAML"),
        ("log.ini", "no section", "log.ini"),
        ("log.ini", None, "Unable to read logging config file at"),
    ],
)
def test_a_bad_logging_configuration(tmp_path: Path, name: str, text: str | None, expected: str) -> None:
    config = write(tmp_path / "nodepool.yaml", zookeeper_servers=servers(1))
    if text is not None:
        (tmp_path / name).write_text(text)
    (message,) = refusal("-f", "-c", config, "-l", tmp_path / name)
    assert expected in message
    assert str(tmp_path / name) in message


def test_an_option_of_nodepool_11_that_does_nothing_any_more_is_told(lonely: Running) -> None:
    lonely.says("WARNING nodepool.NodePool: --repl is ignored: ")


# A ZooKeeper that is not there


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1, signal.SIGTERM])
def test_the_wait_for_zookeeper_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    config = write(tmp_path / "nodepool.yaml", zookeeper_servers=servers(free_port()))
    with running(tmp_path, "-d", "-c", config) as program:
        program.says("starts as process")
        began = time.monotonic()
        assert program.end(number) == 0
        assert time.monotonic() - began < 5.0, "it waited for the next report of ZooKeeper, or longer"


def test_a_user_without_a_name(public_path: Path) -> None:
    """As in a container that is run with an arbitrary user id."""
    # Not by the first setpriv itself, which could execute it as root.
    trial = [*as_user(12345), "env", str(PROGRAM), "--version"]
    if subprocess.run(trial, check=False, capture_output=True).returncode:
        pytest.skip(f"other users may not execute {PROGRAM}")
    config = write(public_path / "nodepool.yaml", zookeeper_servers=servers(free_port()))
    with running(public_path, "-f", "-c", config, user=12345, environment={"PATH": os.environ["PATH"]}) as program:
        program.says(WAITING)
        assert program.end() == 0
        assert "Traceback" not in program.output


def test_an_unreachable_zookeeper_is_named_every_ten_seconds(lonely: Running) -> None:
    """Last, since it takes that long; the launcher was started first."""
    eventually(lambda: lonely.output.count(WAITING) >= 2)
    lines = [line for line in lonely.output.splitlines() if WAITING in line]
    assert re.search(r"127\.0\.0\.1:\d+: Connection refused", lines[0])
    assert 9.0 < (_time_of(lines[1]) - _time_of(lines[0])) < 12.0
    assert " WARNING nodepool.zk.ZooKeeper: " in lines[0]
    assert lonely.end() == 0
    assert "Traceback" not in lonely.output


def _time_of(line: str) -> float:
    return datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").timestamp()
