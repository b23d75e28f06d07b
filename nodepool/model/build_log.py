"""Names of build logs, and which of them are too many (spec builder 2, 3.5).

Names are compared exactly: the logs of ``ubuntu`` are not those of ``ubuntu-arm``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

BUILD_ID = r"[0-9a-f]{32}|[0-9]{10}"
"""Ids of builds: ours, and those that Nodepool gave before version 4."""
_LOG = re.compile(rf"(?P<image>.+)-(?P<build>{BUILD_ID})\.log")


def log_name(image: str, build_id: str) -> str:
    """Name of the log of a build, in ``build-log-dir``."""
    return f"{image}-{build_id}.log"


def build_of_log(file_name: str) -> tuple[str, str] | None:
    """Image and build id of the log with this name; None if it is no log of a build."""
    match = _LOG.fullmatch(file_name)
    return (match["image"], match["build"]) if match else None


def logs_of(image: str, files: Mapping[str, float]) -> list[str]:
    """Names of the logs of an image, newest first.

    :param files: what is in the directory, and when each was last written (epoch)
    """
    logs = [name for name in files if (build_of_log(name) or ("",))[0] == image]
    return sorted(logs, key=lambda name: (files[name], name), reverse=True)


def surplus_logs(image: str, files: Mapping[str, float], retention: int) -> list[str]:
    """Names of the logs to be deleted before a new build of the image, so that ``retention`` old ones remain.

    Negative: all stay; 0 counts as 1.
    """
    return [] if retention < 0 else logs_of(image, files)[max(retention, 1) :]
