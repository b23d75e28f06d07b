"""``kill -9`` of builder and launcher within each step of what the quickstart does: they converge, and nothing is left.

The image is a real one, of diskimage-builder, with partitions and the quickstart's stand-ins for device-mapper. The
machines are real ones, of guests that are made in a second. Who is killed is killed on an event, never after a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nodepool.builder.dib.leftovers import loop_devices, mounts_below
from nodepool.driver.adapter import Server, ServerState
from nodepool.driver.local import processes
from tests import local_guest, local_host, small_system
from tests.builder_process import BuilderProcess
from tests.image_records import ImageRecords
from tests.launcher_process import LauncherProcess, zookeeper_client
from tests.local_host import DEADLINE, LocalHost
from tests.requestor import Zuul, zuul
from tests.sshd import generate_key
from tests.zookeeper import Place, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image needs root: run this test as root"),
]
ROOT = Path(__file__).resolve().parents[2]
STAND_IN = ROOT / "tools" / "quickstart" / "without-device-mapper" / "run"
PATIENCE = 300.0
"""Seconds for any one step, on a machine that is busy."""
SESSION = 2.0
"""Seconds for which the locks of the killed stand."""
IMAGE = "small"
KINDS = {"container": "tar", "qemu": "qcow2"}
"""The format of the image that machines of each kind need."""
PARTITIONS = """
- local_loop: {name: image0}
- partitioning:
    base: image0
    label: mbr
    partitions:
      - name: root
        flags: [primary]
        size: 100%
        mkfs: {mount: {mount_point: /, fstab: {options: defaults}}}
"""

SERVER = """#!/bin/sh
# No container is taken without an SSH server; nobody starts this one.
mkdir -p /usr/sbin
install -m 755 /bin/false /usr/sbin/sshd
"""


# The builder


class BuildSite:
    """A builder with one image and a local provider of each kind."""

    def __init__(self, directory: Path, place: Place, records: ImageRecords) -> None:
        self.directory = directory
        self.records = records
        self.cache = directory / "cache"
        generate_key(directory / "user_key")
        variables = {
            "TMP_DIR": str(directory / "builder" / "work"),
            "DIB_IMAGE_CACHE": str(self.cache),
            "DIB_LOCKFILES": str(self.cache / "locks"),
            "DIB_JOURNAL_SIZE": "4",
            "DIB_BLOCK_DEVICE_CONFIG": PARTITIONS,
        }
        command = f"{STAND_IN} {Path(sys.executable).parent / 'disk-image-create'} -n --image-size 1"
        script = directory / "elements" / "server" / "install.d" / "50-server"
        script.parent.mkdir(parents=True)
        script.write_text(SERVER)
        script.chmod(0o755)
        image = {"name": IMAGE, "elements": ["tiny", "server"], "dib-cmd": command, "env-vars": variables}
        self.builder = BuilderProcess(
            directory / "builder",
            place,
            providers=[self._provider(kind) for kind in KINDS],
            images=(IMAGE,),
            elements_dir=f"{ROOT / 'tests' / 'elements'}:{directory / 'elements'}",
            diskimages=[image],
            zookeeper_timeout=SESSION,
        )

    def _provider(self, kind: str) -> dict[str, Any]:
        label = {"diskimage": IMAGE, "ram": 64}
        entry = local_host.entry_of(
            self.directory, label, kind=kind, network_access="none", diskimages=[{"name": IMAGE}]
        )
        return entry | {"name": kind, "state-dir": str(self.state(kind))}

    def state(self, kind: str) -> Path:
        """The state directory of a provider."""
        return self.directory / kind

    def nodepool(self, *arguments: str) -> None:
        """An operator's command."""
        command = [sys.executable, "-m", "nodepool.cmd.admin", "-c", str(self.builder.configuration_file), *arguments]
        subprocess.run(command, check=True, capture_output=True)

    # Events

    def runs(self, script: str) -> bool:
        """Whether the newest build has come to a script of an element."""
        logs = sorted((self.builder.directory / "logs").glob("*.log"), key=lambda path: path.stat().st_mtime)
        said = re.compile(rf"dib-run-parts Running \S*{script}")
        return bool(logs and said.search(logs[-1].read_text(errors="replace")))

    def mappings(self) -> list[Path]:
        """What stands for partitions of our disks."""
        ours = loop_devices([str(self.directory)])
        return [link for link in Path("/dev/mapper").glob("loop*p*") if link.is_symlink() and os.readlink(link) in ours]

    def found(self, pattern: str) -> bool:
        """Whether there is such a file."""
        return any(self.directory.glob(pattern))

    # Ends

    def kill(self, *, everything: bool) -> None:
        """Kill the builder; with ``everything``, the build as well, which cannot clean up then."""
        self.builder.kill()
        if everything:
            for path in self.builder.images.glob(".building/*/build.json"):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(json.loads(path.read_text())["leader"]["pid"], signal.SIGKILL)

    def disorder(self, builds: int) -> list[str]:
        """What is not as it is when all is done, with so many builds."""
        ready, uploads = self.records.builds_in("ready"), self.records.uploads("ready")
        wrong = [f"{builds} builds, but {len(ready)}"] if len(ready) != builds else []
        wrong += [f"build {name}" for name in self.records.builds() if name not in ready]
        wrong += [f"upload {one.path}" for one in self.records.uploads() if one not in uploads]
        wrong += [f"lock {path}" for path in self.records.contenders()]
        for kind in KINDS:
            known = {str(one.external_id) for one in uploads if one.provider == kind}
            wrong += [f"{kind}: {len(known)} uploads"] if len(known) != builds else []
            for place in ("images", "workshop"):
                names = {path.name for path in (self.state(kind) / place).glob("*")}
                wrong += [f"{place} of {kind}: {name}" for name in names - known]
        whole = {f"{IMAGE}-{name}." for name in ready}
        wrong += [f"file {name}" for name in self.builder.files if not any(map(name.startswith, whole))]
        wrong += [f"work {path}" for path in self.builder.work.glob("*")]
        root = [str(self.directory)]
        wrong += [*mounts_below(root), *loop_devices(root), *map(str, self.mappings())]
        return wrong + [f"process {name}" for name in self._processes()]

    def _processes(self) -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"TMP_DIR={self.builder.work}".encode() in path.read_bytes():
                    found.append(path.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        return found


@pytest.fixture
def build_site(zookeeper: Place, tmp_path: Path) -> Iterator[BuildSite]:
    with zookeeper_client(zookeeper) as client:
        site = BuildSite(tmp_path, zookeeper, ImageRecords(client, IMAGE))
        yield site
        site.kill(everything=True)


def test_the_builder_killed_in_each_phase(build_site: BuildSite) -> None:
    site, links = build_site, set()
    building: tuple[tuple[Callable[[], object], bool], ...] = (
        (lambda: site.runs("root.d/") and site.found("cache/tiny.tar.new"), True),
        (lambda: site.runs("install.d/"), True),
        (site.mappings, True),
        (lambda: site.found("builder/images/.building/*/*.qcow2-new"), False),
    )
    for event, everything in building:
        site.records.request_build()
        site.builder.start()
        eventually(event, PATIENCE, pause=0.01)
        site.kill(everything=everything)
        links |= {_told_apart(link) for link in site.mappings()}
    assert links, "nothing was left that would have to be removed"
    site.records.request_build()
    for pattern in ("*/images/*/content.*", "container/workshop/*"):
        site.builder.start()
        eventually(lambda pattern=pattern: site.found(pattern), PATIENCE, pause=0.01)  # type: ignore[misc]
        site.builder.kill()
    _settled(site, 1)
    (build,) = site.records.builds_in("ready")
    site.builder.kill()
    site.nodepool("image-pause", IMAGE)
    site.nodepool("dib-image-delete", f"{IMAGE}-{build}")
    site.builder.start()
    eventually(lambda: site.found("*/images/*/deleted") or not site.records.uploads("ready"), PATIENCE, pause=0.005)
    site.builder.kill()
    _settled(site, 0)
    assert not links & {_told_apart(path) for path in Path("/dev/mapper").iterdir()}


def _told_apart(link: Path) -> tuple[str, int]:
    """Another build may have another link of the same name."""
    try:
        return link.name, link.lstat().st_ctime_ns
    except OSError:
        return link.name, 0


def _settled(site: BuildSite, builds: int) -> None:
    site.builder.start()
    try:
        eventually(lambda: site.disorder(builds) == [], PATIENCE, pause=0.2)
    except AssertionError:
        raise AssertionError(f"{site.disorder(builds)}\n{site.builder.log[-6000:]}") from None


# The launcher


@dataclass
class Lab:
    """A launcher whose machines are those of this host."""

    directory: Path
    place: Place
    host: LocalHost
    entry: dict[str, Any]

    def launcher(self, place: str | None = None) -> LauncherProcess:
        """One that is not started; with ``place``, one that is killed there."""
        program = (sys.executable, "-m", "tests.dying_daemon", "launcher", f"nodepool.driver.local.{place}")
        settings: dict[str, Any] = {"program": program} if place else {}
        return LauncherProcess(
            self.directory,
            self.place,
            providers=[self.entry],
            labels=["small"],
            environment={"PYTHONPATH": str(ROOT)},
            zookeeper_timeout=SESSION,
            **settings,
        )

    def die(self, place: str) -> None:
        """A launcher is started, comes to a place because of what it finds, and is killed there."""
        dying = self.launcher(place)
        dying.start(wait=False)
        assert dying.wait_end(PATIENCE) == -signal.SIGKILL, dying.log[-4000:]

    def outdated_state(self) -> Path:
        """As if a state had been saved by another version of QEMU; nothing but removal can become of it."""
        (workshop,) = (self.host.state / "workshop").iterdir()
        directory = workshop / "of-another-qemu"
        directory.mkdir()
        (directory / "template.json").write_text(json.dumps({"key": "", "host_public_key": "", "basis": ["1"]}))
        return directory

    def use(self, client: Zuul, node_id: str) -> None:
        """Somebody logs in to a machine of his."""
        node = client.use(node_id)
        record = {"connection_port": node["connection_port"], "host_keys": node["host_keys"]}
        server = Server(node["external_id"], ServerState.ACTIVE, interface_ip=node["interface_ip"], record=record)
        assert self.host.ask(server, "id -un; hostname").split() == ["zuul", f"np{node_id}"]

    def assert_nothing_is_left(self, client: Zuul, but: str = "-") -> None:
        """With a launcher at work there is soon no node but one, and nothing of any other."""
        eventually(lambda: client.all_nodes().keys() <= {but}, PATIENCE, pause=0.05)
        assert list(self.host.adapter.leftovers(DEADLINE)) == []
        nodes = self.host.state / "nodes"
        assert [path for path in nodes.iterdir() if not path.name.startswith(f"{but}-")] == []
        marked = [one.directory.name for one in processes.marked(self.host.state)]
        mounted = [os.path.relpath(point, nodes) for point in mounts_below([str(nodes)])]
        assert [name for name in (*marked, *mounted) if not name.startswith(f"{but}-")] == []
        assert list((self.host.state / "workshop").glob("*/.new-*")) == []


def open_lab(directory: Path, place: Place, image: dict[str, str], ram: int, kind: str) -> Lab:
    keys: dict[str, Any] = {
        "kind": kind,
        "network_access": "none",
        "network": "127.86.0.0/24",
        "cloud_images": [{"name": "guest", "username": "zuul", **image}],
    }
    label = {"cloud-image": "guest", "ram": ram}
    host = local_host.make(directory, label, **keys)
    host.patience = PATIENCE
    return Lab(directory, place, host, local_host.entry_of(directory, label, **keys))


@pytest.fixture(params=list(KINDS))
def lab(request: pytest.FixtureRequest, zookeeper: Place, tmp_path: Path) -> Iterator[Lab]:
    if request.param == "qemu":
        local_guest.make(tmp_path)
        names = {"path": "disk.raw", "kernel": "vmlinuz", "initrd": "initrd.gz"}
        image = {key: str(tmp_path / name) for key, name in names.items()}
    else:
        image = {"path": str(small_system.write(tmp_path / "small.tar"))}
    made = open_lab(tmp_path, zookeeper, image, 256 if request.param == "qemu" else 64, request.param)
    yield made
    made.host.clear()


SAVING = {
    "the machine whose state is to be saved boots": "qemu.kind:QemuKind._boot:return:1",
    "its state is saved, but not complete": "qemu.template:_save:return:1",
}
RESUMING = {
    "it stands still": "qemu.kind:QemuKind._launch:return:1",
    "it is about to be made its own": "qemu.login:run:call:1",
    "it was made its own": "qemu.login:run:return:1",
}
STARTING = {
    "a machine is noted": "state_directory:StateDirectory.add:return:1",
    "it answers": "starts:Starts._outcome:return:1",
    "that is noted": "state_directory:StateDirectory.end:return:1",
}
DELETING = {
    "it is to go": "state_directory:StateDirectory.mark_deleting:return:1",
    "its processes have ended": "state_directory:StateDirectory.forget:call:1",
    "its files are gone": "state_directory:StateDirectory.forget:return:1",
}


def test_the_launcher_killed_in_each_phase(lab: Lab) -> None:
    """What has just happened when it is killed is in the tables; each goes on from where the one before has died."""
    virtual = lab.entry["kind"] == "qemu"
    with zuul(lab.place) as client:
        request = client.submit("small")
        for place in SAVING.values() if virtual else ():
            lab.die(place)
        outdated = lab.outdated_state() if virtual else None
        for place in ((RESUMING if virtual else {}) | STARTING).values():
            lab.die(place)
        with lab.launcher():
            (node_id,) = client.accept(request, PATIENCE)
            lab.use(client, node_id)
            lab.assert_nothing_is_left(client, but=node_id)
            assert outdated is None or not outdated.exists()
        client.give_back(node_id)
        for place in DELETING.values():
            lab.die(place)
        with lab.launcher():
            lab.assert_nothing_is_left(client)
