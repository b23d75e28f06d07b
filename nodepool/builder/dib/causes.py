"""Causes of failed builds that the end of a log tells, in words for operators. Pure.

A log may hold secrets, since the tool traces its commands: no text of it goes any further, only what stands here.
"""

from __future__ import annotations

_CAUSES: tuple[tuple[bytes, str], ...] = (
    (b"No space left on device", "a disk was full (No space left on device)"),
    (b"sudo: a password is required", "the builder's account may not use sudo without a password"),
    (b"sudo: command not found", "sudo is not installed"),
    (b"/dev/mapper/control: open failed", "this machine has no device mapper, which images with partitions need"),
    (b"qemu-img executable not found", "qemu-img is not installed"),
    (b"no vhd-util executable found", "vhd-util is not installed"),
    (b"mksquashfs executable not found", "mksquashfs is not installed"),
    (b"MissingElementException", "an element is neither in elements-dir nor one of diskimage-builder"),
    (b"debootstrap: command not found", "debootstrap is not installed"),
    (b"cannot find an unused loop device", "this machine has no loop device to offer"),
    (b"Temporary failure resolving", "a host name could not be resolved"),
    (b"Could not resolve host", "a host name could not be resolved"),
    (b"apt-get update --error-on=any", "the lists of packages could not be fetched from their mirror"),
)


def known_cause(log: bytes) -> str:
    """The cause that the end of a log tells; "" if it tells none that is known."""
    return next((cause for text, cause in _CAUSES if text in log), "")
