"""Commands that are run as root, by ``sudo`` if need be: what building an image takes. Needs nothing but Python."""

from __future__ import annotations

import os
import subprocess

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SECONDS = 30.0


def run_as_root(*command: str) -> str:
    """Run a command without asking for a password; what went wrong with it, "" if nothing did."""
    words = [*(() if os.geteuid() == 0 else ("sudo", "-n")), *command]
    environment = os.environ | {"PATH": f"{os.environ.get('PATH', os.defpath)}:{_PATH}"}
    try:
        ended = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if ended.returncode == 0:
        return ""
    return ended.stderr.strip() or f"exit status {ended.returncode}"


def has_device_mapper() -> bool:
    """Whether the kernel really has it: the file may be there without it, and opening it loads a module."""
    return not run_as_root("sh", "-c", ": <>/dev/mapper/control")
