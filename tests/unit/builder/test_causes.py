"""Causes that logs tell."""

from __future__ import annotations

import pytest

from nodepool.builder.dib.causes import known_cause


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (b"tar: write error: No space left on device\n+ cleanup", "a disk was full (No space left on device)"),
        (b"sudo: a password is required", "the builder's account may not use sudo without a password"),
        (b"qcow2 output format specified but qemu-img executable not found.", "qemu-img is not installed"),
        (
            b"/dev/mapper/control: open failed: No such device",
            "this machine has no device mapper, which images with partitions need",
        ),
        (
            b"diskimage_builder.element_dependencies.MissingElementException: Element 'vmm' not found",
            "an element is neither in elements-dir nor one of diskimage-builder",
        ),
        (b"export DIB_PASSWORD=secret\nerror", ""),
    ],
)
def test_a_known_cause_is_named_and_nothing_else(log: bytes, cause: str) -> None:
    assert known_cause(log) == cause
