"""The kinds ``qemu`` and ``container``: an image is built, and throw-away machines are made of it on this host."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from nodepool.driver.local.config import HostSettings
from nodepool.driver.local.driver import machine_kind
from nodepool.driver.local.machine import MachineKind
from tools.quickstart import image_build
from tools.quickstart.background import Background, QuickstartError, program, shown
from tools.quickstart.node_server import make_key
from tools.quickstart.requestor import Record, Requestor
from tools.quickstart.source import LABEL, NodeSource
from tools.quickstart.steps import Step, Steps

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "debian"
PROVIDER = "this-host"
ELEMENTS = {"qemu": ("debian-node", "local-node", "local-kernel"), "container": ("debian-node", "local-node")}
FORMATS = {"qemu": "qcow2", "container": "tar"}
BUILD_SECONDS = 1800.0
BOOT_SECONDS = 600.0
BUILDER_STOP_SECONDS = 100.0

_CONFIGURATION = """\
images-dir: {directory}/images
elements-dir: {root}/etc/elements
build-log-dir: {directory}/builds

diskimages:
  - name: {image}
    elements: [{elements}]
    dib-cmd: {command}
    username: zuul
    python-path: auto
    rebuild-age: 86400
    env-vars:
      TMP_DIR: {directory}/temporary
      DIB_IMAGE_CACHE: {cache}
      DIB_LOCKFILES: {cache}/locks

labels:
  - name: {label}
    min-ready: 1

providers:
  - name: {provider}
    driver: local
    kind: {kind}
    state-dir: {directory}/machines
    authorized-keys: [{identity}.pub]
    boot-timeout: 600
    diskimages:
      - name: {image}
    pools:
      - name: main
        max-servers: 3
        labels:
          - {{name: {label}, diskimage: {image}, cores: 1, ram: 512, console-log: true}}
"""


class Machines(NodeSource):
    """See the module's description.

    :param cache: where builds find again what others have fetched; None: in the directory
    """

    patience = BOOT_SECONDS

    def __init__(self, directory: Path, kind: str, cache: Path | None) -> None:
        self._directory = directory
        self._kind = kind
        self._cache = cache or directory / "cache"
        self._builder = Background("nodepool-builder", directory)
        self.identity = directory / "login_key"
        self.programs = (self._builder,)
        self._stand_in = not _has_device_mapper()

    def check(self) -> None:
        """Whether images can be built and machines be made here."""
        if os.geteuid() != 0 and _failed(["sudo", "-n", "true"]):
            raise QuickstartError(
                "building an image needs root: run this as root, or allow this user to use sudo without a password. "
                "Without either: --kind static"
            )
        self._directory.joinpath("machines", "nodes").mkdir(parents=True, exist_ok=True)
        if problems := _kind(self._kind, self._directory / "machines").problems():
            raise QuickstartError(f"machines of the kind {self._kind} cannot be made here: {'; '.join(problems)}")

    def start(self, steps: Steps) -> None:
        """Make the key that may log in, and say what is done differently on this machine."""
        with steps.step("Make a key pair to log in with") as step:
            make_key(self.identity, "ed25519")
            for name in ("temporary", "builds"):
                (self._directory / name).mkdir(exist_ok=True)
            (self._cache / "locks").mkdir(parents=True, exist_ok=True)
            if self._needs_stand_in():
                step.notes.append("this kernel has no device-mapper: the build uses loop devices in its place")
                step.notes.append("(tools/quickstart/without-device-mapper, which is for this quickstart only)")

    def configuration(self) -> str:
        """An image, and a local provider that has it."""
        command = f"{program('disk-image-create')} -n"
        if self._needs_stand_in():
            command = f"{ROOT / 'tools' / 'quickstart' / 'without-device-mapper' / 'run'} {command}"
        return _CONFIGURATION.format(
            cache=self._cache,
            command=command,
            directory=self._directory,
            elements=", ".join(ELEMENTS[self._kind]),
            identity=self.identity,
            image=IMAGE,
            kind=self._kind,
            label=LABEL,
            provider=PROVIDER,
            root=ROOT,
        )

    def complete(self, steps: Steps, requestor: Requestor, configuration: Path) -> None:
        """Start the builder, and wait for the image."""
        with steps.step("Start nodepool-builder") as step:
            if not self._builder.pid():
                self._builder.start([program("nodepool-builder"), "-f", "-c", configuration])
            step.notes.append(f"process {self._builder.pid()}, log {self._builder.log}")
        with steps.step("Build an image with diskimage-builder, and upload it") as step:
            try:
                upload = requestor.wait_for_upload(IMAGE, PROVIDER, BUILD_SECONDS, lambda: self._building(step))
            except QuickstartError as error:
                log = image_build.newest_log(self._directory / "builds", IMAGE)
                raise QuickstartError(f"{error} (log of the build: {log})") from None
            files = sorted((self._directory / "images").glob(f"{IMAGE}-*.{FORMATS[self._kind]}"))
            step.notes += [f"{shown(path)}: {path.stat().st_size / 1e6:.0f} MB" for path in files]
            step.notes.append(f"upload {upload['external_id']}")

    def show_next(self, steps: Steps, requestor: Requestor, node_id: str, node: Record) -> None:
        """The machine is deleted, and another one is made."""
        with steps.step("Wait until the machine is deleted") as step:
            requestor.wait_until_gone(node_id, self.patience)
            left = self._directory / "machines" / "nodes" / str(node["external_id"])
            step.notes.append(f"node {node_id} and {left.name} are gone")
            if left.exists():
                raise QuickstartError(f"{left} is still there")
        with steps.step("Wait until the next machine is ready") as step:
            step.notes.append(f"node {requestor.wait_for_ready_node(LABEL, self.patience)}")

    def end(self) -> list[str]:
        """End the builder, and the machines: nothing goes on running that nobody looks after."""
        ended = [self._builder.name] if self._builder.stop(signal.SIGTERM, BUILDER_STOP_SECONDS) else []
        kind, count = _kind(self._kind, self._directory / "machines"), 0
        for directory in sorted((self._directory / "machines" / "nodes").glob("[!.]*")):
            kind.destroy(directory)
            shutil.rmtree(directory)
            count += 1
        for remains in kind.remains(frozenset()):
            kind.remove(remains)
        return [*ended, f"{count} machines"] if count else ended

    def remove(self) -> None:
        """Images may be unpacked in ids that are not this user's."""
        kind = _kind(self._kind, self._directory / "machines")
        for workshop in (self._directory / "machines" / "workshop").glob("*"):
            kind.clear(workshop)

    def _needs_stand_in(self) -> bool:
        return self._stand_in and "local-kernel" in ELEMENTS[self._kind]

    def _building(self, step: Step) -> None:
        self._builder.check()
        step.phase(image_build.phase(image_build.newest_log(self._directory / "builds", IMAGE)))


def _kind(name: str, state_directory: Path) -> MachineKind:
    return machine_kind(HostSettings(kind=name, state_directory=state_directory))


def _has_device_mapper() -> bool:
    """Whether the kernel really has it: the file may be there without it."""
    try:
        os.close(os.open("/dev/mapper/control", os.O_RDWR))
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _failed(command: list[str]) -> bool:
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode != 0
    except OSError:
        return True
