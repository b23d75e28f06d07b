"""The command lines of QEMU (its manual page, and "QEMU Standard Firmware Configuration"). Pure.

All files are named relative to the machine's directory, in which QEMU is started: then a saved state fits any machine
of the same shape, and paths may be longer than what a socket's name allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

DISK = "disk.qcow2"
PID = "pid"
MONITOR = "qmp.sock"
CONSOLE = "console.log"

ROOT = "root=LABEL=cloudimg-rootfs ro"
"""Where diskimage-builder puts the root file system."""
ARGUMENTS = "console=ttyS0 quiet no_timer_check net.ifnames=0 fsck.mode=skip systemd.show_status=0"
EMULATED_ARGUMENTS = "mitigations=off"
"""There is nothing to protect from in an emulated processor, and it costs a quarter of the boot."""
TRANSLATION_BUFFER = 128
"""MiB; the default would take most of the machine's memory once more."""
_PROBE_RAM = 32
"""MiB."""


class Accelerator(Enum):
    """How the machine's processors are run."""

    KVM = "kvm"
    TCG = "tcg"
    """Emulation."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a machine looks like from inside: a saved state fits only the same shape."""

    accelerator: Accelerator
    cores: int
    ram: int
    """MiB."""
    kernel: str | None = None
    """Path for a direct start; None: by the BIOS and the image's own boot loader."""
    initrd: str | None = None
    arguments: str | None = None
    """What the kernel is told in place of :data:`ROOT`."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine to be run."""

    shape: Shape
    name: str
    forward: str
    """``ADDRESS:PORT`` that leads to the machine's SSH server, where QEMU is."""
    isolated: bool
    """Whether the machine can reach nothing at all by itself."""
    hostname: str
    identity_files: Sequence[str] = ()
    """Files that hold one credential each."""
    state: int | None = None
    """Descriptor of a file with the saved state to go on from."""
    sandbox: bool = True


def machine_command(program: str, machine: Machine) -> list[str]:
    """The command that runs a machine."""
    return [
        program,
        "-name", f"guest={machine.name}",
        *_shape(machine.shape),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        *(_SANDBOX if machine.sandbox else ()),
        "-pidfile", PID,
        "-qmp", f"unix:{MONITOR},server=on,wait=off",
        "-serial", f"file:{CONSOLE}",
        "-drive", f"if=none,id=disk,file={DISK},format=qcow2,cache=unsafe,discard=unmap",
        "-device", "virtio-blk-pci,drive=disk",
        "-netdev", _network(machine),
        "-device", "virtio-net-pci,netdev=net,romfile=",
        "-object", "rng-random,id=random,filename=/dev/urandom",
        "-device", "virtio-rng-pci,rng=random",
        "-device", "vmgenid,guid=auto",
        *_identity(machine.identity_files),
        *(("-incoming", f"fd:{machine.state}") if machine.state is not None else ()),
    ]  # fmt: skip


def probe_command(program: str, accelerator: Accelerator, image: str, sandbox: bool) -> list[str]:
    """The command that runs a boot sector; see :mod:`nodepool.driver.local.qemu.accelerator`.

    On the processor and the board that machines get: a KVM that lies may bear others.
    """
    return [
        program,
        *_shape(Shape(accelerator, cores=1, ram=_PROBE_RAM)),
        "-nodefaults", "-no-user-config", "-display", "none",
        *(_SANDBOX if sandbox else ()),
        "-drive", f"if=virtio,format=raw,readonly=on,file={image}",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
    ]  # fmt: skip


_SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")


def _shape(shape: Shape) -> list[str]:
    emulated = shape.accelerator is Accelerator.TCG
    accelerator = f"tcg,thread=multi,tb-size={TRANSLATION_BUFFER}" if emulated else "kvm"
    words = [
        "-accel", accelerator,
        "-cpu", "max,la57=off,svm=off" if emulated else "host",
        "-smp", str(shape.cores),
        "-m", str(shape.ram),
        "-M", "q35,usb=off,sata=off,smbus=off,vmport=off,hpet=off",
    ]  # fmt: skip
    if shape.kernel is None:
        return words
    arguments = [shape.arguments or ROOT, ARGUMENTS, *([EMULATED_ARGUMENTS] if emulated else [])]
    words += ["-kernel", shape.kernel, "-append", " ".join(arguments)]
    return words + (["-initrd", shape.initrd] if shape.initrd else [])


def _network(machine: Machine) -> str:
    restrict = "on" if machine.isolated else "off"
    return f"user,id=net,restrict={restrict},hostname={machine.hostname},hostfwd=tcp:{machine.forward}-:22"


def _identity(files: Sequence[str]) -> list[str]:
    """Files, not values: a command line is there for all users of the host to read."""
    words = []
    for file in files:
        words += ["-smbios", f"type=11,path={file}"]
    return words
