"""The kinds ``qemu`` and ``container``: an image is built, and throw-away machines are made of it on this host."""

from __future__ import annotations

import json
import logging
import shutil
import signal
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from textwrap import indent

from nodepool.driver.errors import CloudError
from nodepool.driver.local.config import DEFAULT_NETWORK, HostSettings
from nodepool.driver.local.driver import machine_kind
from nodepool.driver.local.host import choose_endpoint, has_memory
from nodepool.driver.local.qemu.accelerator import verdict
from nodepool.driver.local.qemu.kind import PROGRAM
from tools.quickstart import image_build
from tools.quickstart.background import Background, QuickstartError, program, run_nodepool, shown
from tools.quickstart.node_server import make_key
from tools.quickstart.options import FORMATS, ROOT
from tools.quickstart.requestor import Record, Requestor
from tools.quickstart.root import has_device_mapper
from tools.quickstart.source import LABEL, NodeSource
from tools.quickstart.steps import Step, Steps

IMAGE = "debian"
PROVIDER = "this-host"
ELEMENTS = {"qemu": ("debian-node", "local-node", "local-kernel"), "container": ("debian-node", "local-node")}
_FIRST_PHASES = {
    "qemu": "boot the image once, and save the machine's state: all others go on from there",
    "container": "unpack the image",
}
RAM = 512
"""MiB of a machine."""
BUILD_SECONDS = 1800.0
BOOT_SECONDS = 600.0
BUILDER_STOP_SECONDS = 100.0

_BUILDER = """\
images-dir: {directory}/images
images-min-free-space: 1
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

"""
_NODES = """\
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
{port}{images}    pools:
      - name: main
        max-servers: 3
        labels:
          - {{name: {label}, {source}: {image}, cores: 1, ram: {ram}, console-log: true}}
"""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user said."""

    image: Path | None = None
    """What machines are made of; None: what the builder makes."""
    cache: Path | None = None
    """Where builds find again what others have fetched; None: in the directory."""
    ssh_port: int | None = None
    """Of the machines; None: what the driver takes."""


class Machines(NodeSource):
    """See the module's description."""

    patience = BOOT_SECONDS

    def __init__(self, directory: Path, kind: str, wishes: Wishes) -> None:
        self._directory = directory
        self._state = directory / "machines"
        self._kind_name = kind
        self._kind = machine_kind(HostSettings(kind=kind, state_directory=self._state))
        self._image = wishes.image
        self._cache = wishes.cache or directory / "cache"
        self._port = wishes.ssh_port
        self._builder = Background("nodepool-builder", directory)
        self.identity = directory / "login_key"
        self.programs = () if self._image else (self._builder,)
        self._stand_in = False
        """Whether images with partitions are built without device-mapper; :meth:`check` knows."""

    def check(self) -> list[str]:
        """Whether machines can be made here, of the image that was named; and what they are made with."""
        logging.getLogger("nodepool.LocalMachines").addHandler(logging.NullHandler())
        (self._state / "nodes").mkdir(parents=True, exist_ok=True)
        if problems := self._kind.problems():
            raise QuickstartError(f"machines of the kind {self._kind_name} cannot be made here: {' '.join(problems)}")
        if self._image is not None:
            self._check_image(self._image)
        try:
            choose_endpoint(IPv4Network(DEFAULT_NETWORK), self._port, (), 1)
        except CloudError as error:
            raise QuickstartError(f"{error}, here with --ssh-port") from None
        if not self._machines() and not has_memory(RAM):
            raise QuickstartError(
                f"the memory that is free is too little for a machine of {RAM} MiB: end other programs"
            )
        return self._remarks()

    def _check_image(self, image: Path) -> None:
        try:
            self._kind.check_content(image, image.suffix.removeprefix("."))
        except CloudError as error:
            raise QuickstartError(f"{str(error).splitlines()[0]}: name another one with --image") from None

    def _remarks(self) -> list[str]:
        self._stand_in = self._image is None and self._kind_name == "qemu" and not has_device_mapper()
        remarks = []
        if self._kind_name == "qemu" and (why := verdict(PROGRAM).why):
            remarks.append(f"Virtual machines are emulated, which is slow: {why}. Quicker: --kind container")
        if self._stand_in:
            remarks.append("This kernel has no device-mapper: the build uses loop devices in its place")
            remarks.append("(tools/quickstart/without-device-mapper, which is for this quickstart only).")
        return remarks

    def start(self, steps: Steps) -> None:
        """Make the key that may log in, and the directories of builds."""
        with steps.step("Make a key pair to log in with"):
            make_key(self.identity, "ed25519")
        for path in (self._directory / "temporary", self._directory / "builds", self._cache / "locks"):
            path.mkdir(parents=True, exist_ok=True)

    def configuration(self) -> str:
        """An image, and a local provider that has it."""
        images = f"diskimages:\n  - name: {IMAGE}" if self._image is None else _named(self._image)
        nodes = _NODES.format(
            directory=self._directory,
            identity=self.identity,
            image=IMAGE,
            images=indent(f"{images}\n", "    "),
            kind=self._kind_name,
            label=LABEL,
            port=f"    port: {self._port}\n" if self._port else "",
            provider=PROVIDER,
            ram=RAM,
            source="diskimage" if self._image is None else "cloud-image",
        )
        return nodes if self._image else self._builder_configuration() + nodes

    def _builder_configuration(self) -> str:
        command = f"{program('disk-image-create')} -n"
        if self._stand_in:
            command = f"{ROOT / 'tools' / 'quickstart' / 'without-device-mapper' / 'run'} {command}"
        return _BUILDER.format(
            cache=self._cache,
            command=command,
            directory=self._directory,
            elements=", ".join(ELEMENTS[self._kind_name]),
            image=IMAGE,
            root=ROOT,
        )

    def complete(self, steps: Steps, requestor: Requestor, configuration: Path) -> None:
        """Start the builder, and wait for the image."""
        if self._image is not None:
            return
        with steps.step("Start nodepool-builder") as step:
            if not self._builder.pid():
                self._builder.start([program("nodepool-builder"), "-f", "-c", configuration])
            step.notes.append(f"process {self._builder.pid()}, log {self._builder.log}")
        with steps.step("Build an image with diskimage-builder, and upload it") as step:
            if requestor.has_failed_builds(IMAGE):
                run_nodepool(configuration, "image-build", IMAGE)
            try:
                upload = requestor.wait_for_upload(IMAGE, PROVIDER, BUILD_SECONDS, lambda: self._show_build(step))
            except QuickstartError as error:
                log = image_build.newest_log(self._directory / "builds", IMAGE)
                raise QuickstartError(f"{error} (log of the build: {log})") from None
            files = sorted((self._directory / "images").glob(f"{IMAGE}-*.{FORMATS[self._kind_name][0]}"))
            step.notes += [f"{shown(path)}: {path.stat().st_size / 1e6:.0f} MB" for path in files]
            step.notes.append(f"upload {upload['external_id']}")

    def show_start(self, step: Step) -> None:
        """What is made of the image at first, and a machine's start."""
        if any((self._state / "workshop").glob("*/*new-*")):
            step.phase(_FIRST_PHASES[self._kind_name])
        elif self._machines():
            step.phase("a machine starts")

    def show_next(self, steps: Steps, requestor: Requestor, node_id: str, node: Record) -> None:
        """The machine is deleted, and another one is made."""
        with steps.step("Wait until the machine is deleted") as step:
            requestor.wait_until_gone(node_id, self.patience)
            left = self._state / "nodes" / str(node["external_id"])
            step.notes.append(f"node {node_id} and {left.name} are gone")
            if left.exists():
                raise QuickstartError(f"{left} is still there")
        with steps.step("Wait until the next machine is ready") as step:
            step.notes.append(f"node {requestor.wait_for_ready_node(LABEL, self.patience)}")

    def end(self) -> list[str]:
        """End the builder, and the machines: nothing goes on running that nobody looks after."""
        ended = [self._builder.name] if self._builder.stop(signal.SIGTERM, BUILDER_STOP_SECONDS) else []
        count = 0
        for directory in self._machines():
            self._kind.destroy(directory)
            shutil.rmtree(directory)
            count += 1
        for remains in self._kind.remains(frozenset()):
            self._kind.remove(remains)
        return [*ended, f"{count} machine{'s' if count > 1 else ''}"] if count else ended

    def remove(self) -> None:
        """Images may be unpacked in ids that are not this user's."""
        for workshop in (self._state / "workshop").glob("*"):
            self._kind.clear(workshop)

    def _machines(self) -> list[Path]:
        return sorted((self._state / "nodes").glob("[!.]*"))

    def _show_build(self, step: Step) -> None:
        self._builder.check()
        step.phase(image_build.phase(image_build.newest_log(self._directory / "builds", IMAGE, self._builder.began)))


def _named(image: Path) -> str:
    """The entry of an image that was named, with the kernel that is beside it."""
    beside = image.with_suffix(".d")
    entry = {"name": IMAGE, "path": str(image), "username": "zuul"}
    if (beside / "vmlinuz").exists():
        entry["kernel"] = str(beside / "vmlinuz")
    if (beside / "initrd.img").exists():
        entry["initrd"] = str(beside / "initrd.img")
    if (beside / "cmdline").exists():
        entry["kernel-arguments"] = (beside / "cmdline").read_text(encoding="utf-8").strip()
    # JSON is YAML.
    return f"cloud-images: [{json.dumps(entry)}]"
