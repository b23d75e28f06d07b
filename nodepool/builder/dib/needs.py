"""What ``disk-image-create`` needs of this machine, looked at before a build begins: it fails late and says little.

Only what is certain is said. Another command than the tool itself (``dib-cmd``) may do things its own way and is not
judged.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TOOL = "disk-image-create"
_PARTITIONS = "block-device"
"""How the elements that make partitions are called, or begin; ``vm`` wants one of them."""
_CONVERTED = frozenset({"qcow2", "vmdk", "vdi", "vhdx"})
"""Formats that ``qemu-img`` makes."""
_SUDO_DEADLINE = 30.0


@dataclass(frozen=True, slots=True)
class Host:
    """Where things are on a machine."""

    loop_control: Path = Path("/dev/loop-control")
    mapper_control: Path = Path("/dev/mapper/control")
    root_programs: str = "/usr/sbin:/sbin"
    """Where ``sudo`` looks for programs, beside the ``PATH``."""


_THIS_HOST = Host()


def what_is_missing(
    words: Sequence[str],
    elements: Collection[str],
    formats: Collection[str],
    variables: Mapping[str, str],
    host: Host = _THIS_HOST,
) -> str:
    """The first thing that is missing, in a sentence with the remedy; "" if nothing is.

    :param words: the command; its first word was looked up
    :param elements: those of the image, as they are in ``nodepool.yaml``
    :param variables: the command's environment
    """
    if os.path.basename(words[0]) != TOOL:
        return ""
    path = variables.get("PATH", os.defpath)
    wanted = {"sudo": "sudo", **({"qemu-img": "qemu-utils"} if _CONVERTED & set(formats) else {})}
    partitions = has_partitions(elements, variables.get("ELEMENTS_PATH", ""))
    if partitions:
        wanted["kpartx"] = "kpartx"
    places = f"{path}{os.pathsep}{host.root_programs}"
    missing = [package for program, package in wanted.items() if not shutil.which(program, path=places)]
    if missing:
        return f"programs are missing that a build needs: apt-get install --no-install-recommends {' '.join(missing)}"
    if not host.loop_control.exists():
        return f"this machine has no loop devices ({host.loop_control}), which a build needs: modprobe loop"
    if os.geteuid() != 0 and not _succeeds_as_root(path, "true"):
        return (
            "the builder's account may not use sudo without a password, which a build needs: allow it, or run as root"
        )
    if partitions and not _has_device_mapper(host, path):
        return (
            f"this machine has no device mapper ({host.mapper_control}), which images with partitions need: "
            "modprobe dm_mod, or build elsewhere, or leave out the element vm"
        )
    return ""


def has_partitions(elements: Collection[str], elements_path: str) -> bool:
    """Whether an element, or one that it asks for and that is an operator's own, makes partitions.

    :param elements_path: value of ``ELEMENTS_PATH``
    """
    known: set[str] = set()
    left = [word for element in elements for word in element.split()]
    while left:
        name = left.pop()
        if name == "vm" or name.startswith(_PARTITIONS):
            return True
        if name not in known:
            known.add(name)
            left += _asked_for(name, elements_path)
    return False


def _asked_for(element: str, elements_path: str) -> list[str]:
    for directory in filter(None, elements_path.split(os.pathsep)):
        try:
            return (Path(directory) / element / "element-deps").read_text(encoding="utf-8").split()
        except OSError:
            continue
    return []


def _has_device_mapper(host: Host, path: str) -> bool:
    """Whether the kernel has it: the file alone proves nothing, since opening it is what loads a module."""
    try:
        os.close(os.open(host.mapper_control, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        may_not = error.errno in (errno.EACCES, errno.EPERM)
        return may_not and _succeeds_as_root(path, "sh", "-c", ': <>"$1"', "sh", str(host.mapper_control))
    return True


def _succeeds_as_root(path: str, *words: str) -> bool:
    command = ["sudo", "-n", *words]
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SUDO_DEADLINE,
            env={"PATH": path},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0
