"""Whether QEMU works here, found out with a real QEMU and with programs that behave like bad ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nodepool.driver.local.qemu import accelerator
from nodepool.driver.local.qemu.accelerator import probe
from nodepool.driver.local.qemu.command import Accelerator
from nodepool.driver.local.qemu.kind import PROGRAM, QemuKind

FLAGS = "processor : 0\nflags\t\t: fpu {}\n"


@pytest.fixture
def processors(tmp_path: Path) -> Path:
    """A host whose processor has hardware virtualisation."""
    path = tmp_path / "cpuinfo"
    path.write_text(FLAGS.format("vmx"))
    return path


def program(directory: Path, script: str) -> str:
    """A program that stands in for QEMU."""
    path = directory / "qemu"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_real_qemu_boots_a_boot_sector() -> None:
    assert shutil.which(PROGRAM), f"{PROGRAM} is missing: apt-get install --no-install-recommends qemu-system-x86"
    found = probe(PROGRAM, device=Path("/no/kvm"))
    assert found.accelerator is Accelerator.TCG
    assert found.why == "there is no /no/kvm"


def test_hardware_help_that_works_is_used(tmp_path: Path, processors: Path) -> None:
    found = probe(program(tmp_path, "exit 3"), Path("/dev/null"), processors)
    assert found.accelerator is Accelerator.KVM


def test_hardware_help_that_lies_is_not(tmp_path: Path, processors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_KVM_TIMEOUT", 0.3)
    hangs = 'case "$*" in *kvm*) exec sleep 60;; esac; exit 3'
    found = probe(program(tmp_path, hangs), Path("/dev/null"), processors)
    assert found.accelerator is Accelerator.TCG
    assert "no machine boots with it (it hangs" in found.why


def test_the_processor_that_is_tried_is_the_one_that_machines_get(tmp_path: Path, processors: Path) -> None:
    says = "echo qemu: warning: odd >&2; echo qemu: error: no MSR >&2"
    aborts = f'case "$*" in *-cpu?host*) {says}; exit 134;; esac; exit 3'
    found = probe(program(tmp_path, aborts), Path("/dev/null"), processors)
    assert found.accelerator is Accelerator.TCG
    assert found.why == "/dev/kvm is there, but no machine boots with it (qemu: error: no MSR)"


def test_what_this_user_may_not_use_says_so(tmp_path: Path, processors: Path) -> None:
    processors.write_text(FLAGS.format("sse"))
    found = probe(program(tmp_path, "exit 3"), Path("/dev/null"), processors)
    assert found.why == "the processor has no hardware virtualisation"


def test_a_qemu_without_sandbox_works_without(tmp_path: Path) -> None:
    refuses = 'case "$*" in *sandbox*) echo no seccomp >&2; exit 1;; esac; exit 3'
    found = probe(program(tmp_path, refuses), Path("/no/kvm"))
    assert (found.accelerator, found.sandbox) == (Accelerator.TCG, False)


def test_a_qemu_that_does_not_work_says_why(tmp_path: Path) -> None:
    broken = program(tmp_path, "echo cannot load firmware >&2; exit 1")
    assert probe(broken, Path("/no/kvm")).why == "cannot load firmware"
    (problem,) = QemuKind(tmp_path, program=broken).problems()
    assert problem.endswith("cannot run a machine here: cannot load firmware.")


def test_a_qemu_that_is_missing_is_to_be_installed(tmp_path: Path) -> None:
    (problem,) = QemuKind(tmp_path, program="qemu-system-none").problems()
    assert problem.startswith("qemu-system-none is not installed: as root, run apt-get install")
