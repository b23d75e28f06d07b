"""The command lines of QEMU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nodepool.driver.local.qemu.command import Accelerator, Machine, Shape, machine_command

SHAPE = Shape(Accelerator.TCG, 2, 512, "/i/kernel", "/i/initrd")
MACHINE = Machine(SHAPE, "1-a", "127.0.0.2:22", isolated=True, hostname="np1", identity_files=["c0", "c1"])


def value(machine: Machine, option: str) -> str:
    """What follows an option that stands once."""
    words = machine_command("qemu", machine)
    assert words.count(option) == 1, option
    return words[words.index(option) + 1]


def test_emulation_and_hardware_help() -> None:
    assert value(MACHINE, "-accel").startswith("tcg,thread=multi")
    assert value(MACHINE, "-cpu") == "max,la57=off,svm=off"
    helped = replace(MACHINE, shape=replace(SHAPE, accelerator=Accelerator.KVM))
    assert (value(helped, "-accel"), value(helped, "-cpu")) == ("kvm", "host")


def test_the_kernel_is_started_directly_where_there_is_one() -> None:
    assert (value(MACHINE, "-kernel"), value(MACHINE, "-initrd")) == ("/i/kernel", "/i/initrd")
    assert value(MACHINE, "-append").startswith("root=LABEL=cloudimg-rootfs ro console=ttyS0")
    own = replace(MACHINE, shape=replace(SHAPE, arguments="root=/dev/vda2"))
    assert value(own, "-append").startswith("root=/dev/vda2 console=ttyS0")
    by_firmware = machine_command("qemu", replace(MACHINE, shape=replace(SHAPE, kernel=None)))
    assert not {"-kernel", "-initrd", "-append"} & set(by_firmware)


@pytest.mark.parametrize(("isolated", "restrict"), [(True, "on"), (False, "off")])
def test_the_network_leads_to_the_ssh_server_only(isolated: bool, restrict: str) -> None:
    network = value(replace(MACHINE, isolated=isolated), "-netdev")
    assert network == f"user,id=net,restrict={restrict},hostname=np1,hostfwd=tcp:127.0.0.2:22-:22"


def test_credentials_are_named_by_their_files() -> None:
    words = machine_command("qemu", MACHINE)
    assert [words[at + 1] for at, word in enumerate(words) if word == "-smbios"] == [
        "type=11,path=c0",
        "type=11,path=c1",
    ]


def test_a_saved_state_is_gone_on_from_with_the_same_machine() -> None:
    booted = machine_command("qemu", replace(MACHINE, identity_files=()))
    assert machine_command("qemu", replace(MACHINE, identity_files=(), state=7)) == [*booted, "-incoming", "fd:7"]


def test_the_sandbox_is_used_where_there_is_one() -> None:
    assert "spawn=deny" in value(MACHINE, "-sandbox")
    assert "-sandbox" not in machine_command("qemu", replace(MACHINE, sandbox=False))
