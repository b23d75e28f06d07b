"""The secure file: ZooKeeper access and secret environment of image builds, kept out of the main file (spec config 3).

Nothing that stands in this file may appear in a message, except the name of an image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from types import MappingProxyType

from nodepool.config.diskimage import with_variables
from nodepool.config.document import Document
from nodepool.config.problem import ConfigurationError, Problem
from nodepool.config.report import Report
from nodepool.config.rules import check, entries
from nodepool.config.schema import SECURE
from nodepool.config.settings import DiskImage
from nodepool.config.wording import nearest

_USED = ("zookeeper-servers", "zookeeper-tls", "diskimages")


def check_secure(document: Document, *, strict: bool) -> Report:
    """A checked secure file; an empty one is as good as none.

    :raises ConfigurationError: it is not a mapping.
    """
    content = document.data
    if content is None:
        content = {}
    if not isinstance(content, dict):
        message = f"the file must be a mapping in YAML with some of the keys {', '.join(_USED)}"
        raise ConfigurationError([Problem(document.file, document.line(()), "", message)])
    used = {key: content[key] for key in _USED if content.get(key)}
    report = Report(dataclasses.replace(document, data=used), strict=strict)
    if len(content) > sum(key in content for key in _USED):
        report.warn((), f"there are keys here that have no effect (only {', '.join(_USED)} are used)")
    check(SECURE, used, report)
    return report


def with_secrets(
    images: Mapping[str, DiskImage], abstract: Collection[str], main_file: str, secure: Report
) -> Mapping[str, DiskImage]:
    """The images with the environment that the secure file adds; it wins over the main file."""
    merged = dict(images)
    for index, entry in entries(secure.document.data, "diskimages"):
        place = ("diskimages", index)
        if not secure.usable(place):
            continue
        name = entry["name"]
        if name in merged:
            merged[name] = with_variables(merged[name], entry["env-vars"])
        elif name in abstract:
            message = f"'{name}' is an abstract diskimage: give the env-vars to the images that have it as parent"
            secure.error((*place, "name"), message)
        else:
            message = f"there is no diskimage '{name}' in {main_file}{nearest(name, merged)}"
            secure.error((*place, "name"), message)
    return MappingProxyType(merged)
