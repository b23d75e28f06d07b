"""``ready-check`` and ``keep-failed`` in a real launcher, whose machines are a real sshd."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launcher_process import LauncherProcess, fake_provider
from tests.requestor import Record, Zuul, zuul
from tests.sshd import Sshd, generate_key
from tests.zookeeper import Place, eventually

USER = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("identity") / "key"
    generate_key(path)
    return path


@pytest.fixture(scope="module")
def machine(key_file: Path) -> Iterator[Sshd]:
    with Sshd(authorized_key=Path(f"{key_file}.pub").read_text(), options={"MaxStartups": "1000"}) as server:
        yield server


@pytest.fixture
def client(zookeeper: Place) -> Iterator[Zuul]:
    with zuul(zookeeper) as component:
        yield component


def provider(machine: Sshd, key_file: Path, *commands: str, **pool: Any) -> dict[str, Any]:
    """A cloud whose servers are all ``machine`` and are checked by these commands; ``pool`` are further keys."""
    check = {"commands": list(commands), "key-file": str(key_file), "username": USER, "timeout": 20}
    made: dict[str, Any] = fake_provider(
        "fake-cloud", ["a"], fake={"address": machine.address}, **{"ready_check": check, **pool}
    )
    made["cloud-images"][0]["connection-port"] = machine.port
    made["launch-retries"] = 2
    return made


def launch(directory: Path, place: Place, *providers: dict[str, Any]) -> LauncherProcess:
    return LauncherProcess(directory, place, providers=providers, labels=["a"])


def held(client: Zuul) -> list[Record]:
    return [node for node in client.all_nodes().values() if node["state"] == "hold"]


def test_a_node_is_ready_when_its_check_has_passed(
    machine: Sshd, key_file: Path, zookeeper: Place, client: Zuul, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    with launch(tmp_path, zookeeper, provider(machine, key_file, f"echo checked >>{mark}", "true")) as launcher:
        (node_id,) = client.fulfilled(client.submit("a"))
        assert mark.read_text() == "checked\n"
        node = client.node(node_id)
        assert node is not None
        assert (node["state"], node["username"]) == ("ready", "debian")
        assert set(node["host_keys"]) == machine.host_keys
        assert "failed" not in launcher.log


def test_a_machine_that_fails_is_told_with_its_output_and_replaced(
    machine: Sshd, key_file: Path, zookeeper: Place, client: Zuul, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    command = f"test -e {mark} && exit; touch {mark}; printf 'no \\033[1mmirror\\n'; exit 7"
    with launch(tmp_path, zookeeper, provider(machine, key_file, command)) as launcher:
        assert len(client.fulfilled(client.submit("a"))) == 1
        eventually(lambda: len(client.all_nodes()) == 1)
    assert "failed: the machine did not pass its ready-check: the command 'test -e " in launcher.log
    assert "ended with status 7" in launcher.log
    assert "no \\x1b[1mmirror" in launcher.log
    assert "\x1b" not in launcher.log
    assert key_file.read_text().splitlines()[1] not in launcher.log


def test_a_request_whose_machines_all_fail_is_failed(
    machine: Sshd, zookeeper: Place, client: Zuul, tmp_path: Path
) -> None:
    with launch(tmp_path, zookeeper, provider(machine, tmp_path / "no-key", "true")) as launcher:
        assert client.wait_done(client.submit("a"))["state"] == "failed"
        eventually(lambda: client.all_nodes() == {})
    assert f"the key file {tmp_path}/no-key cannot be read: No such file or directory" in launcher.log


def test_the_last_failed_machines_are_held_and_go_in_time(
    machine: Sshd, key_file: Path, zookeeper: Place, client: Zuul, tmp_path: Path
) -> None:
    cloud = provider(machine, key_file, "echo no mirror; exit 7", keep_failed={"count": 1, "seconds": 6})
    with launch(tmp_path, zookeeper, cloud):
        assert client.wait_done(client.submit("a"))["state"] == "failed"
        eventually(lambda: len(held(client)) == len(client.all_nodes()) == 1)
        (node,) = held(client)
        assert "the command 'echo no mirror; exit 7' ended with status 7" in node["comment"]
        assert "no mirror" in node["comment"].partition("status 7")[2]
        assert node["interface_ip"] == machine.address
        eventually(lambda: client.all_nodes() == {})


def test_a_launcher_that_stops_waits_for_no_check(
    machine: Sshd, key_file: Path, zookeeper: Place, client: Zuul, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    with launch(tmp_path, zookeeper, provider(machine, key_file, f"touch {mark}; exec sleep 20")) as launcher:
        client.submit("a")
        eventually(mark.exists)
        assert launcher.stop() == 0
