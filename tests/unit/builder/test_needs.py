"""What a build needs is said before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodepool.builder.dib.needs import Host, has_partitions, what_is_missing


def _tools(directory: Path, *names: str) -> dict[str, str]:
    """An environment in which these programs, and only these, are to be found outside of the system's own places."""
    for name in names:
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(0o755)
    return {"PATH": str(directory)}


def test_another_command_is_not_judged() -> None:
    assert what_is_missing(["/opt/tools/my-build"], ["vm"], ["qcow2"], {"PATH": "/nowhere"}) == ""


@pytest.mark.parametrize(
    ("elements", "partitions"),
    [
        (["debian-minimal", "openssh-server"], False),
        (["debian-minimal vm"], True),
        (["debian-minimal", "block-device-efi"], True),
        (["ours"], True),
        (["others"], False),
    ],
)
def test_partitions_are_seen_through_elements_of_the_operator(
    tmp_path: Path, elements: list[str], partitions: bool
) -> None:
    for name, asked_for in {
        "ours": "middle\n",
        "middle": "package-installs\nvm\n",
        "others": "others\nours-not\n",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "element-deps").write_text(asked_for)
    assert has_partitions(elements, f"/nowhere:{tmp_path}") is partitions


def test_a_missing_program_is_named_with_its_package(tmp_path: Path) -> None:
    host = Host(tmp_path, tmp_path, "/nowhere")
    said = what_is_missing(["/x/disk-image-create"], ["debian-minimal"], ["qcow2"], _tools(tmp_path, "sudo"), host)
    assert said.endswith("apt-get install --no-install-recommends qemu-utils")


def test_a_kernel_without_device_mapper_is_told_before_the_build(tmp_path: Path) -> None:
    host = Host(tmp_path, tmp_path / "control", "/nowhere")
    tools = _tools(tmp_path, "sudo", "kpartx")
    said = what_is_missing(["/x/disk-image-create"], ["vm"], ["raw"], tools, host)
    assert "no device mapper" in said
    assert "modprobe dm_mod" in said
    (tmp_path / "control").touch()
    assert what_is_missing(["/x/disk-image-create"], ["vm"], ["raw"], tools, host) == ""


def test_a_machine_without_loop_devices_is_told_before_the_build(tmp_path: Path) -> None:
    host = Host(tmp_path / "loop-control", tmp_path, "/nowhere")
    assert "no loop devices" in what_is_missing(["/x/disk-image-create"], [], ["tar"], _tools(tmp_path, "sudo"), host)
