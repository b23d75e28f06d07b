"""Disk images: following ``parent``, and merging what the ancestors say (spec config 6, builder 2).

Where Nodepool 11 lost or ignored a value (``metadata`` of a parent, ``pause: false`` of a child), the documented
behaviour is followed: spec config 14.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from nodepool.config.report import Report
from nodepool.config.rules import entries
from nodepool.config.settings import DiskImage
from nodepool.config.wording import nearest

_SECTION = "diskimages"
_WHEN_TRUE = ("rebuild-age", "build-timeout", "username", "python-path", "shell-type", "dib-cmd")
_LISTS = ("formats", "keep-formats")
_FLAGS = ("delete-after-upload", "pause")

Entries = dict[str, tuple[int, Mapping[str, Any]]]


def read_diskimages(report: Report) -> Mapping[str, DiskImage]:
    """The images that are to be built, in the order of the file.

    One that has an error stands in the result with defaults, so that references to it are not called wrong as well.
    """
    known = _by_name(report)
    images: dict[str, DiskImage] = {}
    looping: set[str] = set()
    for name, (_, entry) in known.items():
        chain = _chain(name, known, report, looping)
        if entry.get("abstract") is True:
            continue
        if all(report.usable((_SECTION, known[link][0])) for link in chain):
            images[name] = merged([known[link][1] for link in chain])
        else:
            images[name] = DiskImage(name)
    return MappingProxyType(images)


def abstract_names(report: Report) -> frozenset[str]:
    """The images that are only templates."""
    return frozenset(name for name, (_, entry) in _by_name(report).items() if entry.get("abstract") is True)


def merged(chain: list[Mapping[str, Any]]) -> DiskImage:
    """The image that a chain of entries stands for, the root first and the image itself last."""
    values: dict[str, Any] = {}
    elements: tuple[str, ...] = ()
    variables: dict[str, str] = {}
    metadata: dict[str, Any] = {}
    for entry in chain:
        elements += tuple(entry.get("elements", ()))
        variables |= entry.get("env-vars", {})
        metadata |= entry.get("metadata", {})
        values |= {key: entry[key] for key in _WHEN_TRUE if entry.get(key)}
        values |= {key: tuple(entry[key]) for key in _LISTS if entry.get(key)}
        values |= {key: entry[key] for key in _FLAGS if key in entry}
        if entry.get("release"):
            values["release"] = str(entry["release"])
    return DiskImage(
        name=chain[-1]["name"],
        elements=elements,
        env_vars=MappingProxyType(variables),
        metadata=MappingProxyType(metadata),
        **{key.replace("-", "_"): value for key, value in values.items()},
    )


def with_variables(image: DiskImage, variables: Mapping[str, str]) -> DiskImage:
    """The image with the environment of the secure file, which wins (spec config 3)."""
    return dataclasses.replace(image, env_vars=MappingProxyType({**image.env_vars, **variables}))


def _by_name(report: Report) -> Entries:
    known: Entries = {}
    for index, entry in entries(report.document.data, _SECTION):
        name = entry.get("name")
        if not isinstance(name, str):
            continue
        if name in known:
            line = report.line((_SECTION, known[name][0]))
            message = (
                f"the diskimage '{name}' is defined a second time (first in line {line}); only the last one counts"
            )
            report.refuse((_SECTION, index, "name"), message)
        known[name] = (index, entry)
    return known


def _chain(name: str, known: Entries, report: Report, looping: set[str]) -> list[str]:
    """The names from the root of the ancestors to ``name``; what is wrong with them is reported once."""
    chain = [name]
    while True:
        index, entry = known[chain[0]]
        parent = entry.get("parent")
        if not isinstance(parent, str) or not parent:
            return chain
        path = (_SECTION, index, "parent")
        if parent not in known:
            report.error(path, f"there is no diskimage '{parent}' to inherit from{nearest(parent, known)}")
            return chain
        if parent in chain:
            loop = [*reversed(chain[: chain.index(parent) + 1]), parent]
            _report_loop(loop, known, report, looping)
            return chain
        chain.insert(0, parent)


def _report_loop(loop: list[str], known: Entries, report: Report, looping: set[str]) -> None:
    if looping.isdisjoint(loop):
        way = " -> ".join(f"'{name}'" for name in loop)
        message = f"the parents lead back to where they began: {way} (remove one of them)"
        report.error((_SECTION, known[loop[0]][0], "parent"), message)
    looping.update(loop)
