"""Virtual machines of the local driver: real ones, whose guest is made of this host's programs.

All tests share one image, so that its state is saved once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodepool.driver.adapter import Server, ServerState
from nodepool.driver.local import processes
from nodepool.driver.local.qemu import process
from tests import local_guest, local_host
from tests.local_host import DEADLINE, LocalHost
from tests.sshd import generate_key
from tests.zookeeper import eventually

PATIENCE = 240.0
"""Seconds: processors are emulated, and others work on this host, too."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest's files, and the state directory of all tests."""
    directory = tmp_path_factory.mktemp("qemu")
    local_guest.make(directory)
    return directory


@pytest.fixture
def host(place: Path) -> Iterator[LocalHost]:
    """A provider whose machines go on from a saved state."""
    made = open_host(place)
    yield made
    made.clear()


def open_host(place: Path, label_ram: int = 256, **keys: Any) -> LocalHost:
    image = {name: str(place / file) for name, file in (("kernel", "vmlinuz"), ("initrd", "initrd.gz"))}
    entry = {"name": "guest", "path": str(place / "disk.raw"), "username": "zuul", **image}
    keys = {"cloud_images": [entry], "network_access": "none", "network": "127.81.0.0/24", **keys}
    made = local_host.make(place, {"cloud-image": "guest", "ram": label_ram}, **keys)
    made.patience = PATIENCE
    return made


def test_a_machine_goes_on_from_the_saved_state_and_is_itself(host: LocalHost) -> None:
    first, second = (host.active(host.create(node_id)) for node_id in ("0000000001", "0000000002"))
    said = [host.ask(server, "hostname; cat /etc/machine-id; id -un").split() for server in (first, second)]
    assert [words[0] for words in said] == ["np0000000001", "np0000000002"]
    assert said[0][1] != said[1][1]
    assert said[0][2] == "zuul"
    assert first.interface_ip != second.interface_ip
    assert first.record["host_keys"] != second.record["host_keys"]
    assert list((host.state / "workshop").glob("*/*/state")), "no state was saved"


def test_who_is_not_named_may_not_log_in(host: LocalHost, tmp_path: Path) -> None:
    server = host.active(host.create())
    generate_key(tmp_path / "stranger")
    assert "Permission denied" in host.run(server, "true", tmp_path / "stranger").stderr
    (about,) = (host.state / "workshop").glob("*/*/template.json")
    key = tmp_path / "saved"
    key.write_text(json.loads(about.read_text())["key"])
    key.chmod(0o600)
    assert "Permission denied" in host.run(server, "true", key, "root").stderr


def test_clocks_and_random_numbers_are_not_those_of_the_saved_state(host: LocalHost) -> None:
    servers = [host.active(host.create(node_id)) for node_id in ("0000000001", "0000000002")]
    command = "dd if=/dev/urandom bs=16 count=1 2>/dev/null | base64; date -u +%s"
    said = [host.ask(server, command).split() for server in servers]
    assert said[0][0] != said[1][0]
    now = int(subprocess.check_output(["date", "-u", "+%s"]))
    assert all(abs(now - int(words[1])) < PATIENCE for words in said)


def test_machines_do_not_share_a_disk_and_nothing_is_left_of_them(host: LocalHost) -> None:
    external_id = host.create()
    server = host.active(external_id)
    directory = host.state / "nodes" / external_id
    pid = process.holder(directory)
    assert pid is not None
    assert list(processes.marked(host.state))
    host.adapter.delete_server(external_id, DEADLINE)
    assert host.server(external_id) is None
    assert not directory.exists()
    assert processes.start_time(pid) is None
    assert list(processes.marked(host.state)) == []
    again = host.active(host.create())
    assert again.record["host_keys"] != server.record["host_keys"]


def test_a_machine_without_way_out_reaches_no_service_of_this_host(host: LocalHost) -> None:
    server = host.active(host.create())
    assert not reaches_loopback(host, server)


@pytest.mark.parametrize(("access", "reached"), [("outside", False), ("host", True)])
def test_what_a_machine_reaches_of_this_host(place: Path, access: str, reached: bool) -> None:
    host = open_host(place, network_access=access, templates=False)
    try:
        server = host.active(host.create())
        assert reaches_loopback(host, server) is reached
    finally:
        host.clear()


def reaches_loopback(host: LocalHost, server: Server) -> bool:
    """Whether a machine can connect to a service on a loopback address of this host."""
    with socket.create_server(("127.0.0.1", 0)) as service:
        port = service.getsockname()[1]
        return host.run(server, f"bash -c 'exec 3<>/dev/tcp/10.0.2.2/{port}'").returncode == 0


def test_without_a_saved_state_a_machine_is_booted(place: Path) -> None:
    host = open_host(place, templates=False)
    try:
        server = host.active(host.create())
        assert host.ask(server, "hostname") == "np0000000001"
        assert "up after" in (host.adapter.console_log(server.external_id, DEADLINE) or "")
    finally:
        host.clear()


def test_a_damaged_state_is_seen_and_the_machine_is_booted(host: LocalHost) -> None:
    host.active(host.create())
    (state,) = (host.state / "workshop").glob("*/*/state")
    content = state.read_bytes()
    state.write_bytes(content[: len(content) // 2])
    try:
        server = host.active(host.create("0000000002"))
        assert host.ask(server, "hostname") == "np0000000002"
    finally:
        state.write_bytes(content)


def test_a_machine_that_is_not_wanted_any_more_does_not_start_to_its_end(host: LocalHost) -> None:
    host.active(host.create())
    unwanted = host.create("0000000002")
    directory = host.state / "nodes" / unwanted
    eventually(lambda: process.holder(directory) is not None, PATIENCE)
    host.adapter.delete_server(unwanted, DEADLINE)
    eventually(lambda: host.server(unwanted) is None, PATIENCE)
    assert not directory.exists()
    assert process.holder(directory) is None


def test_a_machine_that_ends_by_itself_is_seen(host: LocalHost) -> None:
    external_id = host.create()
    host.active(external_id)
    pid = process.holder(host.state / "nodes" / external_id)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    server = host.reaches(external_id, ServerState.ERROR)
    assert "ended by itself" in server.fault_text
    host.remove(external_id)


def test_a_machine_whose_directory_is_lost_is_found_and_ended(host: LocalHost) -> None:
    external_id = host.create()
    host.active(external_id)
    assert list(host.adapter.leftovers(DEADLINE)) == []
    shutil.rmtree(host.state / "nodes" / external_id)
    (leftover,) = host.adapter.leftovers(DEADLINE)
    assert leftover.kind == "machines"
    host.adapter.remove_leftover(leftover, DEADLINE)
    host.adapter.remove_leftover(leftover, DEADLINE)
    assert list(host.adapter.leftovers(DEADLINE)) == []
    assert list(processes.marked(host.state)) == []


def test_what_was_saving_a_state_is_ended_when_nobody_saves_it_any_more(place: Path) -> None:
    program = [sys.executable, "-c", KILLED_AT_SAVING, str(place)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as maker:
        assert maker.stdout is not None
        starting = maker.stdout.readline().strip()
        host = open_host(place, network_access="host", label_ram=192)
        eventually(lambda: list(processes.marked(host.state)), PATIENCE)
        assert list(host.adapter.leftovers(DEADLINE)) == [], "somebody is at it"
        maker.kill()
    host.remove(starting)
    (leftover,) = host.adapter.leftovers(DEADLINE)
    host.adapter.remove_leftover(leftover, DEADLINE)
    assert list(processes.marked(host.state)) == []


def test_machines_are_found_again_after_the_process_that_made_them_was_killed(place: Path) -> None:
    program = [sys.executable, "-c", KILLED, str(place)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as maker:
        assert maker.stdout is not None
        ready, starting = maker.stdout.readline().split()
        maker.kill()
    host = open_host(place, network_access="outside", templates=False)
    try:
        assert host.ask(host.active(ready), "hostname") == "np0000000001"
        cut_off = host.reaches(starting, ServerState.ERROR)
        assert "has ended" in cut_off.fault_text
        for external_id in (ready, starting):
            host.remove(external_id)
        eventually(lambda: not list(processes.marked(host.state)), PATIENCE)
    finally:
        host.clear()


KILLED_AT_SAVING = """
import sys, time
from pathlib import Path
from tests.integration.test_local_qemu import open_host
host = open_host(Path(sys.argv[1]), network_access="host", label_ram=192)
print(host.create("0000000001"), flush=True)
time.sleep(600)
"""
KILLED = """
import sys, time
from pathlib import Path
from tests.integration.test_local_qemu import open_host
host = open_host(Path(sys.argv[1]), network_access="outside", templates=False)
ready = host.create("0000000001")
host.active(ready)
print(ready, host.create("0000000002"), flush=True)
time.sleep(600)
"""
