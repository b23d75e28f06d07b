"""``tools/quickstart.sh`` with real machines: an image is built, nodes are made of it, and nothing of them is left."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.sshd import generate_key
from tests.zookeeper import eventually
from tools.quickstart.background import QuickstartError
from tools.quickstart.requestor import Record, Requestor, log_in

ROOT = Path(__file__).resolve().parents[2]
RUN_SECONDS = 1800.0
"""With an image build, on a machine that is busy."""
NODE_SECONDS = 300.0
LABEL = "quickstart"
JOB_STEPS = ("diskimage-builder", "fulfilled", "lock the node", "in-use", "Log in", "set it used", "is deleted", "next")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image needs root: run this test as root"),
]


@dataclass(frozen=True)
class Quickstart:
    """A quickstart of one kind that runs."""

    directory: Path
    kind: str
    cache: Path

    def command(self, *options: str) -> list[str | Path]:
        """The words of the tool's command."""
        words: list[str | Path] = ["--dir", self.directory, "--kind", self.kind, "--cache", self.cache, *options]
        return [ROOT / "tools" / "quickstart.sh", *words]

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the tool to its end."""
        command = self.command(*options)
        return subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, stdin=subprocess.DEVNULL)

    def daemons(self) -> list[int]:
        """Process ids of Nodepool's daemons that run."""
        return [pid for name, pid in self.processes().items() if name.startswith("nodepool-")]

    def nodepool(self, *arguments: str) -> Any:
        """What a command of the operator's says, from JSON."""
        command: list[str | Path] = [
            ROOT / ".venv" / "bin" / "nodepool",
            "-c",
            self.directory / "nodepool.yaml",
            *arguments,
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(result.stdout) if "--json" in arguments else None

    def processes(self) -> dict[str, int]:
        """Process ids by program."""
        return {name: int(pid) for name, pid in re.findall(r"^(\S+) +process (\d+)", self.run("--status").stdout, re.M)}

    @contextlib.contextmanager
    def requestor(self) -> Iterator[Requestor]:
        """A client of its own."""
        marker = json.loads((self.directory / "quickstart.json").read_text())
        client = Requestor(f"127.0.0.1:{marker['ports']['zookeeper']}", "test", lambda: None)
        with contextlib.closing(client):
            yield client

    def machines(self) -> set[str]:
        """Ids of the machines that there are on this host."""
        return {path.name for path in (self.directory / "machines" / "nodes").glob("[!.]*")}

    def use_node(self, command: str) -> tuple[Record, str]:
        """Ask for a node, run a command on it, give it back, see it go; its record and what the command said."""
        with self.requestor() as client:
            request_id = client.submit(LABEL)
            (node_id,) = client.wait_for_answer(request_id, NODE_SECONDS)["nodes"]
            node = client.set_in_use(node_id, client.accept(request_id, node_id))
            said = log_in(node, self.directory / "login_key", self.directory / "known_hosts.test", command)
            client.give_back(node_id, node)
            client.wait_until_gone(node_id, NODE_SECONDS)
        return node, said

    def ready_node(self) -> Record:
        """A node that is ready and nobody's."""
        with self.requestor() as client:
            node_id = client.wait_for_ready_node(LABEL, NODE_SECONDS)
        return next(node for node in self.nodepool("list", "--detail", "--json") if node["id"] == node_id)

    def uploads(self) -> list[Record]:
        """Ready uploads, the newest first."""
        found = [one for one in self.nodepool("image-list", "--json") if one["state"] == "ready"]
        return sorted(found, key=lambda one: -float(one["age"]))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image builds of all kinds share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=["container", "qemu"])
def quickstart(
    request: pytest.FixtureRequest, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Quickstart]:
    """A quickstart that was run once and goes on running."""
    one = Quickstart(tmp_path_factory.mktemp(request.param), request.param, cache)
    try:
        first = one.run()
        print(first.stdout)
        assert first.returncode == 0, first.stdout + first.stderr
        for step in JOB_STEPS:
            assert step in first.stdout
        assert "not done" not in first.stdout
        assert re.search(r"host keys: ssh-ed25519\n +the node says: zuul on ", first.stdout)
        assert len(one.processes()) == 3
        yield one
    finally:
        clean = one.run("--clean")
        assert clean.returncode == 0, clean.stdout + clean.stderr
        assert not one.directory.exists()


def test_a_second_start_uses_what_runs(quickstart: Quickstart) -> None:
    before = quickstart.processes()
    uploads = quickstart.uploads()
    second = quickstart.run()
    assert second.returncode == 0, second.stdout + second.stderr
    assert quickstart.processes() == before
    assert quickstart.uploads() == uploads


def test_no_machine_is_used_twice(quickstart: Quickstart) -> None:
    first, _ = quickstart.use_node("touch /tmp/mine; sync")
    assert first["external_id"] not in quickstart.machines()
    second, said = quickstart.use_node("ls /tmp; cat /etc/machine-id 2>/dev/null; hostname")
    assert "mine" not in said
    assert first["external_id"] != second["external_id"]
    assert first["host_keys"] != second["host_keys"], "two machines have the same host key"
    assert [key.split()[0] for key in second["host_keys"]] == ["ssh-ed25519"]


def test_a_key_that_is_not_authorized_is_refused(quickstart: Quickstart, tmp_path: Path) -> None:
    generate_key(tmp_path / "stranger")
    with quickstart.requestor() as client:
        request_id = client.submit(LABEL)
        (node_id,) = client.wait_for_answer(request_id, NODE_SECONDS)["nodes"]
        node = client.set_in_use(node_id, client.accept(request_id, node_id))
        with pytest.raises(QuickstartError, match="Permission denied"):
            log_in(node, tmp_path / "stranger", tmp_path / "known_hosts", "id")
        strange = node | {"host_keys": [generate_key(tmp_path / "host")]}
        with pytest.raises(QuickstartError, match="Host key verification failed"):
            log_in(strange, quickstart.directory / "login_key", tmp_path / "known_hosts", "id")
        client.give_back(node_id, node)


def test_a_new_image_is_used_and_taken_back(quickstart: Quickstart) -> None:
    (old,) = quickstart.uploads()
    quickstart.nodepool("image-build", "debian")
    eventually(lambda: len(quickstart.uploads()) == 2, RUN_SECONDS, pause=1.0)
    new = quickstart.uploads()[0]
    assert new["external_id"] != old["external_id"]
    # The machine in stock is of the old image; it goes, and the next one is of the new one.
    quickstart.use_node("true")
    _of(quickstart, new)
    # An upload alone would be made again of the build that is still there.
    quickstart.nodepool("image-pause", "debian")
    quickstart.nodepool("dib-image-delete", f"debian-{new['id']}")
    eventually(
        lambda: [one["external_id"] for one in quickstart.uploads()] == [old["external_id"]], NODE_SECONDS, pause=0.2
    )
    quickstart.use_node("true")
    _of(quickstart, old)


def _of(quickstart: Quickstart, upload: Record) -> None:
    """Use nodes until one is of this upload; of those in stock there may be one of another."""

    def uses() -> bool:
        node, _ = quickstart.use_node("true")
        return str(node["image_id"]).endswith(f"/{upload['upload_id']}") and upload["id"] in node["image_id"]

    assert any(uses() for _ in range(3)), f"no machine was made of upload {upload}"


@pytest.mark.parametrize(
    "step", ["Start nodepool-launcher", "Wait until a pool", "Ask", "Set the node in-use", "is deleted"]
)
def test_after_a_kill_in_any_step_the_next_run_goes_on(quickstart: Quickstart, step: str) -> None:
    quickstart.run("--stop")
    with subprocess.Popen(quickstart.command(), stdout=subprocess.PIPE, text=True, start_new_session=True) as first:
        assert first.stdout is not None
        assert any(step in line for line in first.stdout)
        for pid in quickstart.daemons():
            os.kill(pid, signal.SIGKILL)
        first.communicate(timeout=RUN_SECONDS)
    again = quickstart.run()
    assert again.returncode == 0, again.stdout + again.stderr
    eventually(
        lambda: len(quickstart.machines()) == len(quickstart.nodepool("list", "--json")), NODE_SECONDS, pause=0.2
    )
    assert len(quickstart.uploads()) in (1, 2)


def test_nothing_is_left_after_the_end(quickstart: Quickstart) -> None:
    node = quickstart.ready_node()
    address = f"{node['public_ipv4']}:{node['connection_port']}"
    assert address in _listening()
    stop = quickstart.run("--stop")
    assert stop.returncode == 0, stop.stderr
    eventually(lambda: _processes(quickstart.directory) == [])
    assert quickstart.machines() == set()
    assert str(quickstart.directory) not in Path("/proc/mounts").read_text()
    assert str(quickstart.directory) not in subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout
    assert address not in _listening()
    again = quickstart.run()
    assert again.returncode == 0, again.stdout + again.stderr


def _listening() -> set[str]:
    """Addresses with ports on which somebody listens."""
    lines = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[3] for line in lines}


def _processes(directory: Path) -> list[str]:
    """Command lines that name the directory, of all processes but ours."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if str(directory) in line and int(path.parent.name) != os.getpid():
                found.append(line)
    return found
