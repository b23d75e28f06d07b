"""Local machines of the kind ``qemu``.

A machine goes on from a saved state of its image, or is booted when there is none: directly with the image's kernel if
that could be taken out, else by the BIOS.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import time
import uuid
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from nodepool.driver.errors import CloudError
from nodepool.driver.local import disk, processes
from nodepool.driver.local.answer import wait_for_server
from nodepool.driver.local.machine import (
    MachineKind,
    MachineState,
    NetworkAccess,
    NodePlan,
    Patience,
    Remains,
)
from nodepool.driver.local.qemu import disks, network, process
from nodepool.driver.local.qemu.accelerator import Verdict, verdict
from nodepool.driver.local.qemu.command import CONSOLE, DISK, Accelerator, Machine, Shape, machine_command
from nodepool.driver.local.qemu.identity import Identity, credentials, personalisation
from nodepool.driver.local.qemu.login import run
from nodepool.driver.local.qemu.monitor import Monitor
from nodepool.driver.local.qemu.template import STATE, Template, Templates
from nodepool.telemetry.logs import annotate

log = logging.getLogger("nodepool.LocalMachines")

PROGRAM = "qemu-system-x86_64"
FORMATS = ("qcow2", "raw")
CONSOLE_BYTES = 1 << 20
"""The end of a console log that is shown."""
_PAUSE = 0.02
_LOGIN_TIMEOUT = 60.0
"""Seconds."""
_SEED_BYTES = 64


class QemuKind(MachineKind):
    """See the module's description. ``place`` is the state directory."""

    name = "qemu"
    disk_format = "qcow2"

    def __init__(
        self,
        place: Path,
        templates: bool = True,
        network_access: NetworkAccess = NetworkAccess.OUTSIDE,
        program: str = PROGRAM,
    ) -> None:
        self._place = place
        self._wants_templates = templates
        self._network_access = network_access
        self._program = program

    @cached_property
    def parallel_starts(self) -> int:  # type: ignore[override]
        """A start takes a whole processor where it is emulated."""
        processors = os.cpu_count() or 1
        return processors if self._verdict.accelerator is Accelerator.KVM else max(1, processors // 2)

    def problems(self) -> Sequence[str]:
        """What is missing: a program, or a QEMU that works."""
        if platform.machine() != "x86_64":
            return [f"This host is a {platform.machine()}, and machines of the kind 'qemu' need an x86_64."]
        missing = []
        if shutil.which(self._program) is None:
            missing.append(f"{self._program} is not installed: {_apt('qemu-system-x86')}.")
        if shutil.which("qemu-img") is None:
            missing.append(f"qemu-img is not installed: {_apt('qemu-utils')}.")
        if not missing and self._verdict.accelerator is None:
            missing.append(f"{self._program} cannot run a machine here: {self._verdict.why}.")
        if self._network_access is NetworkAccess.OUTSIDE:
            missing += network.problems()
        return missing

    def check_content(self, content: Path, disk_format: str) -> None:
        """Have qemu-img look at it."""
        if disk_format not in FORMATS:
            raise CloudError(f"machines of the kind 'qemu' need {' or '.join(FORMATS)}, not {disk_format}: {content}")
        if shutil.which("qemu-img") is None:
            raise CloudError(f"{content} cannot be looked at: qemu-img is not installed: {_apt('qemu-utils')}")
        disks.check(content, disk_format)

    def take_along(self, source: Path, directory: Path) -> None:
        """Kernel and initial file system, from ``NAME.d`` beside ``NAME.qcow2``, or from within the image."""
        beside = source.with_suffix(".d")
        names = {"kernel": "vmlinuz", "initrd": "initrd.img", "kernel-arguments": "cmdline"}
        if (beside / names["kernel"]).exists():
            for target, name in names.items():
                if (beside / name).exists():
                    shutil.copyfile(beside / name, directory / target)
        elif not disks.take_kernel(source, source.suffix.removeprefix("."), directory):
            log.info("Image %s: no kernel could be taken out, machines are booted by the BIOS", source)

    def prepare(self, plan: NodePlan, patience: Patience) -> None:
        """Boot the image once and save the state of the machine."""
        if self._wants_templates:
            self._templates.make(plan, self._shape(plan), patience)

    def start(self, plan: NodePlan, patience: Patience) -> None:
        """Have a machine go on from a saved state, or boot it."""
        template = self._templates.find(plan, self._shape(plan)) if self._wants_templates else None
        if template is not None:
            try:
                self._resume(plan, template, patience)
                return
            except CloudError as error:
                patience.pause(0)
                text = "Machine %s is booted, as it cannot go on from the saved state: %s"
                annotate(log, node_id=plan.id).warning(text, plan.id, error)
                self.destroy(plan.directory)
        self._boot(plan)

    def state(self, directory: Path) -> MachineState:
        """By the lock that QEMU holds. A machine without its network is no machine."""
        if process.holder(directory) is not None and network.runs(directory):
            return MachineState.RUNNING
        return MachineState.DEAD if process.was_started(directory) else MachineState.ABSENT

    def destroy(self, directory: Path) -> None:
        """Kill QEMU."""
        process.end(directory)
        network.end(directory)

    def console(self, directory: Path) -> str | None:
        """What the machine wrote to its serial port, and what QEMU said."""
        said = process.output(directory)
        try:
            with (directory / CONSOLE).open("rb") as file:
                file.seek(max(0, (directory / CONSOLE).stat().st_size - CONSOLE_BYTES))
                text = file.read().decode("utf-8", errors="replace")
        except OSError:
            text = ""
        return "\n".join(part for part in (text, said) if part) or None

    def clear(self, workshop: Path) -> None:
        """End what was saving a state."""
        for directory in workshop.glob("*/"):
            self.destroy(directory)

    def remains(self, directories: frozenset[Path]) -> Sequence[Remains]:
        """QEMUs of machines without a directory, and of states that nobody is saving any more."""
        found = []
        for marked in processes.marked(self._place):
            if marked.directory not in directories and not self._is_being_saved(marked.directory):
                found.append(Remains(f"{marked.pid}:{marked.started}"))
        return found

    def remove(self, remains: Remains) -> None:
        """Kill a QEMU."""
        pid, _, started = remains.id.partition(":")
        if pid.isdigit():
            processes.end_marked(self._place, int(pid), started)

    # Inside

    @property
    def _verdict(self) -> Verdict:
        return verdict(self._program)

    @cached_property
    def _templates(self) -> Templates:
        return Templates(self._version, self._boot)

    def _version(self) -> str:
        """Another one when QEMU is replaced."""
        path = Path(shutil.which(self._program) or self._program)
        with disk.cloud_errors("look at QEMU"):
            facts = path.stat()
        return f"{path} {facts.st_size} {facts.st_mtime_ns}"

    def _is_being_saved(self, directory: Path) -> bool:
        workshop = directory.parent
        if workshop.parent != self._place / "workshop":
            return False
        hold = disk.hold(workshop)
        if hold is not None:
            hold.release()
        return hold is None and workshop.exists()

    def _shape(self, plan: NodePlan) -> Shape:
        image = plan.image
        return Shape(
            self._verdict.accelerator or Accelerator.TCG,
            plan.cores,
            plan.ram,
            str(image.kernel) if image.kernel else None,
            str(image.initrd) if image.initrd else None,
            image.kernel_arguments,
        )

    def _launch(self, plan: NodePlan, machine: Machine) -> None:
        command = machine_command(self._program, machine)
        apart = plan.network_access is NetworkAccess.OUTSIDE
        if apart:
            command = network.apart(command, plan.directory)
        descriptors = [] if machine.state is None else [machine.state]
        with process.launched(command, plan.directory, descriptors) as lifeline:
            pid = process.holder(plan.directory)
            if apart and pid is not None:
                network.connect(plan.directory, pid, lifeline, plan.address, plan.port)

    def _machine(self, plan: NodePlan, state: int | None = None, identity_files: Sequence[str] = ()) -> Machine:
        apart = plan.network_access is NetworkAccess.OUTSIDE
        return Machine(
            self._shape(plan),
            plan.id,
            f":{network.INNER_PORT}" if apart else f"{plan.address}:{plan.port}",
            isolated=plan.network_access is NetworkAccess.NONE,
            hostname=plan.hostname,
            identity_files=identity_files,
            state=state,
            sandbox=self._verdict.sandbox,
        )

    def _boot(self, plan: NodePlan) -> None:
        overlay = plan.directory / DISK
        overlay.unlink(missing_ok=True)
        disks.make_overlay(plan.image.content, plan.image.disk_format, overlay)
        names = []
        for number, credential in enumerate(credentials(_identity(plan))):
            names.append(f"credential-{number}")
            with disk.cloud_errors("write the machine's credentials"):
                (plan.directory / names[-1]).write_text(credential, encoding="ascii")
                (plan.directory / names[-1]).chmod(0o600)
        self._launch(plan, self._machine(plan, identity_files=names))

    def _resume(self, plan: NodePlan, template: Template, patience: Patience) -> None:
        disks.make_overlay(template.directory / DISK, "qcow2", plan.directory / DISK)
        with disk.cloud_errors("open the saved state"), (template.directory / STATE).open("rb") as state:
            self._launch(plan, self._machine(plan, state.fileno()))
        with Monitor(plan.directory) as monitor:
            while monitor.ask("query-status")["status"] == "inmigrate":
                patience.pause(_PAUSE)
            monitor.ask("cont")
        connection = wait_for_server(
            plan.address, plan.port, patience, lambda: self.state(plan.directory) is MachineState.RUNNING
        )
        program = personalisation(_identity(plan), uuid.uuid4().hex, os.urandom(_SEED_BYTES), time.time())
        access = template.access(plan.address, plan.port)
        run(access, program, connection, min(_LOGIN_TIMEOUT, patience.left()))


def _identity(plan: NodePlan) -> Identity:
    return Identity(plan.hostname, plan.host_key, plan.host_public_key, plan.username, plan.authorized_keys)


def _apt(package: str) -> str:
    return f"as root, run apt-get install --no-install-recommends {package}"
