"""Whether QEMU works on this host, and whether with hardware help.

That ``/dev/kvm`` is there and opens proves nothing: on some hosts an ordinary machine hangs in its firmware for ever.
What proves it is a boot sector that boots and ends QEMU with a status of its own.
"""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from nodepool.driver.local.qemu.command import Accelerator, probe_command

log = logging.getLogger("nodepool.LocalMachines")

BOOT_SECTOR = bytes.fromhex("b001 e6f4 f4 ebfd").ljust(510, b"\0") + b"\x55\xaa"
"""``mov al, 1; out 0xf4, al``: the debug device ends QEMU with status 3; then it halts for ever."""
_IMAGE_SIZE = 1 << 20
_STATUS = 3
_KVM_TIMEOUT = 5.0
_TCG_TIMEOUT = 60.0
"""Seconds, on a very busy host."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What QEMU can do here."""

    accelerator: Accelerator | None
    """None: not even emulation works."""
    sandbox: bool
    """Whether QEMU can give up the system calls that it does not need."""
    why: str
    """Why it is not hardware help; or what QEMU said when nothing works."""


_verdicts: dict[str, Verdict] = {}
_lock = threading.Lock()


def verdict(program: str) -> Verdict:
    """What a QEMU program can do here; found out once in the life of this process. May take some seconds."""
    with _lock:
        if program not in _verdicts:
            _verdicts[program] = found = probe(program)
            if found.accelerator is Accelerator.TCG:
                log.warning("Virtual machines are emulated, which is slow: %s", found.why)
        return _verdicts[program]


def probe(program: str, device: Path = Path("/dev/kvm"), processors: Path = Path("/proc/cpuinfo")) -> Verdict:
    """Find out what a QEMU program can do here."""
    why_not = _kvm_trouble(device, processors)
    said = ""
    with tempfile.NamedTemporaryFile(prefix="nodepool-probe-") as image:
        image.write(BOOT_SECTOR.ljust(_IMAGE_SIZE, b"\0"))
        image.flush()
        for sandbox in (True, False):
            if not why_not:
                trouble = _boot_trouble(probe_command(program, Accelerator.KVM, image.name, sandbox), _KVM_TIMEOUT)
                if not trouble:
                    return Verdict(Accelerator.KVM, sandbox, "")
                said = f"/dev/kvm is there, but no machine boots with it ({trouble})"
            trouble = _boot_trouble(probe_command(program, Accelerator.TCG, image.name, sandbox), _TCG_TIMEOUT)
            if not trouble:
                return Verdict(Accelerator.TCG, sandbox, why_not or said)
            said = trouble
    return Verdict(None, False, said)


def _kvm_trouble(device: Path, processors: Path) -> str:
    """Why hardware help need not even be tried; empty if it may work."""
    if not device.exists():
        return f"there is no {device}"
    flags = processors.read_text(encoding="utf-8", errors="replace")
    if "\nflags" in flags and not {"vmx", "svm"} & set(flags.split()):
        return "the processor has no hardware virtualisation"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"this user may not use {device}: add it to the group 'kvm'"
    return ""


def _boot_trouble(command: list[str], timeout: float) -> str:
    """What kept the boot sector from being run; empty if it was."""
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return f"it hangs: no answer in {timeout:g} s"
    except OSError as error:
        return str(error)
    if ended.returncode == _STATUS:
        return ""
    lines = ended.stderr.decode("utf-8", errors="replace").strip().splitlines()
    said = [line for line in lines if "warning:" not in line]
    return said[0] if said else f"status {ended.returncode}"
